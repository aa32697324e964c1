"""The picture of a what-if: one day with several decisions."""

from __future__ import annotations

from collections.abc import Sequence

from meshguard.report.document import Fact, Line, Picture, Report
from meshguard.sim.fleet.compare import Outcome
from meshguard.sim.fleet.scenario import Scenario

_EVERY = 10


def report(scenario: Scenario, found: Sequence[Outcome]) -> Report:
    """Make the report."""
    best = min(found, key=lambda outcome: outcome.lost)
    lost = [Line(o.decision, [(s.at, s.lost) for s in o.record.samples[::_EVERY]]) for o in found]
    slow = [Line(o.decision, [(s.at, 1000 * s.p99_s) for s in o.record.samples[::_EVERY]]) for o in found]
    return Report(
        title=f"What if: {scenario.title}",
        summary=f"The same day with {len(found)} decisions; the cheapest is {best.decision}: ${best.lost:,.0f} lost.",
        begins=scenario.begins,
        facts=[Fact(o.decision, f"${o.lost:,.0f} lost", f"{o.failed:.1%} of requests failed") for o in found],
        compared_with="requests",
        pictures=[
            Picture("Money", "lost since the beginning, for each decision.", "dollars", lost),
            Picture("P99", "what the slowest in a hundred waits for, on a logarithmic scale.", "ms", slow, True),
        ],
        notes=["A model, not a measurement: no constant has been compared with the testbed yet."],
    )
