"""An exit of a whole mesh of fake pods, beside the same writes sent raw, by kubectl and by a playbook's loop.

    make bench-fleet PODS=2400          (RUNS=3; QUICK=1: 64 pods and one turn, which is for seeing that it works)

A light cluster with the real istiod carries the fleet. Whoever writes starts from the same state: the cluster is put
back to it by exchanging etcd's folder. docs/performance.md is written anew, except by QUICK=1; the last line is one
JSON object. The exit code is 1 when something that is promised was not met (not for QUICK=1: so few pods say nothing).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from bench import ansible_layer
from bench.fleet import page, scenery, synthetic, turns
from bench.fleet.processes import meshguard, run
from bench.fleet.results import Reading, Results, claims
from bench.fleet.rewind import Rewind
from bench.fleet.scenery import Fleet
from bench.fleet.told import AuditLog
from bench.fleet.turns import SCOPE, Bench
from bench.fleet.writes import Stage, count, stages
from bench.stats import Sample
from meshguard import app
from meshguard.model.plan import Plan
from meshguard.model.snapshot import Snapshot
from meshguard.verify.unreachable import ADMITTED_A_SECOND, RECONNECT_S
from testbed import light, light_istiod
from testbed.api import Testbed
from testbed.paths import RunPaths
from testbed.proofs.record import is_quick

NAME = "bench-fleet"
PODS_A_NODE = 80
QUICK_PODS = 64
SYNTHETIC_PODS = 24_000
WHOLE, BEGINNING = "whole", "size"


def main(arguments: list[str]) -> int:
    """Measure, write the page, print, and return the exit code."""
    pods = QUICK_PODS if is_quick() else int(arguments[0]) if arguments else 2_400
    runs = 1 if is_quick() else int(arguments[1]) if len(arguments) > 1 else 3
    bed = Testbed(os.environ.get("BENCH_CLUSTER", NAME))
    bed.up()
    try:
        with tempfile.TemporaryDirectory() as folder:
            results = _measure(bed, pods, runs, Path(folder))
    finally:
        bed.down()
    wrong = [claim for claim in claims(results) if not claim.holds]
    if not is_quick():
        page.write(results)
    for claim in claims(results):
        print(f"{'ok' if claim.holds else 'NO'}  {claim.what}: {claim.measured} (wanted: {claim.wanted})")
    print(json.dumps(results.answer()))
    return 1 if wrong and not is_quick() else 0


def _measure(bed: Testbed, pods: int, runs: int, folder: Path) -> Results:
    paths = RunPaths(bed.kubeconfig.parent.name)
    light.add_nodes(paths, max(3, pods // PODS_A_NODE))
    light_istiod.install(paths)
    bench, rewind = Bench(bed, f"testbed-{paths.name}", folder), Rewind(paths)
    fleet = Fleet(pods)
    results = Results(fleet.size, fleet.deployments, len(fleet.namespaces), 0)
    for size in _sizes(pods):
        results.created_s += scenery.create(bed, Fleet(size))
        results.readings.append(_reading(bench, Fleet(size), runs))
        _say(f"{size} pods: plan {results.readings[-1].plan}, status {results.readings[-1].status}")
        rewind.save(WHOLE)
        if size != pods:
            _wait_for_old_istiod(paths, size)
            results.told_at[Fleet(size).size] = turns.by_meshguard(bench, to_the_end=False)[0].told
            rewind.to(WHOLE)
    planned, snapshot = _planned(bench), _snapshot(bench)
    results.writes = count(planned)
    _wait_for_old_istiod(paths, pods)
    _turns(bench, rewind, planned, runs, results)
    results.told_at[fleet.size] = results.told.median
    _others(bench, rewind, planned, results)
    for times in (1, 2, 5) if is_quick() else (1, 3, max(4, SYNTHETIC_PODS // fleet.size)):
        number, seconds = synthetic.planning_s(snapshot, times)
        results.synthetic[number] = seconds
    return results


def _sizes(pods: int) -> tuple[int, ...]:
    return (pods,) if is_quick() else (pods // 8, pods // 2, pods)


def _reading(bench: Bench, fleet: Fleet, runs: int) -> Reading:
    plan, status = bench.command("plan", "exit", *SCOPE), bench.command("status", "-A")
    audit = AuditLog.from_now(bench.bed.audit_log)
    first = run(plan, bench.environment, bench.log("plan"))
    requests = audit.requests_of("meshguard")
    plans = [first, *(run(plan, bench.environment, bench.log("plan")) for _ in range(runs - 1))]
    statuses = [run(status, bench.environment, bench.log("status")) for _ in range(runs)]
    plan_s, status_s = (Sample.of([ended.seconds for ended in many]) for many in (plans, statuses))
    return Reading(fleet.size, plan_s, status_s, requests, max(ended.largest_mb for ended in (*plans, *statuses)))


def _planned(bench: Bench) -> tuple[Stage, ...]:
    ended = run(bench.command("plan", "exit", *SCOPE, "-o", "json"), bench.environment, bench.log("planned"))
    return stages(Plan.from_json(json.loads(ended.output)))


def _snapshot(bench: Bench) -> Snapshot:
    import asyncio

    async def read() -> Snapshot:
        async with app.session(app.Target(bench.context, str(bench.bed.kubeconfig))) as opened:
            return await opened.snapshot()

    return asyncio.run(read())


def _turns(bench: Bench, rewind: Rewind, planned: tuple[Stage, ...], runs: int, results: Results) -> None:
    """Meshguard and the raw writer, the Ansible layer between them, again and again."""
    ansible_layer.noop()  # what is compiled once is not the layer
    for number in range(runs):
        results.loads.append(turns.load())
        taken, ended = turns.by_meshguard(bench)
        assert ended is not None
        results.meshguard.append(taken)
        results.peak_mb = max(results.peak_mb, ended.largest_mb)
        results.together_mb = max(results.together_mb, ended.together_mb)
        results.sentence = next(line for line in ended.output.splitlines() if "could be verified" in line)
        _say(f"turn {number + 1}, meshguard: told {taken.told:.2f} s, last out {taken.last_out:.1f} s")
        rewind.to(WHOLE)
        began = time.monotonic()
        ansible_layer.noop()
        results.layer.append(time.monotonic() - began)
        results.loads.append(turns.load())
        results.raw.append(turns.by_raw_writer(bench, planned))
        _say(f"turn {number + 1}, raw: told {results.raw[-1].told:.2f} s, last out {results.raw[-1].last_out:.1f} s")
        rewind.to(WHOLE)


def _others(bench: Bench, rewind: Rewind, planned: tuple[Stage, ...], results: Results) -> None:
    """What is too slow to be measured more than once."""
    results.loads.append(turns.load())
    results.kubectl_s = turns.by_kubectl(bench, planned)
    _say(f"kubectl: told {results.kubectl_s:.1f} s")
    rewind.to(WHOLE)
    start_s = Sample.of(results.layer).median / 2
    results.loop_s, *part = turns.by_loop(bench, planned, start_s)
    results.loop_part = (int(part[0]), part[1])
    _say(f"loop: {part[0]} objects in {part[1]:.1f} s")
    shown = [run(meshguard("--help"), bench.environment, bench.log("help")).seconds for _ in range(5)]
    results.help_s = Sample.of(shown).median


def _wait_for_old_istiod(paths: RunPaths, pods: int) -> None:
    """An istiod that has just started says nothing of proxies: they may be coming back (see `verify.unreachable`)."""
    light_istiod.wait_for_age(paths, RECONNECT_S + pods / ADMITTED_A_SECOND)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
