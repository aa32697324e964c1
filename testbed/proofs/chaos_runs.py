"""Runs of Chaos Toolkit as a person starts them, and what they leave; the proofs of the experiments share this."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed import credentials
from testbed.api import Testbed
from testbed.paths import MAIN, RunPaths
from testbed.proofs.break_glass import CONTEXT, MeshguardCli
from testbed.waiting import wait_until
from testbed.workloads import not_ready

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
CONCERNED = ("shop-web", "shop-core", "shop-pay", "load", "istio-system")
LONGEST_S = 600
_SETTLED_S = 120
_MARKED = "jobs,pods,deployments,limitranges,peerauthentications,virtualservices,serviceentries"


@dataclass(frozen=True)
class Started:
    """An experiment that was started."""

    process: subprocess.Popen[bytes]
    journal: Path
    log: Path
    said: Path

    @property
    def over(self) -> bool:
        """Its process has ended."""
        return self.process.poll() is not None

    def has_said(self, text: str) -> bool:
        """Whether its log holds a text by now."""
        return self.log.is_file() and text in self.log.read_text()


@contextmanager
def started(meshguard: MeshguardCli, name: str, variable: str = "") -> Iterator[Started]:
    """Start an experiment; when the block is left too early it is ended, and undoes what it has made."""
    folder = meshguard.state.parent
    stem = folder / f"{name}{'-harmless' if variable else ''}"
    journal, log, said = (stem.with_suffix(suffix) for suffix in (".json", ".log", ".out"))
    for file in (journal, log):
        file.unlink(missing_ok=True)
    command = [
        str(Path(sys.executable).parent / "chaos"),
        *("--log-file", str(log)),
        *("run", str(EXPERIMENTS / f"{name}.yaml"), "--journal-path", str(journal)),
        *(("--var", variable) if variable else ()),
    ]
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS" and not k.startswith("MESHGUARD_")}
    environment = {
        **inherited,
        "KUBECONFIG": str(meshguard.kubeconfig),
        "MESHGUARD_CONTEXT": CONTEXT,
        "XDG_STATE_HOME": str(meshguard.state),
    }
    with said.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=folder
        )
    try:
        yield Started(process, journal, log, said)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(LONGEST_S)


def marked(testbed: Testbed) -> list[str]:
    """Return objects and pods that still carry the name of a run."""
    listed = testbed.kubectl("get", _MARKED, "-A", "-l", "meshguard.dev/run", "-o", "name")
    return [f"left over: {line}" for line in listed.split()]


def settled() -> None:
    """Wait until every workload is ready and nothing is on its way out."""
    client = credentials.api_client(RunPaths(MAIN))

    def unready() -> str:
        return "; ".join(not_ready(client))

    wait_until(lambda: not unready(), _SETTLED_S, "all workloads to be ready", 1.0, unready)


def declare(meshguard: MeshguardCli, why: str) -> str:
    """Declare the testbed a rehearsal cluster; return what went wrong, "" when nothing did."""
    done = meshguard.call("rehearsal", "declare", "--context", CONTEXT, "--reason", why, "--for", "3h", "--yes")
    return done.stderr if done.returncode else ""
