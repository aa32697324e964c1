"""Each experiment has its effect, is recognised and undone; the same run made harmless in the world is ineffective.

    python -m testbed.proofs.experiments [NAME ...]        (QUICK=1: those that fit `make test`)

Both runs go through unchanged code, by Chaos Toolkit's own command line; only a variable of the experiment differs.
As soon as an experiment has its effect, `meshguard advise` must name it. Three experiments are also cut off, by a
signal, at each of their actions, and undone from another machine. Nothing may be left: objects, labels, restart marks,
pods. The last line is one JSON object.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from testbed.api import Testbed, TestbedError
from testbed.proofs import objects, own_cluster
from testbed.proofs.break_glass import CONTEXT, BreakGlassError, MeshguardCli
from testbed.proofs.chaos_runs import CONCERNED, LONGEST_S, Started, declare, marked, settled, started
from testbed.proofs.cut_off import cuts, survived
from testbed.proofs.record import Proof, is_quick
from testbed.waiting import wait_until

_EFFECT = "effect: "
"""What the control for the effect says in the log of Chaos Toolkit."""


@dataclass(frozen=True)
class Twin:
    """What makes an experiment harmless: something in the world, never in the code."""

    runbook: str
    """What `advise` must name while the effect lasts."""
    variable: str
    why: str
    quick: bool = False


TWINS: Mapping[str, Twin] = {
    "sidecar-oom-under-load": Twin("sidecar-oom", "load_factor:int=1", "the load stays what it was"),
    "version-skew-503": Twin(
        "version-skew", "revision:str=default", "the namespace moves to the revision that it is on", quick=True
    ),
    "istiod-down-injector-blocks": Twin(
        "istiod-down", "down:str=skew", "the istiod that goes serves nobody", quick=True
    ),
    "textbook-break-glass": Twin("textbook-break-glass", "servers:str=PERMISSIVE", "the servers take plaintext"),
    "xds-push-storm": Twin("push-storm", "exported_to:str=.", "no proxy may see the hosts that churn", quick=True),
    "strict-without-verification": Twin("strict-without-verification", "sidecar:str=native", "the caller has a proxy"),
    "job-with-sidecar-never-ends": Twin(
        "job-with-sidecar", "sidecar:str=native", "the sidecar ends with the work", quick=True
    ),
    "retry-amplification": Twin("retry-amplification", "path:str=/", "the calls succeed"),
}


class ProofError(Exception):
    """The proof could not be made; the text says why."""


@dataclass
class Ran:
    """What one run of an experiment came to."""

    result: str
    calm: Any = None
    fault: Any = None
    recovered: Any = None
    held_before: bool | None = None
    held_during: bool | None = None
    held_after: bool | None = None
    seconds: float = 0.0
    left: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """Activities that failed."""
    advised: list[str] = field(default_factory=list)
    """Runbooks that `advise` named while the effect lasted."""

    @property
    def effective(self) -> bool:
        """It had its effect, the hypothesis saw it and nothing else, and everything was undone."""
        return (
            self.result == "effective"
            and (self.held_before, self.held_during, self.held_after) == (True, False, True)
            and not self.failed
        )


def main(arguments: Sequence[str]) -> int:
    """Make the proof and return the exit code: 0 when it holds."""
    if unknown := sorted(set(arguments) - set(TWINS)):
        print(f"there is no experiment {unknown[0]!r}; there are: {', '.join(TWINS)}", file=sys.stderr)
        return 2
    testbed = own_cluster.up()
    quick = is_quick()
    chosen = {name: twin for name, twin in TWINS.items() if (twin.quick or not quick) and name in (arguments or TWINS)}
    with Proof("experiments", quick=quick or bool(arguments)) as proof, tempfile.TemporaryDirectory() as scratch:
        meshguard = MeshguardCli(testbed.kubeconfig, Path(scratch) / "state")
        if why := declare(meshguard, "proof of the experiments"):
            raise BreakGlassError(f"the testbed cannot be declared a rehearsal cluster: {why}")
        proof.note({"harmless because": {name: twin.why for name, twin in chosen.items()}})
        print(f"advise on the calm testbed: {', '.join(_advised(meshguard)) or 'nothing wrong'}", flush=True)
        pairs = {}
        for name, twin in chosen.items():
            real, harmless = (_tried(testbed, meshguard, name, variable) for variable in ("", twin.variable))
            pairs[name] = (real, harmless)
            _print(name, twin, real, harmless)
            proof.count(name, {"effective": asdict(real), "harmless": asdict(harmless)})
        cut = {} if arguments else {str(one): survived(testbed, meshguard, one) for one in cuts(quick=quick)}
        proof.count("cut off", cut)
        left = [line for lines in cut.values() for line in lines]
        answer = {
            "experiments": len(pairs),
            "effective": sum(real.effective for real, _ in pairs.values()),
            "ineffective_detected": sum(harmless.result == "ineffective" for _, harmless in pairs.values()),
            "recognised": sum(chosen[name].runbook in real.advised for name, (real, _) in pairs.items()),
            "cut_off": len(cut),
            "leftovers": len(left) + sum(len(real.left) + len(harmless.left) for real, harmless in pairs.values()),
        }
        meshguard.call("rehearsal", "revoke", "--context", CONTEXT, "--reason", "the proof is over", "--yes")
        proof.say(answer)
    counts = {answer[key] for key in ("experiments", "effective", "ineffective_detected", "recognised")}
    return 0 if len(counts) == 1 and not answer["leftovers"] else 1


def _tried(testbed: Testbed, meshguard: MeshguardCli, name: str, variable: str) -> Ran:
    """Run an experiment; one that could not be run counts as such, and the others still have their turn."""
    try:
        return _run(testbed, meshguard, name, variable)
    except (ProofError, TestbedError) as error:
        meshguard.call("chaos", "undo", "--context", CONTEXT, "--reason", "the proof failed", "--yes")
        return Ran(f"not run: {error}")


def _run(testbed: Testbed, meshguard: MeshguardCli, name: str, variable: str) -> Ran:
    """Run an experiment to its end, from a settled cluster, and look for what it leaves."""
    settled()
    before = objects.concerned(testbed, CONCERNED)
    began = time.monotonic()
    with started(meshguard, name, variable) as run:
        advised = _advised_at_the_effect(run, meshguard)
        run.process.wait(LONGEST_S)
    if not run.journal.is_file():
        raise ProofError(f"{name}: no journal: {run.said.read_text()[-2000:]}")
    ran = _read(json.loads(run.journal.read_text()))
    ran.seconds, ran.advised = round(time.monotonic() - began, 1), advised
    settled()
    ran.left = [*objects.differences(before, objects.concerned(testbed, CONCERNED)), *marked(testbed)]
    return ran


def _advised_at_the_effect(run: Started, meshguard: MeshguardCli) -> list[str]:
    """Ask for advice as soon as the experiment says that its effect is there; nobody asks when it ends before."""
    wait_until(lambda: run.over or run.has_said(_EFFECT), LONGEST_S, "the effect or the end of the experiment", 0.5)
    return [] if run.over else _advised(meshguard)


def _advised(meshguard: MeshguardCli) -> list[str]:
    """Return the runbooks that fit what is seen now."""
    advice = meshguard.json("advise", "--context", CONTEXT)
    return [found["runbook"] for found in advice["runbooks"] if found["fits"]]


def _read(journal: Mapping[str, Any]) -> Ran:
    effect = journal.get("meshguard", {}).get("effect", {})
    states = journal["steady_states"]
    runs = [*journal["run"], *journal["rollbacks"]]
    return Ran(
        effect.get("result", "no effect was awaited"),
        effect.get("calm"),
        effect.get("fault"),
        effect.get("recovered"),
        _met(states["before"]),
        effect.get("hypothesisHeldDuringFault"),
        _met(states["after"]),
        failed=[f"{run['activity']['name']}: {run['exception'][-1]}" for run in runs if run["status"] == "failed"],
    )


def _met(state: Mapping[str, Any] | None) -> bool | None:
    return bool(state["steady_state_met"]) if state else None


def _print(name: str, twin: Twin, real: Ran, harmless: Ran) -> None:
    print(f"{name}: {real.seconds:.0f} s, calm {real.calm}, fault {real.fault}, recovered {real.recovered}", flush=True)
    print(f"  hypothesis before/during/after: {real.held_before}/{real.held_during}/{real.held_after}")
    print(f"  advised: {', '.join(real.advised) or 'nothing'}")
    print(f"  harmless, because {twin.why}: {harmless.result}, {harmless.seconds:.0f} s", flush=True)
    if real.result != "effective":
        print(f"  {real.result}")
    for line in (*real.failed, *real.left, *harmless.left):
        print(f"    {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
