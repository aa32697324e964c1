"""Whoever follows a run is told by its own journal what became of the wave before a gate that did not hold."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from meshguard import app, execution, guarded
from meshguard.config import Config
from meshguard.engine.outcome import Outcome, Result
from meshguard.journal.events import Failed
from meshguard.journal.journal import read_entries
from meshguard.journal.state import state_of
from tests.fakes.gated import gated_exit, shop_world

BREACH = Outcome(Result.VERIFICATION_FAILED, "not seen", missing=("a pod",), undo=("Deployment shop-core/cart",))


def saying(outcome: Outcome) -> Callable[..., Awaitable[Outcome]]:
    async def said(*_: Any) -> Outcome:
        return outcome

    return said


def test_the_journal_of_the_run_ends_with_what_the_roll_back_came_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = shop_world(tmp_path, "never")
    folder = world.begin(gated_exit(world))
    monkeypatch.setattr(execution, "run_phase", saying(BREACH))
    rolled_back = Outcome(Result.VERIFICATION_FAILED, "not seen; rolled back", missing=("a pod",))
    monkeypatch.setattr(guarded, "roll_back", saying(rolled_back))
    target = app.Target(config=Config(journalDirectory=str(tmp_path)))
    assert asyncio.run(guarded.run_phase(target, folder.run, "restart")) == rolled_back
    ending = state_of(read_entries(folder.journal)).ending
    assert ending == Failed("restart", "verification-failed", "not seen; rolled back", "", ("a pod",))
