"""Which failure is it? Every runbook names its own symptoms; what was not seen is said, never guessed. Reads only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshguard.hypotheses.catalogue import CATALOGUE
from meshguard.model.measurement import Measurement
from meshguard.ports import ClusterError, Measurements
from meshguard.runbook.schema import Figure, Runbook, Symptom

_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Evidence:
    """One symptom against what was measured."""

    symptom: Symptom
    value: float | None
    """None when nothing was there to measure."""
    present: bool
    unknown: tuple[str, ...] = ()
    """Why it cannot be said, one sentence each."""
    subjects: tuple[str, ...] = ()
    """Where it is seen, the worst first."""

    def to_json(self) -> dict[str, Any]:
        """The public JSON form."""
        return {
            "sentence": self.symptom.sentence,
            "signal": self.symptom.signal,
            "value": self.value,
            "present": self.present,
            "unknown": list(self.unknown),
            "subjects": list(self.subjects),
        }


@dataclass(frozen=True)
class Advice:
    """A runbook and how well it fits."""

    runbook: Runbook
    evidence: tuple[Evidence, ...]

    @property
    def fits(self) -> bool:
        """Every symptom is there."""
        return all(e.present for e in self.evidence)

    @property
    def unknown(self) -> bool:
        """It may be so: no symptom is missing, but some could not be seen."""
        return not self.fits and all(e.present or e.unknown for e in self.evidence)

    def to_json(self) -> dict[str, Any]:
        """The public JSON form."""
        return {
            "runbook": self.runbook.name,
            "title": self.runbook.title,
            "fits": self.fits,
            "unknown": self.unknown,
            "evidence": [e.to_json() for e in self.evidence],
            "notNow": list(self.runbook.not_now),
        }


async def advise(runbooks: Iterable[Runbook], measurements: Measurements) -> tuple[Advice, ...]:
    """Measure every signal that a symptom needs once, and hold each runbook against it; the best fit comes first."""
    known = tuple(runbooks)
    asked = {_key(s): s for runbook in known for s in runbook.symptoms}
    answers = dict(zip(asked, await asyncio.gather(*(_ask(s, measurements) for s in asked.values())), strict=True))
    advice = [Advice(r, tuple(_judge(s, answers[_key(s)]) for s in r.symptoms)) for r in known]
    return tuple(sorted(advice, key=lambda a: (not a.fits, not a.unknown, -len(a.evidence), a.runbook.name)))


async def look(symptom: Symptom, measurements: Measurements) -> Evidence:
    """Hold one symptom against what is measured now. What does not answer is unknown; nothing is raised."""
    return _judge(symptom, await _ask(symptom, measurements))


def _key(symptom: Symptom) -> str:
    return json.dumps([symptom.signal, dict(symptom.all_args)], sort_keys=True)


async def _ask(symptom: Symptom, measurements: Measurements) -> Measurement:
    window = float(symptom.all_args.get("window", 0.0))
    try:
        async with asyncio.timeout(_PATIENCE_S + window):
            return await measurements.measure(symptom.signal, symptom.all_args)
    except TimeoutError:
        return Measurement((), CATALOGUE[symptom.signal].source, (f"{symptom.signal} did not answer in time",))
    except ClusterError as error:
        return Measurement((), CATALOGUE[symptom.signal].source, (str(error),))


def _judge(symptom: Symptom, measured: Measurement) -> Evidence:
    """A symptom that is seen somewhere is there, whatever else was not seen; one that is not seen needs all answers."""
    value = _figure(symptom.figure, measured)
    present = value is not None and symptom.comparison.holds(value, symptom.threshold)
    where = [s for s in measured.samples if present and symptom.comparison.holds(s.value, symptom.threshold)]
    subjects = tuple(f"{s.subject}: {s.value:g}" + (f" ({s.note})" if s.note else "") for s in where[:5])
    return Evidence(symptom, value, present, () if present else measured.unseen, subjects)


def _figure(figure: Figure, measured: Measurement) -> float | None:
    values = [sample.value for sample in measured.samples]
    if not values:
        return None
    figures: Mapping[Figure, float] = {Figure.MAX: max(values), Figure.MIN: min(values), Figure.SUM: sum(values)}
    return figures[figure]
