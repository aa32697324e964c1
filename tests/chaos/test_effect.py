"""What counts as an effect, and what the hypothesis says while it lasts."""

from __future__ import annotations

from typing import Any

import pytest
from chaoslib.exceptions import InterruptExecution

from meshguard.chaos.controls.effect import Spread, _holds


@pytest.mark.parametrize(
    ("low", "high", "value", "left"),
    [
        (0, 0, 0, False),
        (0, 0, 1, True),
        (1, 1, 0.5, True),
        (10, 12, 13, False),
        (10, 12, 14.5, True),
        (10, 12, 7.5, True),
        (10, 12, 8, False),
    ],
)
def test_an_effect_lies_outside_the_calm_spread_by_more_than_its_width(
    low: float, high: float, value: float, left: bool
) -> None:
    assert Spread(low, high).left_by(value) is left


def test_an_effect_may_have_to_be_larger_than_noise() -> None:
    assert not Spread(0, 0).left_by(4, least=5)
    assert Spread(0, 0).left_by(6, least=5)
    assert not Spread(0, 10).left_by(16, least=5), "a wide spread still counts by its own width"


def experiment(tolerance: Any) -> dict[str, Any]:
    probe = {
        "name": "one",
        "type": "probe",
        "tolerance": tolerance,
        "provider": {"type": "python", "module": "os", "func": "getpid"},
    }
    return {"title": "x", "steady-state-hypothesis": {"title": "h", "probes": [probe]}, "controls": []}


def test_the_hypothesis_is_asked_during_the_fault() -> None:
    assert _holds(experiment({"type": "range", "range": [1, 10_000_000]}), None, None) is True
    assert _holds(experiment(-1), None, None) is False
    assert _holds({"title": "exploring"}, None, None) is None


def test_a_hypothesis_that_cannot_be_asked_ends_the_run() -> None:
    broken = experiment(1)
    del broken["steady-state-hypothesis"]["probes"][0]["provider"]
    with pytest.raises(InterruptExecution, match="could not be asked during the fault"):
        _holds(broken, None, None)
