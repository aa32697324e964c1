"""Every kind of workload leaves a STRICT mesh and comes back: who surges loses nothing, the others what the plan said.

    python -m testbed.proofs.kinds [RUNS]        (QUICK=1: one run, everything in one exit)

Beside the shop a second one is put up, with one workload of each kind and rules that decree mutual TLS for subsets
and ports. Failures are counted at the server that failed. Where the plan states an interruption, the seconds with a
failure must not exceed it; where it states none, nothing may fail. Then a namespace is upgraded to a control plane
that its proxies do not understand, and `realign` heals what other restarts do not. The last line is one JSON object.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from testbed.api import Testbed, TestbedError
from testbed.proofs import kinds_plan, kinds_shop, kinds_skew, kinds_stage, objects, own_cluster
from testbed.proofs.break_glass import BreakGlassError, MeshguardCli, Passage
from testbed.proofs.kinds_plan import Costs, ProofError
from testbed.proofs.record import Proof, is_quick
from testbed.proofs.tracing import traced
from testbed.shop.load import RunningLoad, running_load
from testbed.shop.records import Records, Request, Window, read
from testbed.waiting import wait_until

LEAST_PER_EDGE = 100
TRACED = 5
"""So many failures of one server in one passage are followed through the proxies' logs."""
LONGEST_RUN_S = 1_800
ENOUGH_S, ASKED_EVERY_S = 120, 3
COMPARED = (*kinds_shop.NAMESPACES, "load", "istio-system")
ALL = kinds_shop.LEAVING
_CLIENT, _SERVERS = (kinds_shop.CLIENT,), tuple(name for name in ALL if name != kinds_shop.CLIENT)
#: For each run: the exits one after the other, and in which order they are restored.
RUNS: tuple[tuple[tuple[tuple[str, ...], ...], tuple[int, ...]], ...] = (
    ((ALL,), (0,)),
    ((_CLIENT, _SERVERS), (0, 1)),
    ((_CLIENT, _SERVERS), (1, 0)),
    ((_SERVERS, _CLIENT), (0, 1)),
    ((_SERVERS, _CLIENT), (1, 0)),
)


@dataclass
class Tally:
    """What all passages came to."""

    sent: int = 0
    failed: int = 0
    """Requests that no interruption of the plan covers."""
    interrupted_seconds: int = 0
    predicted_seconds: float = 0
    exceeded: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)


def main(arguments: list[str]) -> int:
    """Make the proof and return the exit code: 0 when it holds."""
    runs = 1 if is_quick() else int(arguments[0]) if arguments else 5
    testbed = own_cluster.up()
    with Proof("kinds", quick=is_quick()) as proof, tempfile.TemporaryDirectory() as scratch:
        try:
            kinds_stage.set_up(testbed)
            _be_patient(Path(scratch))
            _prove(testbed, runs, proof, Path(scratch))
        except (ProofError, BreakGlassError, TestbedError) as error:
            print(f"the proof does not hold: {error}", file=sys.stderr)
            proof.say({"error": str(error).splitlines()[0]})
            return 1
        finally:
            kinds_stage.take_down(testbed)
    return 0


def _be_patient(scratch: Path) -> None:
    """Let meshguard restart fewer at once and wait longer: twice as many pods as usual share one small machine."""
    folder = scratch / "meshguard"
    folder.mkdir()
    (folder / "meshguard.yaml").write_text("waveSize: 6\nconvergeDeadlineSeconds: 240\nrolloutDeadlineSeconds: 600\n")
    os.environ["XDG_CONFIG_HOME"] = str(scratch)


def _prove(testbed: Testbed, runs: int, proof: Proof, scratch: Path) -> None:
    tally, skew = Tally(), kinds_skew.Tally()
    wrong: list[str] = []
    for number in range(runs):
        print(f"== run {number + 1}", flush=True)
        folder = scratch / str(number)
        folder.mkdir()
        meshguard = MeshguardCli(testbed.kubeconfig, folder / "state")
        try:
            wrong += _one_run(testbed, meshguard, folder, number, proof, tally, skew)
        except Exception:
            meshguard.bring_back()
            raise
    for line in (*tally.explained, *tally.exceeded, *wrong):
        print(f"  {line}")
    proof.note({"explained": tally.explained, "exceeded": tally.exceeded, "wrong": wrong, "claimed": ["Rollout"]})
    answer = {
        "runs": runs,
        "kinds": len(kinds_shop.SERVERS) + 1,
        "sent": tally.sent,
        "failed": tally.failed,
        "interrupted_seconds": tally.interrupted_seconds,
        "predicted_seconds": round(tally.predicted_seconds),
        "exceeded": len(tally.exceeded),
        "wrong": len(wrong),
        **skew.answer(),
    }
    proof.say(answer)
    if tally.failed or tally.exceeded or wrong:
        raise ProofError("failed requests, interruptions longer than stated, or objects that are not what they were")
    skew.judge()


