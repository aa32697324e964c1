"""Judges the gate of a plan: the hypothesis travels in the plan and is measured anew at every look."""

from __future__ import annotations

from meshguard.hypotheses.evaluate import Health, assess
from meshguard.hypotheses.load import of_document
from meshguard.model.plan import Await
from meshguard.model.verdict import Truth, Verdict
from meshguard.ports import Measurements

_TRUTHS = {Health.HEALTHY: Truth.YES, Health.UNHEALTHY: Truth.NO, Health.UNKNOWN: Truth.UNKNOWN}


async def judge(awaited: Await, measurements: Measurements) -> Verdict:
    """Say whether the hypothesis holds now. Raises HypothesisError for a document that is none."""
    hypothesis = of_document(dict(awaited.expect["hypothesis"]), "the plan's gate")
    assessment = await assess(hypothesis, measurements)
    held = sum(1 for answer in assessment.answers if answer.health is Health.HEALTHY)
    missing = tuple(f"{a.probe.name}: {problem}" for a in assessment.answers for problem in a.problems)
    sources = sorted({a.measurement.source for a in assessment.answers if a.measurement and a.measurement.source})
    return Verdict(_TRUTHS[assessment.health], held, len(assessment.answers), missing, ", ".join(sources))
