"""Whole runs, out of the mesh and back, while the API server misbehaves: what is told as done is done.

Each schedule draws its faults from its seed. A run may fail, stop, or not begin; then the weather clears and it is
resumed. `SCHEDULES=2000` runs more of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from meshguard import app, execution
from meshguard.cluster.connect import open_cluster
from meshguard.config import Config
from meshguard.consent import Blocked, settle
from meshguard.engine.outcome import Outcome
from meshguard.journal.errors import JournalError
from meshguard.mesh.protocol import Consents
from meshguard.model.plan import Plan
from meshguard.model.scopes import Asked
from meshguard.plan.build import PlanError
from meshguard.ports import ClusterError
from meshguard.signals.reader import EnvoySignals
from meshguard.sim.api.cluster import SimulatedCluster
from meshguard.sim.api.faults import Faults, Trouble
from meshguard.sim.api.http import HttpFront, serving
from meshguard.sim.api.identity import SYSTEM
from meshguard.sim.api.store import Change, Event
from tests.cluster.api_server import CALM, kubeconfig
from tests.rules.test_policies_preflight import Unmeasured
from tests.sim.bed import furnished
from tests.sim.meshed import BOTH, LEAVING, STAYING, furnish
from tests.sim.proxies import POLICIES, Proxies

LAG_S = 3.0
"""How far the proxies are behind the API, in simulated seconds."""
SCHEDULES = int(os.environ.get("SCHEDULES", "8"))
_PER_TEST = 8
_ATTEMPTS = 3
_CALM_ATTEMPTS = 5


class Skipping:
    """A simulated clock that is moved on by whoever waits; implements the Clock port."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._clock = cluster.clock
        self.now, self.wall, self.sleep = self._clock.now, self._clock.wall, self._clock.skip


@dataclass
class World:
    """A cluster under faults, its proxies, and what went wrong that must never."""

    cluster: SimulatedCluster
    proxies: Proxies
    trouble: Trouble
    opened: app.Session
    wrong: list[str] = field(default_factory=list)

    def watch(self, storage: str, event: Event) -> None:
        """No pod may come without a sidecar while any proxy that it calls, or that calls it, is STRICT."""
        if storage != "pods" or event.change is not Change.ADDED or event.new.key[0] not in BOTH:
            return
        if not _is_meshed(event.new.doc) and any(self.proxies.mode(name) == "STRICT" for name in BOTH):
            self.wrong.append(f"{event.new.key} came without a sidecar under STRICT")

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        pods = [entry.doc for entry in self.cluster.store.all("pods", namespace)]
        return [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]

    def shape(self) -> dict[str, Any]:
        """What an exit and its restore must leave as it was."""
        store = self.cluster.store
        return {
            "labels": [store.all("namespaces")[0] and e.doc["metadata"].get("labels") for e in store.all("namespaces")],
            "apps": [e.doc["spec"] for e in store.all("deployments.apps")],
            "policies": {e.key: e.doc["spec"] for e in store.all(POLICIES)},
            "rules": {e.key: e.doc["spec"] for e in store.all("destinationrules.networking.istio.io")},
            "meshed": {name: [_is_meshed(pod) for pod in self.pods(name)] for name in BOTH},
        }

    def check_left(self) -> None:
        """What `done` of an exit claims."""
        meshed = {name: {_is_meshed(pod) for pod in self.pods(name)} for name in BOTH}
        assert meshed == {LEAVING: {False}, STAYING: {True}}
        assert all(_is_ready(pod) for name in BOTH for pod in self.pods(name))
        assert len(self.pods(LEAVING)) == 2
        assert {self.proxies.mode(name) for name in BOTH} == {"PERMISSIVE"}


def _is_meshed(pod: dict[str, Any]) -> bool:
    return "istio-proxy" in {c["name"] for c in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", ()))}


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


def faults_of(seed: int) -> Faults:
    dice = Random(seed)
    return Faults(
        too_many=dice.choice((0, 0.05, 0.2)),
        server_errors=dice.choice((0, 0.02, 0.1)),
        resets=dice.choice((0, 0.02, 0.1)),
        seed=seed,
    )


@asynccontextmanager
async def world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    cluster, trouble = furnished(), Trouble()
    furnish(cluster)
    proxies = Proxies(cluster, LAG_S)
    cluster.ports.register(proxies)
    async with serving(HttpFront(cluster.api, lambda _: SYSTEM, trouble)) as port:
        path, waits = kubeconfig(folder, f"http://127.0.0.1:{port}"), Skipping(cluster)
        target = app.Target("here", str(path), config=Config(journalDirectory=str(folder / "runs")))
        async with await open_cluster("here", waits, kubeconfig=str(path), patience=CALM) as adapter:
            signals = EnvoySignals(adapter)
            opened = app.Session(target, adapter, signals, cluster.clock, Unmeasured(), adapter, waits=waits)
            ticking = asyncio.create_task(cluster.clock.run())
            found = World(cluster, proxies, trouble, opened)
            cluster.store.listeners.append(found.watch)

            @asynccontextmanager
            async def session(*_: object) -> AsyncIterator[app.Session]:
                yield opened

            monkeypatch.setattr(execution, "session", session)
            try:
                yield found
            finally:
                ticking.cancel()


async def attempt(found: World, plan: Plan, run: str) -> Outcome:
    """Run what is left of a plan, phase by phase, as the playbook does."""
    for phase in plan.phases:
        outcome = await execution.run_phase(found.opened.target, run, phase.name)
        if not outcome.goes_on:
            break
    return outcome


async def carried_out(found: World, plan_of: Any, faults: Faults) -> str:
    """Plan, begin, run and, where that fails, resume, under faults at first; return the run once it is done."""
    run, problems = "", []
    plan: Plan | None = None
    for number in range(_ATTEMPTS + _CALM_ATTEMPTS):
        found.trouble.switch(faults if number < _ATTEMPTS else Faults())
        try:
            if plan is None or not run:
                plan = await plan_of(found.opened)
                settle(plan)
                run = (await execution.begin(found.opened, plan, execution.Terms("practice"))).run
            elif number:
                await execution.resume(found.opened, run, execution.Terms("again", take_over=True))
            outcome = await attempt(found, plan, run)
        except (Blocked, ClusterError, JournalError, PlanError, app.UnknownRun) as error:
            problems.append(f"{type(error).__name__}: {error}")
            continue
        if outcome.goes_on:
            return run
        assert outcome.sentence, outcome
        problems.append(f"{outcome.result}: {outcome.sentence} {outcome.missing[:2]}")
    # Blocked is right where istiod could not be asked for its version.
    raise AssertionError(f"never done: {problems}")


async def schedule(seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = faults_of(seed)
    async with world(folder, monkeypatch) as found:
        before = found.shape()

        async def leave(opened: app.Session) -> Plan:
            return await app.make_exit_plan(opened, Asked(namespaces=frozenset({LEAVING})), Consents())

        run = await carried_out(found, leave, faults)
        found.check_left()

        async def come_back(opened: app.Session) -> Plan:
            return await app.make_restore_plan(opened, run, Consents())

        await carried_out(found, come_back, faults)
        assert found.shape() == before, f"seed {seed}"
        assert {found.proxies.mode(name) for name in BOTH} == {"STRICT"}
        assert found.wrong == []


@pytest.mark.parametrize("first", range(0, SCHEDULES, _PER_TEST))
def test_done_is_done(first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(first, min(first + _PER_TEST, SCHEDULES)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        asyncio.run(schedule(seed, folder, monkeypatch))
