"""What the Ansible layer costs: the playbook of an exit, beside the same phases without Ansible.

    make bench-ansible          (RUNS=5)

A namespace of a light cluster leaves a mesh once, through the command line. Its run is then taken up again and again,
by turns: the playbook as the command line runs it, the same phases one after the other in this process, and a playbook
of as many modules that do nothing. A phase that is over opens the cluster, reads the journal and does nothing else: the
difference between the first two is what Ansible takes for a whole exit. The last line is one JSON object.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.stats import Sample
from meshguard import app
from meshguard.cli import runner
from meshguard.clock import WallClock
from meshguard.doors import ansible as door
from meshguard.doors.playbooks import ANSIBLE_SETTINGS, settings_of
from meshguard.journal import rundir
from meshguard.journal.rundir import RunDir
from meshguard.model.plan import Direction
from testbed import light_mesh
from testbed.api import Testbed

NAME = "bench-ansible"
CONTEXT = f"testbed-{NAME}"
CONSENTS = ("--declare-outage", "--accept-authz-loss", "--accept-fail-open")
NOOP = Path(__file__).parent / "noop" / "tasks.yml"


def main(arguments: list[str]) -> int:
    """Measure, print, and return the exit code."""
    runs = int(arguments[0]) if arguments else 5
    bed = Testbed(NAME)
    bed.up()
    try:
        light_mesh.install(bed, istiod=False)
        with tempfile.TemporaryDirectory() as folder:
            os.environ["XDG_STATE_HOME"] = folder
            os.environ["KUBECONFIG"] = str(bed.kubeconfig)
            return _measure(_exited(), runs)
    finally:
        bed.down()


def _exited() -> RunDir:
    """Take the namespace out by the command line, as a person does; return its run."""
    program = Path(sys.executable).parent / "meshguard"
    interruptions = [f"--accept-interruption={light_mesh.WEB}/{name}" for name in ("edge", "sessions", "legacy")]
    command = [str(program), "exit", "-n", light_mesh.WEB, "--context", CONTEXT, "--reason", "bench", "--yes"]
    done = subprocess.run([*command, *CONSENTS, *interruptions], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the exit that is measured failed: {done.stdout}{done.stderr}")
    (folder,) = app.Target().runs.iterdir()
    return rundir.find(app.Target().runs, folder.name)


def _measure(run: RunDir, runs: int) -> int:
    ways: dict[str, Callable[[], None]] = {
        "playbook": lambda: _playbook(run),
        "engine": lambda: _engine(run),
        "noop": noop,
    }
    for way in ways.values():
        way()  # what is loaded and compiled once is not the layer
    took: dict[str, list[float]] = {name: [] for name in ways}
    worked: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            began, worked_before = time.monotonic(), _processor_s()
            way()
            took[name].append(time.monotonic() - began)
            worked[name].append(_processor_s() - worked_before)
    samples = {name: Sample.of(seconds) for name, seconds in took.items()}
    layer, layer_work = _beyond_engine(took), _beyond_engine(worked)
    tasks = 1 + len(run.read_plan().phases)
    print(f"playbook of {tasks} tasks   {samples['playbook']}")
    print(f"its phases alone      {samples['engine']}")
    print(f"the layer             {layer}")
    print(f"6 modules, no work    {samples['noop']}")
    print(f"processor time: the layer {layer_work}")
    print(f"processor time: no work   {Sample.of(worked['noop'])}")
    answer = {
        "ansible_layer_s": round(layer.median, 2),
        "spread_s": round(layer.spread, 2),
        "ansible_layer_cpu_s": round(layer_work.median, 2),
        "noop_modules_cpu_s": round(Sample.of(worked["noop"]).median, 2),
        "playbook_s": round(samples["playbook"].median, 2),
        "engine_s": round(samples["engine"].median, 2),
        "noop_modules_s": round(samples["noop"].median, 2),
        "tasks": tasks,
        "runs": runs,
        "load_average": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(answer))
    return 0


def _beyond_engine(seconds: Mapping[str, Sequence[float]]) -> Sample:
    return Sample.of([p - e for p, e in zip(seconds["playbook"], seconds["engine"], strict=True)])


def _processor_s() -> float:
    """What this process and its children have worked. On a busy machine it says more than the clock on the wall."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _playbook(run: RunDir) -> None:
    """As `meshguard exit` runs it, ansible-runner and progress included."""
    extravars = {"context": CONTEXT, "meshguard": settings_of(app.Target(), None)}
    with contextlib.redirect_stderr(io.StringIO()):
        code = runner.execute(run, Direction.EXIT, extravars, WallClock())
    if code:
        raise SystemExit(f"the playbook ended with {code!r}")


def _engine(run: RunDir) -> None:
    """The doors that the tasks go through, one after the other in this process."""
    opened = {"context": CONTEXT, "settings": {}, "run": run.run}
    for phase in run.read_plan().phases:
        door.run_phase(phase.name, opened, check=False)


def noop() -> None:
    """Run as many tasks as the playbook has, by ansible-playbook alone."""
    program = Path(sys.executable).parent / "ansible-playbook"
    command = [str(program), "-i", "localhost,", str(NOOP)]
    subprocess.run(command, env={**os.environ, **ANSIBLE_SETTINGS}, capture_output=True, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
