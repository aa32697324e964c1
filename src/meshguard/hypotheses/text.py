"""An assessment as lines for a terminal: one line for each probe, and under it whatever keeps it from holding."""

from __future__ import annotations

from collections.abc import Iterator

from meshguard.hypotheses.evaluate import Answer, Assessment, Health

_MARKS = {Health.HEALTHY: "✓ healthy", Health.UNHEALTHY: "✗ unhealthy", Health.UNKNOWN: "? unknown"}
_MOST_PROBLEMS = 5


def assessment_text(assessment: Assessment) -> str:
    """Return the lines."""
    head = f"{assessment.hypothesis.name}: {' '.join(assessment.hypothesis.description.split())}"
    return "\n".join([head, *(line for answer in assessment.answers for line in _lines(answer)), assessment.sentence])


def _lines(answer: Answer) -> Iterator[str]:
    seen = answer.measurement
    count = f"{len(seen.samples)} seen" if seen else "nothing seen"
    source = seen.source if seen and seen.source else answer.probe.signal
    yield f"  {_MARKS[answer.health]:<11} {answer.probe.name}  ({answer.expected}; {count}, {source})"
    for problem in answer.problems[:_MOST_PROBLEMS]:
        yield f"                {problem}"
    if len(answer.problems) > _MOST_PROBLEMS:
        yield f"                and {len(answer.problems) - _MOST_PROBLEMS} more"
    if answer.health is Health.UNHEALTHY:
        yield f"                why this threshold: {' '.join(answer.probe.why.split())}"
