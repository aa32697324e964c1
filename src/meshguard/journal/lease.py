"""One run per cluster at a time: a Lease with a named holder who renews it, and the head of the holder's journal.

The head makes a journal that was cut show: whoever takes the run up compares what is left with what the cluster has
heard of. A released Lease keeps the head of the run that held it last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from meshguard.journal.entries import Head
from meshguard.journal.errors import LeaseHeld, LeaseLost
from meshguard.journal.records import NAMESPACE, RUN_LABEL, TAKEN_OVER, record_ref
from meshguard.model.change import change_at
from meshguard.model.objects import Ref, Resource, dig
from meshguard.ports import Clock, Cluster, ClusterError, Gone, Rejected, WriteConflict

LEASE = Ref("Lease", NAMESPACE, "meshguard")
HEAD = "meshguard.dev/journal"

DURATION_S = 60.0
"""A holder that has not renewed for so long counts as dead. Longer than any pause between two phases of a playbook."""
RENEW_S = 10.0
"""How often a holder renews. Who takes the cluster over gives a living holder this time to notice, and some more."""
NOTICE_S = 1.5 * RENEW_S

_Changes = dict[tuple[str, ...], Any]
_HOLDER, _RENEWED, _ACQUIRED = ("spec", "holderIdentity"), ("spec", "renewTime"), ("spec", "acquireTime")
_RUN, _HEAD = ("metadata", "annotations", RUN_LABEL), ("metadata", "annotations", HEAD)


@dataclass(frozen=True, slots=True)
class Holding:
    """What the Lease says: who holds the cluster, for which run, and how far that run's journal had come."""

    holder: str = ""
    """"" when nobody does."""
    run: str = ""
    renewed: str = ""
    head: Head | None = None
    expired: bool = False
    ours: bool = False

    @property
    def by_another(self) -> bool:
        """Whether another run, or another copy of this one, holds the cluster."""
        return bool(self.holder) and not self.ours

    def __str__(self) -> str:
        return f"run {self.run} of {self.holder}, renewed at {self.renewed}"


class Hold(Protocol):
    """A run's claim on the cluster."""

    @property
    def lost(self) -> str:
        """Why the claim is gone, in one sentence; "" while it holds."""
        ...

    async def acquire(self, *, take_over: bool = False) -> Holding:
        """Claim the cluster; return what the claim replaced. Raises LeaseHeld or ClusterError."""
        ...

    async def renew(self, head: Head) -> None:
        """Say that the run is alive, and how far its journal has come. Raises LeaseLost or ClusterError."""
        ...

    async def release(self) -> None:
        """Let others begin. If the cluster does not answer, the claim expires by itself."""
        ...

    def kept(self, head: Callable[[], Head]) -> AbstractAsyncContextManager[None]:
        """Renew in the background while the body runs; what `lost` says then, the body must heed."""
        ...


class NoHold:
    """For a run that a person has agreed to keep on this machine only: nobody else can see that it is at work."""

    lost = ""

    async def acquire(self, *, take_over: bool = False) -> Holding:
        """Claim nothing."""
        return Holding()

    async def renew(self, head: Head) -> None:
        """Say nothing."""

    async def release(self) -> None:
        """Let nothing go."""

    def kept(self, head: Callable[[], Head]) -> AbstractAsyncContextManager[None]:
        """Renew nothing."""
        return nullcontext()


