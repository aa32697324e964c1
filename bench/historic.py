"""The historic timeline: what the model makes of it, beside the story; the median of some seeds.

    python -m bench.historic [SEEDS]

The model knows the load and the operators' decisions, and nothing of when something went wrong. Four parameters of the
scenario were fitted to this very comparison, so it shows that the mechanisms suffice, not that they predict.
"""

from __future__ import annotations

import json
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor

from meshguard.sim.fleet.decisions import parse
from meshguard.sim.fleet.record import Record
from meshguard.sim.fleet.scenario import load
from meshguard.sim.fleet.world import World

STORY = {
    "first node out of memory, minute": 17.0,
    "push to every proxy, minute": 19.0,
    "P99 of 8 s, minute": 21.0,
    "evicted by 09:41": 89.0,
    "nodes that evicted by 09:41": 12.0,
    "out of the mesh, minute": 63.0,
    "lost, million dollars": 1.8,
}
WITHIN = 0.20


def figures(record: Record) -> dict[str, float]:
    """The story's figures of one run; infinite for what did not happen."""
    pods = record.samples[0].meshed
    at_41 = record.samples[26 * 60 - 1]
    first = record.first("evicted")
    never = float("inf")
    return {
        "first node out of memory, minute": first.at / 60 if first else never,
        "push to every proxy, minute": next((s.at / 60 for s in record.samples if s.sends >= pods), never),
        "P99 of 8 s, minute": next((s.at / 60 for s in record.samples if s.p99_s >= 8), never),
        "evicted by 09:41": at_41.evicted,
        "nodes that evicted by 09:41": at_41.evicting_nodes,
        "out of the mesh, minute": next((s.at / 60 for s in record.samples if s.meshed == 0), never),
        "lost, million dollars": record.samples[-1].lost / 1e6,
    }


def one(seed: int) -> dict[str, float]:
    """Play one seed with what the story's team did."""
    scenario = load("black-friday")
    return figures(World(scenario, seed, parse("by-hand@37")).play())


def main() -> int:
    """Print the table, and a line of JSON."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with ProcessPoolExecutor() as pool:
        runs = list(pool.map(one, range(1, seeds + 1)))
    medians = {name: statistics.median(run[name] for run in runs) for name in STORY}
    misses = [name for name, wanted in STORY.items() if abs(medians[name] - wanted) > WITHIN * wanted]
    for name, wanted in STORY.items():
        low, high = min(run[name] for run in runs), max(run[name] for run in runs)
        missed = "  MISSED" if name in misses else ""
        print(f"{name:36} story {wanted:7.1f}   model {medians[name]:7.1f}   seeds {low:.1f} to {high:.1f}{missed}")
    print(json.dumps({"seeds": seeds, "within": WITHIN, "met": len(STORY) - len(misses), "of": len(STORY)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
