"""How fast the fleet's model is: 63 simulated minutes of 2,400 sidecars, and how the time grows with their number.

    python -m bench.simulator

The last line is JSON: simulated minutes, sidecars, seconds of one core, peak memory in MB, and the exponent of the
growth over 300, 1,200, 2,400 and 9,600 sidecars. Seconds are of CPU, so that what else the machine does counts less.
"""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import time

SIZES = (300, 1_200, 2_400, 9_600)
_OF_STORY = 2_400


def measure(sidecars: int) -> dict[str, float]:
    """Play the story's day at one size, in this process."""
    from meshguard.sim.fleet.decisions import parse
    from meshguard.sim.fleet.scenario import load
    from meshguard.sim.fleet.world import World

    scenario = load("black-friday")
    share = sidecars / scenario.fleet.pods
    size = {"services": round(scenario.fleet.services * share), "nodes": max(1, round(scenario.fleet.nodes * share))}
    # What a push costs a control plane grows with services and proxies both; here one of them is kept.
    scenario = scenario.with_(fleet={**size, "standsFor": 1 / share})
    began = time.process_time()
    record = World(scenario, 1, parse("by-hand@37")).play()
    spent = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"minutes": record.samples[-1].at / 60, "wall_s": round(spent, 2), "peak_mb": round(peak, 1)}


def _apart(sidecars: int) -> dict[str, float]:
    """Measure in a process of its own, for its peak of memory."""
    command = [sys.executable, "-m", "bench.simulator", str(sidecars)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def exponent(points: dict[int, float]) -> float:
    """The slope of seconds over sidecars, both as logarithms; least squares."""
    xs, ys = [math.log(x) for x in points], [math.log(y) for y in points.values()]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    rise = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return rise / sum((x - mean_x) ** 2 for x in xs)


def main() -> int:
    """Print a line for each size and the line of JSON."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]))))
        return 0
    rows = {}
    for sidecars in SIZES:
        rows[sidecars] = _apart(sidecars)
        row = rows[sidecars]
        print(f"{sidecars:6,} sidecars: {row['wall_s']:6.1f} s, {row['peak_mb']:.0f} MB", flush=True)
    grows = exponent({sidecars: row["wall_s"] for sidecars, row in rows.items()})
    print(json.dumps({"sidecars": _OF_STORY, **rows[_OF_STORY], "exponent": round(grows, 2)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
