"""Asks all probes of a hypothesis at once and judges the answers. Three values: what was not seen is not healthy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from meshguard.hypotheses.schema import Comparison, Hypothesis, Probe
from meshguard.model.measurement import Measurement, Sample
from meshguard.ports import ClusterError, Measurements

_WORDS = {Comparison.AT_LEAST: "at least", Comparison.AT_MOST: "at most", Comparison.EQUALS: "exactly"}


class Health(StrEnum):
    """The answer of a probe, and of a hypothesis."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Answer:
    """What one probe found."""

    probe: Probe
    health: Health
    measurement: Measurement | None = None
    """None when there was no answer at all."""
    breaches: tuple[Sample, ...] = ()
    unknown: tuple[str, ...] = ()
    """Why it cannot be called healthy, one sentence for each thing that was not seen."""

    @property
    def expected(self) -> str:
        """`at most 0 events`."""
        return f"{_WORDS[self.probe.comparison]} {self.probe.threshold:g} {self.probe.unit.value}"

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each breach and for each thing that was not seen."""
        breaches = (
            f"{s.subject}: {s.value:.6g} {self.probe.unit.value}, expected {self.expected}"
            + (f" ({s.note})" if s.note else "")
            for s in self.breaches
        )
        return (*breaches, *self.unknown)

    def to_json(self) -> dict[str, Any]:
        """The public JSON form."""
        seen = self.measurement or Measurement((), "")
        return {
            "name": self.probe.name,
            "health": self.health.value,
            "signal": self.probe.signal,
            "args": self.probe.all_args,
            "source": seen.source,
            "expected": {
                "comparison": self.probe.comparison.value,
                "threshold": self.probe.threshold,
                "unit": self.probe.unit.value,
                "why": self.probe.why,
                "source": self.probe.source,
            },
            "samples": [{"subject": s.subject, "value": s.value, "note": s.note} for s in seen.samples],
            "breaches": [s.subject for s in self.breaches],
            "unknown": list(self.unknown),
            "leftOut": list(seen.left_out),
        }


@dataclass(frozen=True)
class Assessment:
    """What all probes found."""

    hypothesis: Hypothesis
    answers: tuple[Answer, ...]

    @property
    def health(self) -> Health:
        """Unhealthy if one probe is; else unknown if one is; else healthy."""
        return worst(answer.health for answer in self.answers)

    @property
    def sentence(self) -> str:
        """The answer for a person."""
        held = sum(1 for answer in self.answers if answer.health is Health.HEALTHY)
        told = f"{self.hypothesis.name}: {self.health.value}, {held} of {len(self.answers)} probes hold"
        wrong = [f"{a.probe.name!r} is {a.health.value}" for a in self.answers if a.health is not Health.HEALTHY]
        return f"{told}; {'; '.join(wrong)}" if wrong else told

    def to_json(self) -> dict[str, Any]:
        """The public JSON form, without apiVersion and kind."""
        return {
            "hypothesis": self.hypothesis.name,
            "health": self.health.value,
            "sentence": self.sentence,
            "probes": [answer.to_json() for answer in self.answers],
        }


def worst(healths: Iterable[Health]) -> Health:
    """Combine: a breach outweighs silence, silence outweighs health; nothing at all is unknown."""
    found = set(healths)
    for health in (Health.UNHEALTHY, Health.UNKNOWN, Health.HEALTHY):
        if health in found:
            return health
    return Health.UNKNOWN


def judge(probe: Probe, measurement: Measurement) -> Answer:
    """Compare every sample with the threshold. Without a sample nothing is known, whatever the reason."""
    breaches = tuple(s for s in measurement.samples if not probe.comparison.holds(s.value, probe.threshold))
    unknown = measurement.unseen
    if not measurement.samples and not unknown:
        unknown = measurement.left_out or ("there was nothing to measure",)
    health = Health.UNHEALTHY if breaches else Health.UNKNOWN if unknown else Health.HEALTHY
    return Answer(probe, health, measurement, breaches, unknown)


async def assess(hypothesis: Hypothesis, measurements: Measurements) -> Assessment:
    """Ask all probes at the same time, each within its own deadline. Raises nothing that a probe may meet."""
    answers = await asyncio.gather(*(_ask(probe, measurements) for probe in hypothesis.probes))
    return Assessment(hypothesis, tuple(answers))


async def _ask(probe: Probe, measurements: Measurements) -> Answer:
    try:
        async with asyncio.timeout(probe.patience_s):
            measurement = await measurements.measure(probe.signal, probe.all_args)
    except TimeoutError:
        return Answer(probe, Health.UNKNOWN, unknown=(f"no answer within {probe.patience_s:g} s",))
    except ClusterError as error:
        return Answer(probe, Health.UNKNOWN, unknown=(str(error),))
    return judge(probe, measurement)
