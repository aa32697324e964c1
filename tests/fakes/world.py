"""A small mesh, plans for it, and a run that can be begun, killed and taken up again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from meshguard.engine.execute import Executor, Limits
from meshguard.engine.judge import Judge
from meshguard.engine.outcome import Outcome
from meshguard.engine.start import Opening, open_run, resume_run
from meshguard.engine.stop import StopSignal
from meshguard.journal.adopt import take_up
from meshguard.journal.lease import ClusterLease, Hold, NoHold
from meshguard.journal.mirror import ClusterRecords
from meshguard.journal.rundir import RunDir, new_token
from meshguard.model.change import ABSENT, Change
from meshguard.model.objects import Ref
from meshguard.model.plan import RUN_PLACEHOLDER, Action, Await, Check, Direction, Phase, Plan, Step, Wave
from meshguard.model.snapshot import Snapshot
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.death import Death, MortalJournal
from tests.fakes.judge import FakeJudge

PAY = Ref("Namespace", "", "shop-pay")
LEDGER = Ref("Deployment", "shop-pay", "ledger")
PAYMENTS = Ref("Deployment", "shop-pay", "payments")
RELAXED = Ref("PeerAuthentication", "shop-pay", "meshguard-permissive")
OWNED = Ref("DestinationRule", "shop-core", "payments")

INJECTION = ("metadata", "labels", "istio-injection")
MARK = ("spec", "template", "metadata", "annotations")
TLS = ("spec", "trafficPolicy")


def document(ref: Ref, **parts: Any) -> dict[str, Any]:
    metadata = {"name": ref.name, "uid": f"uid-{ref.name}", **parts.pop("metadata", {})}
    if ref.namespace:
        metadata["namespace"] = ref.namespace
    return {"kind": ref.kind, "metadata": metadata, **parts}


def shop() -> FakeCluster:
    template: dict[str, Any] = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "app"}]}}
    return FakeCluster(
        document(PAY, metadata={"labels": {"istio-injection": "enabled"}}),
        document(LEDGER, spec={"replicas": 2, "template": template}),
        document(PAYMENTS, spec={"replicas": 2, "template": template}),
        document(OWNED, spec={"host": "payments", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}),
    )


def manifest(ref: Ref = RELAXED) -> dict[str, Any]:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": ref.kind,
        "metadata": {"namespace": ref.namespace, "name": ref.name},
        "spec": {"mtls": {"mode": "PERMISSIVE"}},
    }


def change(number: str, ref: Ref, *changes: Change, restarts: bool = False) -> Step:
    return Step(number, Action.CHANGE, ref, f"uid-{ref.name}", f"Change {ref}.", "because", changes, restarts=restarts)


def awaited(sentence: str = "it is so", deadline_s: float = 60.0) -> Await:
    return Await(Check.INBOUND, sentence, ("shop-pay",), deadline_s=deadline_s)


def exit_plan() -> Plan:
    create = Step("1", Action.CREATE, RELAXED, "", "Accept plaintext.", "strict", manifest=manifest())
    loosen = change("2", OWNED, Change(TLS, {"tls": {"mode": "ISTIO_MUTUAL"}}, ABSENT))
    label = change("3", PAY, Change(INJECTION, "enabled", "disabled"))
    marked = {"meshguard.dev/restart": RUN_PLACEHOLDER}
    restarts = tuple(
        change(number, ref, Change(MARK, ABSENT, marked), restarts=True)
        for number, ref in (("4", LEDGER), ("5", PAYMENTS))
    )
    return Plan(
        Direction.EXIT,
        "istio-sidecar",
        "cluster-1",
        "context",
        ("shop-pay",),
        (
            Phase("relax", "Relax", (Wave((create, loosen), (awaited("the proxies accept plaintext"),)),)),
            Phase("un-enrol", "Un-enrol", (Wave((label,), (awaited("new pods have no proxy"),)),)),
            Phase(
                "restart",
                "Restart",
                (Wave(restarts[:1], (awaited("ledger is out"),)), Wave(restarts[1:], (awaited("payments is out"),))),
            ),
            Phase("verify", "Verify", (Wave((), (awaited("traffic flows"),)),)),
        ),
    )


def restore_plan(of: Plan, run: str, created_uid: str) -> Plan:
    """Undo everything, last step first."""
    phases = []
    for phase in reversed(of.phases):
        waves = [
            replace(wave, steps=tuple(_undo(step.for_run(run), created_uid) for step in reversed(wave.steps)))
            for wave in reversed(phase.waves)
        ]
        phases.append(replace(phase, waves=tuple(waves)))
    return replace(of, direction=Direction.RESTORE, phases=tuple(phases), of_run=run)


def _undo(step: Step, created_uid: str) -> Step:
    undo = step.inverse()
    return replace(undo, uid=created_uid) if undo.action is Action.DELETE else undo


class World:
    """A cluster, a clock, a folder of runs, and whoever executes."""

    def __init__(
        self, runs: Path, cluster: FakeCluster | None = None, judge: Judge | None = None, *, leased: bool = False
    ) -> None:
        self.runs, self.cluster, self.clock = runs, cluster or shop(), FakeClock()
        self.judge: Judge = judge or FakeJudge()
        self.records = ClusterRecords(self.cluster)
        self.limits = Limits()
        self.death = Death()
        self.leased = leased
        """Whether runs claim the cluster; without that, tests may begin one in the middle of another."""

    def die_at(self, moment: int | None) -> Death:
        """Begin a life that ends at this moment, or, for None, does not."""
        self.death = Death(moment)
        self.death.threaten(self.cluster)
        return self.death

    def begin(self, plan: Plan, **opening: Any) -> RunDir:
        opened = Opening("sre@laptop", "mesh is down", **opening)
        return asyncio.run(open_run(plan, opened, self.runs, self.records, self.clock, self.hold))

    def hold(self, folder: RunDir) -> Hold:
        """The claim of a run that is executed here."""
        if not self.leased:
            return NoHold()
        return ClusterLease(self.cluster, self.clock, f"sre@laptop ({folder.token()})", folder.run)

    def elsewhere(self, runs: Path) -> World:
        """Another machine with the same cluster in reach and no file of ours."""
        other = World(runs, self.cluster, self.judge, leased=self.leased)
        other.clock = self.clock
        return other

    def take_up(self, run: str, **opening: Any) -> RunDir:
        """Resume a run as the command line does, insisting on the cluster."""

        async def taken() -> RunDir:
            token = RunDir(self.runs / run).token() or new_token()
            hold = ClusterLease(self.cluster, self.clock, f"sre@laptop ({token})", run)
            before = await hold.acquire(take_over=True)
            record = await self.records.load(run)
            assert record is not None
            heard = before.head if before.run == run else None
            found = take_up(self.runs, record, heard, token)
            opened = Opening("other@desk", "shift change", **opening)
            await resume_run(found, opened, self.clock, hold, before, record.taken_over)
            return found.folder

        return asyncio.run(taken())

    def snapshot(self) -> Snapshot:
        """What the cluster holds now."""
        return asyncio.run(self.cluster.snapshot())

    @contextmanager
    def executor(self, folder: RunDir) -> Iterator[Executor]:
        with MortalJournal.opened(folder.journal, self.clock, self.death) as journal:
            stop = StopSignal(folder.stop)
            yield Executor(
                self.cluster, self.judge, self.clock, journal, self.records, self.limits, stop, self.hold(folder)
            )

    def phase(self, folder: RunDir, plan: Plan, name: str) -> Outcome:
        with self.executor(folder) as executor:
            return asyncio.run(executor.run_phase(plan, name))

    def finish(self, folder: RunDir, plan: Plan) -> Outcome:
        with self.executor(folder) as executor:
            outcome = asyncio.run(executor.finish(plan))
        asyncio.run(self.hold(folder).release())
        return outcome

    def run(self, folder: RunDir, plan: Plan) -> Outcome:
        """Execute what is left of a run as the playbook would: phase by phase, until one does not go on."""
        for phase in plan.phases:
            outcome = self.phase(folder, plan, phase.name)
            if not outcome.goes_on:
                return outcome
        return self.finish(folder, plan)
