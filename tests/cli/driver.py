"""Runs the command line as a person does: another process, its own state folder, nobody at the keyboard."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """What a person sees."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line on stderr. Fails when there are more, or none."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, f"not one sentence:\n{self.err}\n{self.out}"
        return lines[0]


@dataclass(frozen=True)
class Meshguard:
    """The command line with a kubeconfig and a state folder."""

    kubeconfig: Path
    state: Path

    def __call__(self, *arguments: str, **environment: str) -> Answer:
        program = Path(sys.executable).parent / "meshguard"
        inherited = {k: v for k, v in os.environ.items() if k not in ("KUBECONFIG", "PYTHONWARNINGS")}
        done = subprocess.run(
            [str(program), *arguments],
            env={**inherited, "KUBECONFIG": str(self.kubeconfig), "XDG_STATE_HOME": str(self.state), **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=600,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)
