"""How plans, findings and tables look on a terminal: plain text, 80 columns where it can be, no colour needed."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from meshguard.journal.state import StepState
from meshguard.model.findings import Finding
from meshguard.model.plan import API_VERSION, Action, Plan, Step

if TYPE_CHECKING:
    from meshguard.execution import Remainder

WIDTH = 100
_MARKS = {"blocks": "✗ blocks", "warns": "! warns", "tells": "· tells"}


def as_json(kind: str, body: Mapping[str, Any]) -> str:
    """Return a public JSON document."""
    return json.dumps({"apiVersion": API_VERSION, "kind": kind, **body}, indent=2, sort_keys=False)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay rows out in columns that are as wide as their widest cell."""
    lines = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def plan_text(plan: Plan) -> str:
    """Return the plan as sentences, in the order in which it will be done."""
    out = [
        f"Plan: {plan.direction.value} {', '.join(plan.namespaces)}  (mesh {plan.mesh}, context {plan.context})",
        f"Hash: {plan.hash}",
        "",
    ]
    number = 0
    for phase in plan.phases:
        out.append(f"{phase.name.upper()}: {phase.title}")
        for wave in phase.waves:
            for step in wave.steps:
                number += 1
                out += _step_lines(number, step)
            for a in wave.awaits:
                out.append(_wrapped("     wait: ", f"{a.sentence} (at most {a.deadline_s:.0f} s)"))
                if a.undoes:
                    remedy = "take out again" if plan.direction.undoes else "put back"
                    out.append(_wrapped("   if not: ", f"stop, and {remedy} {', '.join(a.undoes)}"))
    out += _listed("Before you consent", plan.notes)
    out += _listed("Left alone", [f"{name}: {why}" for name, why in plan.excluded.items()])
    out += _listed("Accepted", plan.consents)
    if plan.findings:
        out += ["", "Findings", findings_text(plan.findings)]
    return "\n".join(out)


def _step_lines(number: int, step: Step) -> list[str]:
    lines = [_wrapped(f"{number:4d}. ", step.sentence), _wrapped("      why: ", step.why)]
    if step.action is Action.CHANGE:
        lines += [_wrapped("      set: ", change.describe()) for change in step.changes]
    return lines


def _listed(title: str, items: Iterable[str]) -> list[str]:
    members = list(items)
    return ["", title, *(_wrapped("  - ", item) for item in members)] if members else []


def findings_text(findings: Iterable[Finding]) -> str:
    """Return the findings, what blocks first."""
    order = {"blocks": 0, "warns": 1, "tells": 2}
    lines = []
    for finding in sorted(findings, key=lambda f: (f.accepted, order[f.code.severity.value], f.code.id, f.object)):
        mark = "✓ accepted" if finding.accepted else _MARKS[finding.code.severity.value]
        lines.append(_wrapped(f"  {mark:<10} {finding.code.id} ", f"{finding.object}: {finding.detail}"))
        if finding.blocks:
            lines.append(_wrapped("             consequence: ", finding.code.consequence))
            lines.append(_wrapped("             remedy: ", finding.code.remedy))
            if finding.code.consent:
                lines.append(_wrapped("             or accept: ", finding.code.consent))
    return "\n".join(lines)


def _wrapped(first: str, text: str) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )


def remainder_text(rest: Remainder) -> str:
    """Return what a run has done, what it may have begun, and what is left of it."""
    record = rest.record
    done, begun = rest.steps(StepState.DONE, StepState.SKIPPED), rest.steps(StepState.INTENDED)
    left = rest.steps(StepState.PLANNED, StepState.CONFLICT)
    out = [
        f"Run {record.run}: {record.plan.direction.value} of {', '.join(record.plan.namespaces)}, begun by"
        f" {record.person} at {record.started}: {record.reason}",
        f"Done: {len(done)} of {len(record.plan.steps)} steps; phases over: {', '.join(record.phases) or 'none'}",
    ]
    out += _listed("May have been done; each is compared with its object", [step.sentence for step in begun])
    out += _listed("Left to do", [step.sentence for step in left])
    return "\n".join(out)
