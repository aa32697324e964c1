"""The mirror of a run in the cluster, so that another person on another machine can restore it.

One ConfigMap `run-RUN` in `meshguard-system`; a plan that does not fit goes on in `run-RUN-plan-N`, which are
written first. A step that may have been begun counts as held: only the object itself can tell.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from meshguard.journal.entries import Head
from meshguard.journal.errors import RecordError
from meshguard.journal.state import RunState, StepState
from meshguard.model.change import Change, net
from meshguard.model.objects import Ref, Resource, dig
from meshguard.model.plan import Direction, Plan, Step
from meshguard.model.snapshot import OpenRun, Snapshot
from meshguard.ports import Cluster

NAMESPACE = "meshguard-system"
RECORD_LABEL = "meshguard.dev/record"
RUN_LABEL = "meshguard.dev/run"
STATUS_LABEL = "meshguard.dev/status"

PART_BYTES = 400_000
"""How much of a plan one ConfigMap takes; the API server allows 1 MiB for an object as a whole."""

_CREATED: tuple[str, ...] = ()
"""The path of an object as a whole: it was created, not changed."""


class RecordStatus(StrEnum):
    """What the record says of the run."""

    OPEN = "open"
    """It holds something that is not restored."""
    PARTIAL = "partial"
    """A restore gave back a part; the rest was left because somebody else had changed it."""
    RESTORED = "restored"
    CLOSED = "closed"
    """A restore or a realignment that is finished; it holds nothing."""


@dataclass(frozen=True)
class RunRecord:
    """What the cluster must know of a run to restore or to resume it."""

    run: str
    plan: Plan
    person: str
    reason: str
    started: str
    status: RecordStatus
    head: Head
    """Where the journal stood; an older journal that ends before it has been cut."""
    states: Mapping[str, StepState] = field(default_factory=dict)
    """By step; a step that is not named was not begun."""
    phases: Mapping[str, str] = field(default_factory=dict)
    """The outcome of each phase that is over."""
    uids: Mapping[str, str] = field(default_factory=dict)
    """By step the UID of the object that it created."""
    undone: frozenset[tuple[Ref, tuple[str, ...]]] = frozenset()
    """Fields that a restore has given back."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)

    def starting(self, steps: Iterable[str]) -> RunRecord:
        """The record with these steps about to be done."""
        return replace(self, states={**dict.fromkeys(steps, StepState.INTENDED), **self.states})

    def restored(self, undone: Iterable[Step], left: Collection[Ref]) -> RunRecord:
        """The record after a restore that has done the steps `undone` (its own) and has left some objects alone.

        Of an object that was left, only what those steps have given back is not held any more.
        """
        given = {(step.target, path) for step in undone for path in _paths(step)}
        given |= {(step.target, path) for step in self.holding for path in _paths(step) if step.target not in left}
        after = replace(self, undone=self.undone | given)
        rest = after.to_open_run()
        return replace(after, status=RecordStatus.PARTIAL if rest.changes or rest.created else RecordStatus.RESTORED)

    @property
    def holding(self) -> tuple[Step, ...]:
        """The steps that the run has made, or may have made, with its own name in the values."""
        held = (StepState.INTENDED, StepState.DONE)
        return tuple(s.for_run(self.run) for s in self.plan.steps if self.states.get(s.id) in held)

    def to_open_run(self) -> OpenRun:
        """What the run still holds."""
        changes: dict[Ref, list[Change]] = defaultdict(list)
        created: dict[Ref, str] = {}
        manifests: dict[Ref, Mapping[str, Any]] = {}
        for step in self.holding:
            if step.manifest is not None and (step.target, _CREATED) not in self.undone:
                created[step.target] = self.uids.get(step.id) or step.uid
                manifests[step.target] = step.manifest
            kept = [change for change in step.changes if (step.target, change.path) not in self.undone]
            if self.states[step.id] is StepState.INTENDED:
                kept = [change for change in kept if not _takes_back(change, changes[step.target])]
            changes[step.target] += kept
        return OpenRun(
            run=self.run,
            owner=self.person,
            reason=self.reason,
            started=self.started,
            namespaces=self.plan.namespaces,
            changes={ref: left for ref, made in changes.items() if (left := net(made))},
            created=created,
            manifests=manifests,
            fingerprints={Ref.parse(text): digest for text, digest in self.fingerprints.items()},
        )


def _takes_back(change: Change, made: Iterable[Change]) -> bool:
    """True for a change that ends what the run itself began; while it is uncertain, the field counts as held."""
    first = next((earlier for earlier in made if earlier.path == change.path), None)
    return first is not None and first.before == change.after


def _paths(step: Step) -> tuple[tuple[str, ...], ...]:
    return (*(change.path for change in step.changes), *([_CREATED] if step.manifest is not None else []))


def record_of(plan: Plan, state: RunState, head: Head, status: RecordStatus = RecordStatus.OPEN) -> RunRecord:
    """Make the record of a run from its plan and from where its journal stands."""
    return RunRecord(
        run=state.opened.run,
        plan=plan,
        person=state.opened.person,
        reason=state.opened.reason,
        started=state.opened_at,
        status=status,
        head=head,
        states={step_id: mark.state for step_id, mark in state.steps.items()},
        phases=dict(state.phases),
        uids={step_id: mark.created_uid for step_id, mark in state.steps.items() if mark.created_uid},
        fingerprints=state.opened.fingerprints,
    )


