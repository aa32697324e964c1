"""Each experiment has its effect, is recognised and undone; the same run made harmless in the world is ineffective.

    python -m testbed.proofs.experiments        (QUICK=1: two experiments)

Both runs go through unchanged code, by Chaos Toolkit's own command line; only a variable of the experiment differs.
Nothing may be left: objects, labels, restart marks, pods. The last line is one JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from testbed import credentials
from testbed.api import Testbed
from testbed.paths import MAIN, RunPaths
from testbed.proofs import objects
from testbed.proofs.break_glass import CONTEXT, BreakGlassError, MeshguardCli
from testbed.proofs.record import Proof, is_quick
from testbed.waiting import wait_until
from testbed.workloads import not_ready

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
CONCERNED = ("shop-web", "shop-core", "shop-pay", "load", "istio-system")
_LONGEST_S = 600
_MARKED = "jobs,pods,deployments,limitranges,peerauthentications,virtualservices,serviceentries"


@dataclass(frozen=True)
class Twin:
    """What makes an experiment harmless: something in the world, never in the code."""

    variable: str
    why: str
    quick: bool = False


TWINS: Mapping[str, Twin] = {
    "sidecar-oom-under-load": Twin("load_factor:int=1", "the load stays what it was"),
    "version-skew-503": Twin("revision:str=default", "the namespace moves to the revision that it is on"),
    "istiod-down-injector-blocks": Twin("down:str=skew", "the istiod that goes serves nobody", quick=True),
    "textbook-break-glass": Twin("servers:str=PERMISSIVE", "the servers take plaintext"),
    "job-with-sidecar-never-ends": Twin("sidecar:str=native", "the sidecar ends with the work", quick=True),
    "retry-amplification": Twin("path:str=/", "the calls succeed"),
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

    @property
    def effective(self) -> bool:
        """It had its effect, the hypothesis saw it and nothing else, and everything was undone."""
        return (
            self.result == "effective"
            and (self.held_before, self.held_during, self.held_after) == (True, False, True)
            and not self.failed
        )


def main() -> int:
    """Make the proof and return the exit code: 0 when it holds."""
    testbed = Testbed()
    testbed.up()
    quick = is_quick()
    chosen = {name: twin for name, twin in TWINS.items() if twin.quick or not quick}
    with Proof("experiments", quick=quick) as proof, tempfile.TemporaryDirectory() as scratch:
        meshguard = MeshguardCli(testbed.kubeconfig, Path(scratch) / "state")
        _declare(meshguard)
        pairs = {}
        for name, twin in chosen.items():
            pairs[name] = (
                _run(testbed, name, "", Path(scratch)),
                _run(testbed, name, twin.variable, Path(scratch)),
            )
            _print(name, twin, *pairs[name])
            proof.count(name, {"effective": asdict(pairs[name][0]), "harmless": asdict(pairs[name][1])})
        answer = {
            "experiments": len(pairs),
            "effective": sum(real.effective for real, _ in pairs.values()),
            "ineffective_detected": sum(harmless.result == "ineffective" for _, harmless in pairs.values()),
            "leftovers": sum(len(real.left) + len(harmless.left) for real, harmless in pairs.values()),
        }
        proof.say(answer)
    right = answer["experiments"] == answer["effective"] == answer["ineffective_detected"]
    return 0 if right and not answer["leftovers"] else 1


def _declare(meshguard: MeshguardCli) -> None:
    done = meshguard.call(
        "rehearsal", "declare", "--context", CONTEXT, "--reason", "proof of the experiments", "--for", "3h", "--yes"
    )
    if done.returncode:
        raise BreakGlassError(f"the testbed cannot be declared a rehearsal cluster: {done.stderr}")


def _run(testbed: Testbed, name: str, variable: str, scratch: Path) -> Ran:
    """Run an experiment to its end, from a settled cluster, and look for what it leaves."""
    _settled()
    before = objects.concerned(testbed, CONCERNED)
    journal = scratch / f"{name}{'-harmless' if variable else ''}.json"
    began = time.monotonic()
    command = [
        str(Path(sys.executable).parent / "chaos"),
        *("--log-file", str(scratch / "chaos.log")),
        *("run", str(EXPERIMENTS / f"{name}.yaml"), "--journal-path", str(journal)),
        *(("--var", variable) if variable else ()),
    ]
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"},
        "KUBECONFIG": str(testbed.kubeconfig),
        "MESHGUARD_CONTEXT": CONTEXT,
        "XDG_STATE_HOME": str(scratch / "state"),
    }
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_LONGEST_S, check=False, cwd=scratch
    )
    if not journal.is_file():
        raise ProofError(f"{name}: no journal: {(done.stdout + done.stderr)[-2000:]}")
    ran = _read(json.loads(journal.read_text()))
    ran.seconds = round(time.monotonic() - began, 1)
    _settled()
    ran.left = [*objects.differences(before, objects.concerned(testbed, CONCERNED)), *_marked(testbed)]
    return ran


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


def _marked(testbed: Testbed) -> list[str]:
    """Return objects and pods that still carry the name of a run."""
    listed = testbed.kubectl("get", _MARKED, "-A", "-l", "meshguard.dev/run", "-o", "name")
    return [f"left over: {line}" for line in listed.split()]


def _settled() -> None:
    """Wait until every workload is ready and nothing is on its way out."""
    client = credentials.api_client(RunPaths(MAIN))
    wait_until(
        lambda: not not_ready(client), 120, "all workloads to be ready", 1.0, lambda: "; ".join(not_ready(client))
    )


def _print(name: str, twin: Twin, real: Ran, harmless: Ran) -> None:
    print(f"{name}: {real.seconds:.0f} s, calm {real.calm}, fault {real.fault}, recovered {real.recovered}", flush=True)
    print(f"  hypothesis before/during/after: {real.held_before}/{real.held_during}/{real.held_after}")
    print(f"  harmless, because {twin.why}: {harmless.result}, {harmless.seconds:.0f} s", flush=True)
    for line in (*real.failed, *real.left, *harmless.left):
        print(f"    {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
