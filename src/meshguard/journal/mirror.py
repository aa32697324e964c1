"""The mirror of runs in the cluster that they are about: written once a wave, read by whoever comes later."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Protocol

from meshguard.journal.encoding import decode, encode
from meshguard.journal.errors import RecordError
from meshguard.journal.records import NAMESPACE, RECORD_LABEL, RecordStatus, RunRecord, record_ref
from meshguard.model.objects import Ref, Resource
from meshguard.model.plan import Direction
from meshguard.model.snapshot import OpenRun, Snapshot
from meshguard.ports import Cluster, ClusterError, Unreachable


def read_records(resources: Iterable[Resource]) -> tuple[dict[str, RunRecord], dict[str, str]]:
    """Read all records among some ConfigMaps, without their journals: by run, and what could not be read and why."""
    own = {r.ref: r for r in resources if r.ref.namespace == NAMESPACE and RECORD_LABEL in r.labels}
    records, broken = {}, {}
    for ref, resource in own.items():
        if resource.labels[RECORD_LABEL] != "run":
            continue
        try:
            record = decode(resource, own, journal=False)
        except RecordError as error:
            broken[str(ref)] = str(error)
        else:
            records[record.run] = record
    return records, broken


def open_runs(snapshot: Snapshot) -> tuple[OpenRun, ...]:
    """Return the runs of a snapshot that still hold something, oldest first."""
    records, _ = read_records(snapshot.of_kind("ConfigMap"))
    return still_open(records.values())


def with_open_runs(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with its open runs filled in; a record that cannot be read is `blind`."""
    records, broken = read_records(snapshot.of_kind("ConfigMap"))
    return replace(snapshot, open_runs=still_open(records.values()), blind={**snapshot.blind, **broken})


def still_open(records: Collection[RunRecord]) -> tuple[OpenRun, ...]:
    """Return what these runs still hold, oldest first.

    Faults are no break-glass: to whoever plans an exit they are how the cluster is.
    """
    kept = (record for record in records if record.plan.direction is not Direction.FAULT)
    return _holding(record for record in kept if not record.plan.direction.undoes)


def open_faults(snapshot: Snapshot) -> tuple[OpenRun, ...]:
    """Return the faults that nobody has undone yet, oldest first."""
    records, _ = read_records(snapshot.of_kind("ConfigMap"))
    return _holding(record for record in records.values() if record.plan.direction is Direction.FAULT)


def _holding(records: Iterable[RunRecord]) -> tuple[OpenRun, ...]:
    held = (
        record.to_open_run()
        for record in sorted(records, key=lambda record: record.run)
        if record.status in (RecordStatus.OPEN, RecordStatus.PARTIAL)
    )
    return tuple(run for run in held if run.changes or run.created)


class Records(Protocol):
    """Where the engine mirrors a run."""

    async def put(self, record: RunRecord) -> None:
        """Write the record as it is now. Raises ClusterError."""
        ...

    async def load(self, run: str) -> RunRecord | None:
        """Read a record; None when there is none. Raises ClusterError or RecordError."""
        ...


async def trouble(cluster: Cluster, rights: Collection[tuple[str, str, str]]) -> str:
    """Say why runs cannot be mirrored in this cluster, "" when they can; nothing is written. Raises Unreachable.

    `rights` (verb, resource, namespace) are what mirror and Lease need.
    A dry run meets everything that a write would: a namespace that is missing, quotas, webhooks.
    """
    metadata = {"namespace": NAMESPACE, "name": "meshguard-dry-run"}
    try:
        lacking = await cluster.missing_rights(rights)
        await cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}, dry_run=True)
    except Unreachable:
        raise
    except ClusterError as error:
        return str(error)
    return f"rights are missing: {'; '.join(lacking)}" if lacking else ""


class ClusterRecords:
    """Records as ConfigMaps of the cluster that the run is about."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._written: dict[Ref, int] = {}
        """A digest of each part that this process has written; parts are ours alone and need no second look."""

    async def put(self, record: RunRecord) -> None:
        """Write what is new of the record, its head last. Raises ClusterError."""
        for ref, data, labels in encode(record):
            digest = hash(tuple(data.items()))
            if self._written.get(ref) != digest:
                await self._cluster.put_config_map(ref, data, labels)
                self._written[ref] = digest

    async def all(self) -> Collection[RunRecord]:
        """Read all records that can be read, without their journals. Raises ClusterError."""
        return read_records(await self._cluster.list("ConfigMap", [NAMESPACE]))[0].values()

    async def load(self, run: str) -> RunRecord | None:
        """Read a record; None when there is none. Raises ClusterError, or RecordError for one that is damaged."""
        found = {r.ref: r for r in await self._cluster.list("ConfigMap", [NAMESPACE])}
        head = found.get(record_ref(run))
        return decode(head, found) if head else None


class NoRecords:
    """For a run that a person has agreed to keep on this machine only."""

    async def put(self, record: RunRecord) -> None:
        """Write nothing."""

    async def load(self, run: str) -> RunRecord | None:
        """Know nothing."""
        return None