def record_ref(run: str) -> Ref:
    """Where the record of a run lies."""
    return Ref("ConfigMap", NAMESPACE, f"run-{run}")


def encode(record: RunRecord) -> list[tuple[Ref, dict[str, str], dict[str, str]]]:
    """Return the ConfigMaps of a record (reference, data, labels) in the order in which they must be written."""
    first, *more = _parts(_packed(record.plan.document()))
    ref, plain = record_ref(record.run), {RUN_LABEL: record.run}
    data = {
        "run": record.run,
        "person": record.person,
        "reason": record.reason,
        "started": record.started,
        "status": record.status.value,
        "direction": record.plan.direction.value,
        "namespaces": " ".join(record.plan.namespaces),
        "planHash": record.plan.hash,
        "planParts": str(1 + len(more)),
        "plan": first,
        "journal": f"{record.head.seq} {record.head.hash}",
        "state": _packed(
            {
                "steps": {step: state.value for step, state in record.states.items()},
                "phases": dict(record.phases),
                "uids": dict(record.uids),
                "undone": sorted([str(undone), list(path)] for undone, path in record.undone),
                "fingerprints": dict(record.fingerprints),
            }
        ),
    }
    parts = [
        (Ref(ref.kind, ref.namespace, f"{ref.name}-plan-{number}"), {"plan": part}, {**plain, RECORD_LABEL: "part"})
        for number, part in enumerate(more, start=1)
    ]
    return [*parts, (ref, data, {**plain, RECORD_LABEL: "run", STATUS_LABEL: record.status.value})]


def decode(head: Resource, parts: Mapping[Ref, Resource]) -> RunRecord:
    """Read a record back from its ConfigMap and those that go on with its plan. Raises RecordError."""
    data: Mapping[str, str] = dig(head.doc, "data", default={})
    try:
        names = [f"{head.ref.name}-plan-{number}" for number in range(1, int(data["planParts"]))]
        more = [parts[Ref(head.ref.kind, head.ref.namespace, name)].doc["data"]["plan"] for name in names]
        state = _unpacked(data["state"])
        seq, _, digest = data["journal"].partition(" ")
        return RunRecord(
            run=data["run"],
            plan=Plan.from_json(_unpacked("".join([data["plan"], *more]))),
            person=data["person"],
            reason=data["reason"],
            started=data["started"],
            status=RecordStatus(data["status"]),
            head=Head(int(seq), digest),
            states={step: StepState(value) for step, value in state["steps"].items()},
            phases=state["phases"],
            uids=state["uids"],
            undone=frozenset((Ref.parse(text), tuple(path)) for text, path in state["undone"]),
            fingerprints=state["fingerprints"],
        )
    except KeyError as error:
        raise RecordError(f"the record {head.ref} is incomplete: {error} is missing") from error
    except (ValueError, TypeError, OSError, EOFError, zlib.error) as error:
        raise RecordError(f"the record {head.ref} cannot be read: {error}") from error


def read_records(resources: Iterable[Resource]) -> tuple[dict[str, RunRecord], dict[str, str]]:
    """Read all records among some ConfigMaps: by run, and what could not be read with the reason."""
    own = {r.ref: r for r in resources if r.ref.namespace == NAMESPACE and RECORD_LABEL in r.labels}
    records, broken = {}, {}
    for ref, resource in own.items():
        if resource.labels[RECORD_LABEL] != "run":
            continue
        try:
            record = decode(resource, own)
        except RecordError as error:
            broken[str(ref)] = str(error)
        else:
            records[record.run] = record
    return records, broken


def open_runs(snapshot: Snapshot) -> tuple[OpenRun, ...]:
    """Return the runs of a snapshot that still hold something, oldest first."""
    records, _ = read_records(snapshot.of_kind("ConfigMap"))
    return _still_open(records.values())


def with_open_runs(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with its open runs filled in; a record that cannot be read is `blind`."""
    records, broken = read_records(snapshot.of_kind("ConfigMap"))
    return replace(snapshot, open_runs=_still_open(records.values()), blind={**snapshot.blind, **broken})


def _still_open(records: Collection[RunRecord]) -> tuple[OpenRun, ...]:
    """Faults are no break-glass: to whoever plans an exit they are how the cluster is."""
    passing = (Direction.RESTORE, Direction.FAULT)
    return _holding(record for record in records if record.plan.direction not in passing)


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


class ClusterRecords:
    """Records as ConfigMaps of the cluster that the run is about."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def put(self, record: RunRecord) -> None:
        """Write the record, its head last. Raises ClusterError."""
        for ref, data, labels in encode(record):
            await self._cluster.put_config_map(ref, data, labels)

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


def _packed(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def _unpacked(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text, validate=True)))


def _parts(text: str) -> list[str]:
    return [text[at : at + PART_BYTES] for at in range(0, len(text), PART_BYTES)]
