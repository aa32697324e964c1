"""Control: a fault that changes nothing proves nothing. A named quantity must leave its calm-phase spread.

Before the method the quantity is looked at several times: its spread when nothing is wrong. After the activity `after`
it is looked at until it lies outside that spread by more than the spread's own width. If it does not, the run is
*ineffective*: it ends there, is rolled back, and is not passed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chaoslib.exceptions import InterruptExecution, InvalidActivity
from chaoslib.hypothesis import run_steady_state_hypothesis
from chaoslib.run import EventHandlerRegistry
from chaoslib.types import Activity, Configuration, Control, Experiment, Journal, Run, Secrets

from meshguard import app
from meshguard.chaos.asking import answer, checked
from meshguard.chaos.errors import control as run_control
from meshguard.chaos.settings import SettingsError, target_of

__all__ = [
    "after_activity_control",
    "after_experiment_control",
    "after_method_control",
    "before_method_control",
    "configure_control",
    "validate_control",
]

_FIGURES = ("max", "min", "sum")
_LOOK_S = 1.0
_HYPOTHESIS = "steady-state-hypothesis"
logger = logging.getLogger("chaostoolkit")


@dataclass(frozen=True)
class Spread:
    """What a quantity was while nothing was wrong."""

    low: float
    high: float

    def left_by(self, value: float, least: float = 0.0) -> bool:
        """Tell whether a value lies outside by more than the spread's own width, and by more than `least`."""
        width = max(self.high - self.low, least)
        return value > self.high + width or value < self.low - width


@dataclass
class _Watch:
    signal: str
    args: Mapping[str, Any]
    figure: str
    after: str
    within: float
    looks: int
    calm_after: str
    least: float
    calm: Spread | None = None
    fault: float | None = None
    recovered: float | None = None
    effective: bool = False
    held_during_fault: bool | None = None
    """Whether the steady-state hypothesis held although the fault had its effect."""
    seen: list[float] = field(default_factory=list)

    def result(self) -> str:
        return "effective" if self.effective else "ineffective" if self.seen else "not reached"


class _Current:
    watch: _Watch | None = None


def configure_control(
    experiment: Experiment,
    signal: str,
    after: str,
    args: Mapping[str, Any] | None = None,
    figure: str = "max",
    within: float = 60.0,
    looks: int = 3,
    calm_after: str = "",
    least: float = 0.0,
) -> None:
    """Remember the quantity, and after which activity it must have moved (`within` seconds), by more than `least`.

    It is looked at before the method or, where an activity has to make it first (calls, for their success), after that
    one: `calm_after`.
    """
    _Current.watch = _Watch(signal, args or {}, figure, after, within, looks, calm_after, least)


def validate_control(control: Control) -> None:
    """Check the arguments against the catalogue of signals. Raises InvalidActivity (`chaos validate`)."""
    given = (control.get("provider") or {}).get("arguments") or {}
    try:
        checked(given.get("signal", ""), given.get("args") or {})
    except SettingsError as error:
        raise InvalidActivity(f"the control {control['name']!r}: {error}") from error
    if not given.get("after") or given.get("figure", "max") not in _FIGURES:
        raise InvalidActivity(
            f"the control {control['name']!r} needs `after`, an activity, and a figure of {', '.join(_FIGURES)}"
        )


def before_method_control(context: Experiment, configuration: Configuration = None, **_: Any) -> None:
    """Look at the quantity while nothing is wrong. Raises InterruptExecution when it cannot be seen."""
    watch = _watch()
    names = [activity.get("name") for activity in context.get("method", ())]
    for name in (watch.after, *([watch.calm_after] if watch.calm_after else [])):
        if name not in names:
            raise InterruptExecution(f"the effect is looked at after {name!r}, which the method does not have")
    if not watch.calm_after:
        _look_while_calm(watch, configuration)


def _look_while_calm(watch: _Watch, configuration: Configuration) -> None:
    looks = [run_control(_look(watch, configuration)) for _ in range(watch.looks)]
    watch.calm = Spread(min(looks), max(looks))
    logger.info("calm: %s of %s is %g to %g", watch.figure, watch.signal, watch.calm.low, watch.calm.high)


