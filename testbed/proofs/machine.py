"""A person's machine: the command line with a state folder of its own, by some way to a cluster of fake pods."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROXYLESS = Path(__file__).with_name("proxyless")
_LONGEST_S = 420


@dataclass(frozen=True)
class Machine:
    """Runs the command line; nobody asks proxies, which fake pods do not have."""

    kubeconfig: Path
    state: Path
    context: str
    reason: str
    patches: Sequence[Path] = (PROXYLESS,)
    """Folders that Python imports from first."""
    settings: Path | None = None
    """A `meshguard.yaml`."""

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that changes the cluster."""
        mutation = ("--context", self.context, "--reason", self.reason, "--yes", "--kubeconfig", str(self.kubeconfig))
        chosen = ("--config", str(self.settings)) if self.settings else ()
        return self._start(*arguments, *mutation, *chosen)

    def call(self, *arguments: str) -> tuple[int, str]:
        """Run a command that changes the cluster to its end: its exit code and everything that it said."""
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=_LONGEST_S)
        return process.returncode, said

    @property
    def runs(self) -> list[str]:
        """The runs that this machine remembers."""
        folder = self.state / "meshguard" / "runs"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONWARNINGS", "KUBECONFIG")}
        path = os.pathsep.join(str(folder) for folder in self.patches)
        return subprocess.Popen(
            [str(Path(sys.executable).parent / "meshguard"), *arguments],
            env={**environment, "XDG_STATE_HOME": str(self.state), "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
