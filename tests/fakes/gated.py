"""The small shop of the rules on a cluster in memory, and an exit of it behind a gate that a test can breach."""

from __future__ import annotations

import asyncio
import copy
import shutil
from dataclasses import dataclass
from pathlib import Path

from meshguard.engine.outcome import Outcome
from meshguard.engine.start import Opening, open_run
from meshguard.journal import rundir
from meshguard.journal.mirror import with_open_runs
from meshguard.journal.rundir import RunDir
from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import Consents, LeaveRequest, Settings
from meshguard.model.objects import Ref
from meshguard.model.plan import Await, Check, Plan
from meshguard.model.snapshot import Snapshot
from meshguard.model.verdict import Truth, Verdict
from meshguard.plan.build import plan_exit
from meshguard.plan.gate import Gate, gated
from meshguard.rollback import Rules, roll_back
from tests import builders
from tests.fakes.cluster import FakeCluster
from tests.fakes.judge import YES, FakeJudge
from tests.fakes.world import World

CART = Ref("Deployment", "shop-core", "cart")
CATALOGUE = Ref("Deployment", "shop-core", "catalogue")
CORE = Ref("Namespace", "", "shop-core")
RULES = Rules(IstioSidecar(), Settings(wave_size=1))


class Breaching(FakeJudge):
    """Says yes to everything but the gate, which breaks at one moment."""

    def __init__(self, moment: str) -> None:
        super().__init__(YES)
        self._moment = moment

    async def judge(self, awaited: Await) -> Verdict:
        await super().judge(awaited)
        broken = awaited.check is Check.HYPOTHESIS and self._moment in awaited.sentence
        return Verdict(Truth.NO, 0, 1, ("no pod was OOMKilled: shop/a: 1 events",)) if broken else YES


def shop_world(runs: Path, breach_at: str) -> World:
    """The shop; its gate breaks at the moment whose words these are."""
    docs = [{**r.doc, "kind": r.ref.kind} for r in builders.shop().objects]
    return World(runs, FakeCluster(*docs), Breaching(breach_at))


def gated_exit(world: World) -> Plan:
    """Take cart and catalogue out, one after the other."""
    request = LeaveRequest(frozenset({"shop-core"}), Consents(authz_loss=True, fail_open=True), RULES.settings)
    return gated(plan_exit(world.snapshot(), RULES.mesh, request), Gate("test", {}))


def copied(world: World, runs: Path) -> World:
    """The same cluster and the same runs once more: what happens to one does not happen to the other."""
    shutil.copytree(world.runs, runs)
    twin = World(runs, FakeCluster(), world.judge)
    twin.cluster.docs = copy.deepcopy(world.cluster.docs)
    return twin


def now(world: World) -> Snapshot:
    """The cluster as it is, with what runs hold of it."""
    return with_open_runs(world.snapshot())


@dataclass(frozen=True)
class RunsOf:
    """Opens and carries out runs of this world; implements `rollback.Runs`."""

    world: World

    async def begin(self, plan: Plan, reason: str) -> str:
        opening = Opening("sre@laptop", reason)
        world = self.world
        return (await open_run(plan, opening, world.runs, world.records, world.clock)).run

    async def phase(self, run: str, phase: str) -> Outcome:
        folder = rundir.find(self.world.runs, run)
        plan = folder.read_plan()
        with self.world.executor(folder) as executor:
            outcome = await executor.run_phase(plan, phase)
            last = outcome.goes_on and phase == plan.phases[-1].name
            return await executor.finish(plan) if last else outcome


def rolled_back(world: World, folder: RunDir, breach: Outcome, of_run: str = "") -> Outcome:
    """Roll back what the breach names; `of_run` is what the breached run undoes."""

    async def read() -> Snapshot:
        return with_open_runs(await world.cluster.snapshot())

    return asyncio.run(roll_back(breach, folder.run, RULES, read, RunsOf(world), of_run))