def after_activity_control(
    context: Activity,
    state: Run | None = None,
    experiment: Experiment | None = None,
    configuration: Configuration = None,
    secrets: Secrets = None,
    **_: Any,
) -> None:
    """Wait for the effect, then ask the hypothesis. Raises InterruptExecution when it does not come: ineffective."""
    watch = _watch()
    if watch.calm is None and context.get("name") == watch.calm_after:
        _look_while_calm(watch, configuration)
    if watch.calm is None or context.get("name") != watch.after or watch.seen:
        return
    if (state or {}).get("status") != "succeeded":
        raise InterruptExecution(f"{watch.after!r} did not succeed, so no effect can be awaited")
    run_control(_await_effect(watch, watch.calm, configuration))
    if watch.effective and experiment is not None:
        watch.held_during_fault = _holds(experiment, configuration, secrets)
    if not watch.effective:
        raise InterruptExecution(
            f"ineffective: {watch.figure} of {watch.signal} stayed within {watch.calm.low:g} to {watch.calm.high:g} "
            f"for {watch.within:g} s after {watch.after!r} (last {watch.seen[-1]:g})"
        )


def _holds(experiment: Experiment, configuration: Configuration, secrets: Secrets) -> bool | None:
    """Ask the steady-state hypothesis, without the controls around it; None where the experiment has none."""
    asked = {key: experiment[key] for key in (_HYPOTHESIS,) if key in experiment}
    if not asked:
        return None
    try:
        state = run_steady_state_hypothesis(asked, configuration or {}, secrets or {}, None, EventHandlerRegistry())
    except Exception as error:  # Chaos Toolkit would swallow it, and the run would count as seen
        raise InterruptExecution(f"the hypothesis could not be asked during the fault: {error}") from error
    return bool(state["steady_state_met"])


def after_method_control(context: Experiment, configuration: Configuration = None, **_: Any) -> None:
    """Look once more when the method is over."""
    watch = _watch()
    if watch.effective:
        watch.recovered = run_control(_look(watch, configuration))


def after_experiment_control(context: Experiment, state: Journal, **_: Any) -> None:
    """Write the figures into the journal; a run without effect is not completed."""
    watch = _watch()
    state.setdefault("meshguard", {})["effect"] = {
        "result": watch.result(),
        "signal": watch.signal,
        "figure": watch.figure,
        "calm": [watch.calm.low, watch.calm.high] if watch.calm else None,
        "fault": watch.fault,
        "recovered": watch.recovered,
        "hypothesisHeldDuringFault": watch.held_during_fault,
    }
    if not watch.effective and state["status"] == "completed":
        state["status"] = "failed"


def _watch() -> _Watch:
    if _Current.watch is None:
        raise InterruptExecution("the control for the effect was not configured")
    return _Current.watch


async def _look(watch: _Watch, configuration: Mapping[str, Any] | None) -> float:
    async with app.session(target_of(configuration)) as opened:
        return await _measured(watch, opened)


async def _measured(watch: _Watch, opened: app.Session) -> float:
    measured = answer(await opened.measurements.measure(watch.signal, checked(watch.signal, watch.args)))
    value = measured[watch.figure]
    if value is None:
        raise SettingsError(f"{watch.signal} shows nothing: {'; '.join(measured['unseen']) or 'no samples'}")
    return float(value)


async def _await_effect(watch: _Watch, calm: Spread, configuration: Mapping[str, Any] | None) -> None:
    async with app.session(target_of(configuration)) as opened:
        deadline = opened.clock.now() + watch.within
        while True:
            value = await _measured(watch, opened)
            watch.seen.append(value)
            if calm.left_by(value, watch.least):
                watch.effective, watch.fault = True, value
                logger.info("effect: %s of %s is %g", watch.figure, watch.signal, value)
                return
            if opened.clock.now() >= deadline:
                return
            await opened.clock.sleep(_LOOK_S)
