"""Asks the catalogue of signals, or a hypothesis, from inside an experiment. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshguard import app
from meshguard.chaos.settings import SettingsError, target_of
from meshguard.hypotheses.catalogue import CATALOGUE
from meshguard.hypotheses.load import load
from meshguard.hypotheses.schema import Comparison
from meshguard.model.measurement import Measurement
from meshguard.model.suggestions import hint

_LOOK_S = 1.0


def checked(signal: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of a signal. Raises SettingsError, with the nearest name, for what the catalogue lacks."""
    known = CATALOGUE.get(signal)
    if known is None:
        raise SettingsError(f"there is no signal {signal!r}{hint(signal, CATALOGUE)}")
    for name in args:
        if known.arg(name) is None:
            raise SettingsError(f"signal {signal} has no argument {name!r}{hint(name, [a.name for a in known.args])}")
    return known.complete(args)


async def measure(signal: str, args: Mapping[str, Any], configuration: Mapping[str, Any] | None) -> dict[str, Any]:
    """Measure a signal once. Raises SettingsError, ClusterError."""
    complete = checked(signal, args)
    async with app.session(target_of(configuration)) as opened:
        return answer(await opened.measurements.measure(signal, complete))


def answer(measured: Measurement) -> dict[str, Any]:
    """Return a measurement as Chaos Toolkit's journal keeps it: every sample, and the figures that tolerances judge."""
    values = [sample.value for sample in measured.samples]
    return {
        "samples": {sample.subject: sample.value for sample in measured.samples},
        "notes": {sample.subject: sample.note for sample in measured.samples if sample.note},
        "max": max(values, default=None),
        "min": min(values, default=None),
        "sum": sum(values),
        "unseen": list(measured.unseen),
        "source": measured.source,
    }


async def assess(name: str, configuration: Mapping[str, Any] | None) -> dict[str, Any]:
    """Ask all probes of a hypothesis once. Raises HypothesisError, ClusterError."""
    hypothesis = load(name)
    async with app.session(target_of(configuration)) as opened:
        assessment = await app.assess_hypothesis(opened, hypothesis)
    return {
        "hypothesis": hypothesis.name,
        "health": assessment.health.value,
        "sentence": assessment.sentence,
        "problems": [problem for a in assessment.answers for problem in a.problems],
    }


async def await_health(
    name: str, health: str, within: float, configuration: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Ask a hypothesis until its health is as expected or the time (seconds) is over; return the last answer."""
    async with app.session(target_of(configuration)) as opened:
        deadline = opened.clock.now() + within
        while True:
            last = await assess(name, configuration)
            if last["health"] == health or opened.clock.now() >= deadline:
                return {**last, "expected": health, "met": last["health"] == health}
            await opened.clock.sleep(_LOOK_S)


async def await_signal(
    signal: str,
    args: Mapping[str, Any],
    figure: str,
    comparison: str,
    threshold: float,
    within: float,
    configuration: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Measure until a figure (`max`, `min`, `sum`) compares as wanted or the time (seconds) is over."""
    complete, compared = checked(signal, args), Comparison(comparison)
    async with app.session(target_of(configuration)) as opened:
        began = opened.clock.now()
        while True:
            last = answer(await opened.measurements.measure(signal, complete))
            met = last[figure] is not None and compared.holds(last[figure], threshold)
            after = opened.clock.now() - began
            if met or after >= within:
                return {**last, "met": met, "after": round(after, 1)}
            await opened.clock.sleep(_LOOK_S)