class ClusterLease:
    """The Lease `meshguard-system/meshguard`; `holder` names the person and tells one copy of a run from another."""

    def __init__(self, cluster: Cluster, clock: Clock, holder: str, run: str) -> None:
        self._cluster, self._clock = cluster, clock
        self._holder, self._run = holder, run
        self._seen: Resource | None = None
        self._renewed_at = clock.now()
        self._writing = asyncio.Lock()
        self.lost = ""

    async def look(self) -> Holding:
        """Read who holds the cluster now. Raises ClusterError."""
        self._seen = await self._cluster.get(LEASE)
        return self._holding(self._seen) if self._seen else Holding()

    async def acquire(self, *, take_over: bool = False) -> Holding:
        """Claim the cluster; return what the claim replaced.

        Raises LeaseHeld while another holder is alive, unless `take_over`: then that one is told in the record of its
        run, and given time to notice. Raises ClusterError.
        """
        before = await self.look()
        if before.by_another and not take_over:
            await self._require_dead(before)
        await self._claim(before)
        if before.by_another:
            await self._tell(before)
            if not before.expired:
                await self._clock.sleep(NOTICE_S)
        return before

    async def _tell(self, other: Holding) -> None:
        """Write into the record of another run who took the cluster from it; it may never hear of it otherwise."""
        if other.run == self._run or not other.run:
            return
        record = await self._cluster.get(record_ref(other.run))
        if record is not None:
            sentence = f"run {self._run} of {self._holder} took the cluster over at {self._clock.wall()}"
            await self._cluster.change(record.ref, record.uid, [change_at(record.doc, TAKEN_OVER, sentence)])

    async def _require_dead(self, held: Holding) -> None:
        """Clocks of two machines differ: one that looks dead is watched for as long as a living one needs to renew."""
        if held.expired:
            await self._clock.sleep(NOTICE_S)
            if await self.look() == held:
                return
        raise LeaseHeld(f"the cluster is held by {held}; wait until it has ended, or give --take-over")

    async def _claim(self, before: Holding) -> None:
        now = self._now()
        wanted: _Changes = {_HOLDER: self._holder, _ACQUIRED: now, _RENEWED: now, _RUN: self._run}
        try:
            if self._seen is None:
                self._seen = await self._cluster.create(self._manifest(now))
                return
            if before.run != self._run:
                wanted[_HEAD] = ""  # that of another run says nothing about this one
            wanted[("spec", "leaseTransitions")] = dig(self._seen.doc, "spec", "leaseTransitions", default=0) + 1
            await self._write(wanted)
        except (WriteConflict, Gone, Rejected) as error:
            held = await self.look()
            if not held.holder:
                raise
            raise LeaseHeld(f"the cluster was claimed at the same moment by {held}") from error

    async def renew(self, head: Head) -> None:
        """Say that the run is alive, and how far its journal has come. Raises LeaseLost or ClusterError."""
        async with self._writing:
            if self.lost:
                raise LeaseLost(self.lost)
            if self._seen is None:
                await self._require_own()
            try:
                await self._write({_RENEWED: self._now(), _HEAD: str(head)})
            except (WriteConflict, Gone):
                await self._require_own()
                await self._write({_RENEWED: self._now(), _HEAD: str(head)})
            self._renewed_at = self._clock.now()

    async def _require_own(self) -> None:
        """Raise LeaseLost when the Lease is somebody else's, or nobody's, by now."""
        held = await self.look()
        if held.holder != self._holder:
            self.lost = f"the cluster was taken over by {held}" if held.holder else "the claim on the cluster is gone"
            raise LeaseLost(self.lost)

    async def release(self) -> None:
        """Let others begin. If the cluster does not answer, the claim expires by itself."""
        async with self._writing:
            with suppress(ClusterError, LeaseLost):
                if not self.lost:
                    await self._require_own()
                    await self._write({_HOLDER: ""})

    @asynccontextmanager
    async def kept(self, head: Callable[[], Head]) -> AsyncIterator[None]:
        """Renew in the background while the body runs; what `lost` says then, the body must heed."""
        renewing = asyncio.create_task(self._keep(head))
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _keep(self, head: Callable[[], Head]) -> None:
        while not self.lost:
            await self._clock.sleep(RENEW_S)
            try:
                await self.renew(head())
            except LeaseLost:
                return
            except ClusterError as error:
                if self._clock.now() - self._renewed_at > DURATION_S:
                    self.lost = f"the claim on the cluster could not be renewed for {DURATION_S:.0f} s: {error}"

    async def _write(self, wanted: _Changes) -> None:
        """Set fields of the Lease as it was seen last. Raises WriteConflict when it has another holder since."""
        assert self._seen is not None
        doc = self._seen.doc
        guarded = {_HOLDER: dig(doc, *_HOLDER, default=""), **wanted}
        changes = [change_at(doc, path, value) for path, value in guarded.items()]
        self._seen = await self._cluster.change(LEASE, self._seen.uid, changes)

    def _holding(self, lease: Resource) -> Holding:
        spec, annotations = lease.spec, lease.annotations
        renewed = str(spec.get("renewTime") or "")
        duration = timedelta(seconds=float(spec.get("leaseDurationSeconds") or DURATION_S))
        now = datetime.fromisoformat(self._clock.wall())
        return Holding(
            spec.get("holderIdentity") or "",
            annotations.get(RUN_LABEL, ""),
            renewed,
            Head.parse(annotations[HEAD]) if annotations.get(HEAD) else None,
            not renewed or now - datetime.fromisoformat(renewed) > duration,
            spec.get("holderIdentity") == self._holder,
        )

    def _manifest(self, now: str) -> dict[str, Any]:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": LEASE.kind,
            "metadata": {
                "namespace": LEASE.namespace,
                "name": LEASE.name,
                "annotations": {RUN_LABEL: self._run, HEAD: ""},
            },
            "spec": {
                "holderIdentity": self._holder,
                "leaseDurationSeconds": int(DURATION_S),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }

    def _now(self) -> str:
        """The time of day as the API server writes it back: with microseconds."""
        return self._clock.wall().replace("Z", "000Z")
