"""The same day with other decisions, and many days over knobs: what each comes to."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from meshguard.sim.fleet.decisions import parse
from meshguard.sim.fleet.record import Record
from meshguard.sim.fleet.scenario import Scenario, ScenarioError
from meshguard.sim.fleet.world import World


@dataclass(frozen=True)
class Outcome:
    """What a day came to."""

    decision: str
    lost: float
    failed: float
    """Share of all requests."""
    worst_p99_s: float
    evicted: int
    nodes: int
    killed: int
    pushes: int
    out_minute: float | None
    record: Record


def play(scenario: Scenario, decision: str, seed: int) -> Outcome:
    """Play one day. Raises ScenarioError."""
    record = World(scenario, seed, parse(decision)).play()
    last = record.samples[-1]
    return Outcome(
        decision,
        last.lost,
        sum(record.failed.values()) / max(1, record.requests),
        max(sample.p99_s for sample in record.samples),
        last.evicted,
        last.evicting_nodes,
        last.killed,
        last.pushes,
        next((sample.at / 60 for sample in record.samples if sample.meshed == 0), None),
        record,
    )


def outcomes(scenario: Scenario, decisions: Sequence[str], seed: int) -> list[Outcome]:
    """Play a day once for each decision, side by side. Raises ScenarioError."""
    for decision in decisions:
        parse(decision)
    with ProcessPoolExecutor() as pool:
        count = len(decisions)
        return list(pool.map(play, [scenario] * count, decisions, [seed] * count))


@dataclass(frozen=True)
class Cell:
    """A combination of knobs with a decision, over all seeds."""

    knobs: str
    decision: str
    lost: tuple[float, float, float]
    """Dollars: a tenth of the days lose less than the first, half of them less than the second, a tenth more."""
    p99_s: float
    evicted: float


def grid(scenario: Scenario, knobs: Iterable[str]) -> list[tuple[str, Scenario]]:
    """All combinations of `key=a,b` as scenarios, each with its name. Raises ScenarioError."""
    axes: list[list[tuple[str, str, Any]]] = []
    for knob in knobs:
        place, _, values = knob.partition("=")
        part, _, key = place.partition(".")
        if not key or not values:
            raise ScenarioError(f"{knob!r} is no knob; write it like fleet.nodes=80,100,120")
        try:
            axes.append([(part, key, float(value)) for value in values.split(",")])
        except ValueError as error:
            raise ScenarioError(f"{knob!r}: {error}") from error
    out = []
    for chosen in itertools.product(*axes):
        changed = scenario
        for part, key, value in chosen:
            changed = changed.with_(**{part: {key: int(value) if value == int(value) else value}})
        out.append((" ".join(f"{part}.{key}={value:g}" for part, key, value in chosen), changed))
    return out


def swept(scenarios: Sequence[tuple[str, Scenario]], decisions: Sequence[str], seeds: int) -> list[Cell]:
    """Play every combination with every seed, on all processors. Raises ScenarioError."""
    for decision in decisions:
        parse(decision)
    cells = [(name, scenario, decision) for name, scenario in scenarios for decision in decisions]
    jobs = [(scenario, decision, seed) for _, scenario, decision in cells for seed in range(1, seeds + 1)]
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(_short, jobs))
    out = []
    for number, (name, _, decision) in enumerate(cells):
        rows = found[number * seeds : (number + 1) * seeds]
        lost = sorted(row[0] for row in rows)
        low, high = lost[round(0.1 * (seeds - 1))], lost[round(0.9 * (seeds - 1))]
        middle = [statistics.median(row[place] for row in rows) for place in range(3)]
        out.append(Cell(name, decision, (low, middle[0], high), middle[1], middle[2]))
    return out


def _short(job: tuple[Scenario, str, int]) -> tuple[float, float, int]:
    outcome = play(*job)
    return outcome.lost, outcome.worst_p99_s, outcome.evicted
