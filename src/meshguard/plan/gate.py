"""A hypothesis as a gate of a plan: it must hold before the first change, after every wave of restarts, and at the end.

The gate is a part of the plan, so it is approved with it and counts for its hash. A breach ends the phase: nothing
further is begun, and the run can be resumed or restored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from meshguard.model.plan import Await, Check, Phase, Plan, Wave


@dataclass(frozen=True)
class Gate:
    """A hypothesis by its document, and how long it may fail to hold before that counts."""

    name: str
    document: Mapping[str, Any]
    patience_s: float = 0.0
    """0 stops at the first look that is not healthy. Seconds."""

    def at(self, moment: str) -> Wave:
        """The gate as a wave of its own, without steps."""
        sentence = f"hypothesis {self.name} holds {moment}"
        expected = {"hypothesis": dict(self.document)}
        return Wave((), (Await(Check.HYPOTHESIS, sentence, (self.name,), expected, self.patience_s),))


def gated(plan: Plan, gate: Gate | None) -> Plan:
    """Return the plan with the gate in it, where there is one; a plan without phases has nothing to guard."""
    if gate is None:
        return plan
    phases = [replace(phase, waves=tuple(_guarded(phase, gate))) for phase in plan.phases]
    if phases:
        phases[0] = replace(phases[0], waves=(gate.at("before the first change"), *phases[0].waves))
        phases[-1] = replace(phases[-1], waves=(*phases[-1].waves, gate.at("at the end")))
    return replace(plan, phases=tuple(phases))


def gate_of(plan: Plan) -> Gate | None:
    """Return the gate that a plan was made with."""
    for phase in plan.phases:
        for wave in phase.waves:
            for awaited in wave.awaits:
                if awaited.check is Check.HYPOTHESIS:
                    return Gate(awaited.subject[0], awaited.expect["hypothesis"], awaited.deadline_s)
    return None


def _guarded(phase: Phase, gate: Gate) -> Iterator[Wave]:
    """Put the gate behind each wave of restarts, and behind the waits that belong to it."""
    restarted = 0
    for wave in phase.waves:
        if wave.steps and restarted:
            yield gate.at(f"after wave {restarted} of restarts")
        yield wave
        if any(step.restarts for step in wave.steps):
            restarted += 1
    if restarted:
        yield gate.at(f"after wave {restarted} of restarts")
