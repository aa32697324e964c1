"""A run begins only when the API server, and whoever validates behind it, would take every policy edit."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from meshguard import app, execution
from meshguard.cli.codes import Exit, of_error
from meshguard.consent import EditsRefused
from meshguard.model.change import Change
from meshguard.model.objects import Ref, Resource
from meshguard.ports import Rejected
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.signals import FakeSignals
from tests.fakes.tunnels import FakeTunnels
from tests.fakes.world import World, exit_plan


class Validating(FakeCluster):
    """Rejects changes of DestinationRules, as istiod's webhook does with an empty trafficPolicy."""

    async def change(self, ref: Ref, uid: str, changes: Sequence[Change], *, dry_run: bool = False) -> Resource:
        if ref.kind == "DestinationRule":
            raise Rejected("admission webhook denied the request: traffic policy must have at least one field")
        return await super().change(ref, uid, changes, dry_run=dry_run)


class Unmeasured:
    """No source of measurements; a run that does not begin asks for none."""

    async def measure(self, signal: str, args: Mapping[str, Any]) -> NoReturn:
        raise AssertionError("nothing is measured before a run begins")


def test_an_edit_that_validation_rejects_stops_the_run_before_its_first_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    world = World(tmp_path)
    cluster = Validating(*world.cluster.docs.values())
    opened = app.Session(app.Target(), cluster, FakeSignals(), FakeClock(), Unmeasured(), FakeTunnels({}))
    with pytest.raises(EditsRefused, match="must have at least one field") as refused:
        asyncio.run(execution.begin(opened, exit_plan(), execution.Terms("test")))
    assert of_error(refused.value) is Exit.BLOCKED
    assert (cluster.effects, cluster.record_writes) == ([], [])
    assert not list(tmp_path.rglob("journal.jsonl"))
