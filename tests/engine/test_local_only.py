"""Where the cluster cannot hold the mirror, the plan says so; with consent the run is this machine's alone."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshguard import app, execution
from meshguard.config import Config
from meshguard.consent import Blocked, consents_from, settle
from meshguard.engine.execute import Executor
from meshguard.engine.outcome import Result
from meshguard.execution import Terms
from meshguard.journal import mirror
from meshguard.journal.journal import Journal, read_entries
from meshguard.journal.mirror import NoRecords
from meshguard.journal.rundir import RunDir
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref, Resource
from meshguard.model.plan import Plan
from meshguard.ports import Rejected, Unreachable
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.judge import FakeJudge
from tests.fakes.signals import FakeSignals
from tests.fakes.tunnels import FakeTunnels
from tests.fakes.world import LEDGER, PAY, exit_plan, shop
from tests.rules.test_policies_preflight import Unmeasured

MISSING = 'ConfigMap meshguard-system/x cannot be created: namespaces "meshguard-system" not found'


class WithoutNamespace(FakeCluster):
    """A cluster in which nobody has made `meshguard-system`."""

    async def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Resource:
        if manifest["metadata"].get("namespace") == "meshguard-system":
            raise Rejected(MISSING)
        return await super().create(manifest, dry_run=dry_run)


class WithoutRights(FakeCluster):
    """A cluster in which this person may not patch our records."""

    async def missing_rights(self, wanted: Collection[tuple[str, str, str]]) -> Sequence[str]:
        return [f"{verb} {resource} in {space}" for verb, resource, space in sorted(wanted) if verb == "patch"]


def session(cluster: FakeCluster, runs: Path) -> app.Session:
    target = app.Target(config=Config.model_validate({"journalDirectory": str(runs)}))
    return app.Session(target, cluster, FakeSignals(), FakeClock(), Unmeasured(), FakeTunnels({}))


def local_plan() -> Plan:
    finding = Finding(CODES["MG704"], Ref("Namespace", "", "meshguard-system"), MISSING, accepted=True)
    return replace(exit_plan(), findings=(finding,))


def execute(cluster: FakeCluster, folder: RunDir, phases: int | None = None) -> list[Result]:
    async def executed() -> list[Result]:
        plan, clock = folder.read_plan(), FakeClock()
        with Journal.open(folder.journal, clock) as journal:
            executor = Executor(cluster, FakeJudge(), clock, journal, NoRecords())
            done = [(await executor.run_phase(plan, phase.name)).result for phase in plan.phases[:phases]]
            return done if phases else [*done, (await executor.finish(plan)).result]

    return asyncio.run(executed())


def test_it_is_found_by_a_dry_run_and_by_the_rights() -> None:
    assert asyncio.run(mirror.trouble(shop(), app.own_rights())) == ""
    assert asyncio.run(mirror.trouble(WithoutNamespace(), app.own_rights())) == MISSING
    assert asyncio.run(mirror.trouble(WithoutRights(), app.own_rights())) == (
        "rights are missing: patch configmaps in meshguard-system; patch leases.coordination.k8s.io in meshguard-system"
    )
    cluster = shop()
    asyncio.run(mirror.trouble(cluster, app.own_rights()))
    assert cluster.record_writes == [], "nothing is written"


def test_a_cluster_that_does_not_answer_is_not_one_without_a_mirror() -> None:
    class Silent(FakeCluster):
        async def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Resource:
            raise Unreachable("no answer")

    with pytest.raises(Unreachable):
        asyncio.run(mirror.trouble(Silent(), app.own_rights()))


def test_the_plan_says_so_and_is_blocked_until_a_person_accepts_it(tmp_path: Path) -> None:
    opened = session(WithoutNamespace(*shop().docs.values()), tmp_path)
    blocked = asyncio.run(app.with_mirror(opened, exit_plan(), consents_from([])))
    with pytest.raises(Blocked, match=r"MG704 Namespace meshguard-system: .* not found") as refused:
        settle(blocked)
    assert refused.value.blockers[0].code.consent == "--local-journal-only"
    settle(asyncio.run(app.with_mirror(opened, exit_plan(), consents_from(["--local-journal-only"]))))
    fine = session(shop(), tmp_path)
    assert asyncio.run(app.with_mirror(fine, exit_plan(), consents_from(["--local-journal-only"]))).findings == ()


def test_such_a_run_leaves_nothing_in_the_cluster_and_goes_on_after_its_death(tmp_path: Path) -> None:
    cluster = WithoutNamespace(*shop().docs.values())
    opened = session(cluster, tmp_path)
    folder = asyncio.run(execution.begin(opened, local_plan(), Terms("dns is down")))
    assert execute(cluster, folder, 1) == [Result.DONE]
    rest = asyncio.run(execution.remainder(opened, folder.run))
    assert [step.id for step in rest.steps(*rest.record.states.values())] == ["1", "2"]
    again = asyncio.run(execution.resume(opened, folder.run, Terms("went on")))
    assert list(again.sentences()) == []
    assert execute(cluster, again.folder)[-1] is Result.DONE
    assert [entry.event.name for entry in read_entries(folder.journal)].count("run-resumed") == 1
    assert not [ref for ref in cluster.docs if ref.namespace == "meshguard-system"]


def test_its_own_machine_knows_what_it_holds_and_no_other_does(tmp_path: Path) -> None:
    cluster = WithoutNamespace(*shop().docs.values())
    opened = session(cluster, tmp_path / "here")
    folder = asyncio.run(execution.begin(opened, local_plan(), Terms("dns is down")))
    execute(cluster, folder)
    (held,) = asyncio.run(opened.snapshot()).open_runs
    assert held.run == folder.run
    assert {PAY, LEDGER} <= set(held.changes)
    elsewhere = session(cluster, tmp_path / "there")
    assert asyncio.run(elsewhere.snapshot()).open_runs == ()
    with pytest.raises(app.UnknownRun):
        asyncio.run(execution.remainder(elsewhere, folder.run))
