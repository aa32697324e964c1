"""A hypothesis as a gate of a plan: it must hold before the first change, after every wave of restarts, and at the end.

The gate is a part of the plan, so it is approved with it and counts for its hash. A breach ends the phase: nothing
further is begun, and behind a wave of restarts the workloads of that wave go back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from meshguard.model.plan import Action, Await, Check, Phase, Plan, Wave


@dataclass(frozen=True)
class Gate:
    """A hypothesis by its document, and how long it may fail to hold before that counts."""

    name: str
    document: Mapping[str, Any]
    patience_s: float = 0.0
    """0 stops at the first look that is not healthy. Seconds."""

    def at(self, moment: str, undoes: tuple[str, ...] = ()) -> Wave:
        """The gate as a wave of its own, without steps; a breach puts the objects `undoes` back."""
        sentence = f"hypothesis {self.name} holds {moment}"
        expected = {"hypothesis": dict(self.document)}
        return Wave((), (Await(Check.HYPOTHESIS, sentence, (self.name,), expected, self.patience_s, undoes),))


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
    restarted, members, due = 0, tuple[str, ...](), False
    for wave in phase.waves:
        if wave.steps and due:
            yield gate.at(f"after wave {restarted} of restarts", members)
            due = False
        yield wave
        if found := tuple(str(step.target) for step in wave.steps if step.restarts):
            restarted, members = restarted + 1, found
        due = due or any(step.restarts or step.action is Action.RENEW for step in wave.steps)
    if restarted:
        yield gate.at(f"after wave {restarted} of restarts", members)