def _one_run(
    testbed: Testbed,
    meshguard: MeshguardCli,
    folder: Path,
    number: int,
    proof: Proof,
    tally: Tally,
    skew: kinds_skew.Tally,
) -> list[str]:
    exits, order = RUNS[number % len(RUNS)]
    wrong = kinds_plan.wrong_in_plan(testbed, meshguard)
    before, untouched = objects.concerned(testbed, COMPARED), kinds_plan.left_alone(testbed)
    passages: list[tuple[Passage, Costs]] = []
    name = f"kinds-{number}-{os.getpid()}"
    with running_load(testbed.kubeconfig, kinds_shop.load(name, LONGEST_RUN_S), folder / "records.jsonl") as load:
        for namespaces in exits:
            consents = kinds_plan.consents(namespaces)
            costs = kinds_plan.costs_of_exit(meshguard, namespaces)
            left = meshguard.exit(f"exit {' '.join(namespaces)}", namespaces, consents)
            passages.append((_until_enough_was_sent(left, load), costs))
        wrong += kinds_plan.wrong_outside(testbed)
        for index in order:
            gone = passages[index][0]
            costs = kinds_plan.costs_of_restore(meshguard, gone.run)
            back = meshguard.restore(f"restore {' '.join(exits[index])}", gone.run)
            passages.append((_until_enough_was_sent(back, load), costs))
        if kinds_plan.left_alone(testbed) != untouched:
            wrong.append("pods that nobody restarts are not the ones that they were")
        wrong += objects.differences(before, objects.concerned(testbed, COMPARED))
        spans = kinds_skew.make(testbed, meshguard, to_revision=number % 2 == 1)
    records = read(load.path)
    for passage, costs in passages:
        _count(testbed, passage, costs, records, tally)
        proof.count(f"{name} {passage.name}", records.within(passage.window).edges())
    for title, window in spans.windows():
        proof.count(f"{name} {title}", records.within(window).edges())
    skew.add(spans, records)
    return wrong


def _until_enough_was_sent(passage: Passage, load: RunningLoad) -> Passage:
    """Go on after a passage until every edge was asked often enough: what follows it counts as well."""
    edges = {edge.name for edge in load.config.edges}

    def until_now() -> Window:
        return Window(passage.window.start, time.time_ns())

    def enough() -> bool:
        sent = load.records().within(until_now()).edges()
        return all(edge in sent and sent[edge].sent >= LEAST_PER_EDGE for edge in edges)

    wait_until(enough, ENOUGH_S, f"{LEAST_PER_EDGE} requests on every edge", ASKED_EVERY_S)
    return replace(passage, window=until_now())


def _count(testbed: Testbed, passage: Passage, costs: Costs, records: Records, tally: Tally) -> None:
    seen = records.within(passage.window)
    sent = sum(edge.sent for edge in seen.edges().values())
    lag = seen.longest_lag_milliseconds()
    print(
        f"  {passage.name}: {passage.seconds:.0f} s, {len(seen.failures())} of {sent} failed, load late by {lag:.0f} ms"
    )
    for edge in seen.edges().values():
        if edge.sent < LEAST_PER_EDGE:
            raise ProofError(f"{passage.name}: only {edge.sent} requests on {edge.edge}, {LEAST_PER_EDGE} needed")
    tally.sent += sent
    for member in (kinds_shop.client(), *kinds_shop.SERVED):
        failures = [r for r in seen.failures() if r.failed_edge.endswith(f"->{member.name}")]
        _judge(testbed, passage, costs, member, failures, tally)


def _judge(
    testbed: Testbed,
    passage: Passage,
    costs: Costs,
    member: kinds_shop.Member,
    failures: list[Request],
    tally: Tally,
) -> None:
    cost = costs.get(member.ref)
    seconds = len({request.second for request in failures})
    said = f"predicted {cost.low:.0f}-{cost.high:.0f} s" if cost else "predicted nothing"
    print(f"    {member.name:<9} {member.what:<32} {said:<18} failing {seconds:>2} s, {len(failures):>3} requests")
    if cost is None:
        tally.failed += len(failures)
        tally.explained += [f"{passage.name}: {traced(testbed.logs_dir, request)}" for request in failures[:TRACED]]
        return
    tally.interrupted_seconds += seconds
    tally.predicted_seconds += cost.high
    if member.surges:
        tally.exceeded.append(f"{passage.name}: {member.ref} surges, and the plan states an interruption")
    if seconds > cost.high:
        tally.exceeded.append(f"{passage.name}: {member.ref} failed in {seconds} s, the plan said {cost.high:.0f} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
