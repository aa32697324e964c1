"""A runbook as Markdown, from the same source that is run."""

from __future__ import annotations

from collections.abc import Iterable

from meshguard.hypotheses.catalogue import CATALOGUE
from meshguard.hypotheses.schema import Comparison
from meshguard.runbook.schema import Check, Confirm, Decide, Playbook, Runbook, Step, Symptom, Wait

_WORDS = {Comparison.AT_LEAST: "at least", Comparison.AT_MOST: "at most", Comparison.EQUALS: "exactly"}


def markdown(runbook: Runbook) -> str:
    """Return the runbook for a person."""
    out = [
        f"# {runbook.title}",
        "",
        runbook.summary,
        "",
        f"- Name: `{runbook.name}`; rehearsed by the experiment `{runbook.experiment}`",
        f"- Who may: {', '.join(runbook.who)}",
        f"- Takes about {runbook.minutes:g} minutes",
        "",
        "## You see",
        *(f"- {symptom.sentence} ({measured(symptom)})" for symptom in runbook.symptoms),
        "",
        "## Not now",
        *(f"- {sentence}" for sentence in runbook.not_now),
        "",
        "## Steps",
        *_numbered(runbook.steps),
        "",
        f"Then `meshguard verify -f {runbook.verification}` must be healthy.",
        "",
        "## The way back",
        *_numbered(runbook.way_back),
        "",
    ]
    return "\n".join(out)


def measured(symptom: Symptom) -> str:
    """Say what a symptom is by its signal: `sum of pods.oom at least 1 events`."""
    unit = CATALOGUE[symptom.signal].unit.value
    return f"{symptom.figure.value} of `{symptom.signal}` {_WORDS[symptom.comparison]} {symptom.threshold:g} {unit}"


def _numbered(steps: Iterable[Step]) -> list[str]:
    lines = []
    for number, step in enumerate(steps, start=1):
        lines.append(f"{number}. **{step.title}** ({step.do}): {words(step)}")
    return lines


def words(step: Step) -> str:
    """Say in one sentence what a step asks for."""
    match step:
        case Check():
            return f"{step.symptom.sentence}: {measured(step.symptom)}"
        case Decide():
            return f"{step.question} {' / '.join(step.answers)}"
        case Playbook():
            options = "".join(f" --{word}" for word in step.accept)
            revision = f" --to-revision {step.to_revision}" if step.to_revision else ""
            return f"`meshguard {step.playbook}{revision}{options}`, as the playbook `{step.playbook}.yml` does it"
        case Wait():
            return f"until {step.until.sentence} ({measured(step.until)}), at most {step.at_most:g} s"
        case Confirm():
            return step.instruction
