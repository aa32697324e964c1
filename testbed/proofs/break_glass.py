"""Drives meshguard as a person would: through its command line, against the testbed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from testbed.shop.records import Window

CONTEXT = "testbed"
_LONGEST_S = 900


class BreakGlassError(Exception):
    """meshguard did not do what the proof needs; the text holds its own words."""


@dataclass(frozen=True)
class Passage:
    """One run of meshguard, with the span from its first change to its last verification."""

    name: str
    run: str
    window: Window
    seconds: float


@dataclass(frozen=True)
class MeshguardCli:
    """The command line on a cluster, with its runs in a folder of the proof's own."""

    kubeconfig: Path
    state: Path

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever its exit code."""
        program = Path(sys.executable).parent / "meshguard"
        command = [str(program), *arguments, "--kubeconfig", str(self.kubeconfig)]
        environment = {**os.environ, "XDG_STATE_HOME": str(self.state)}
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def json(self, *arguments: str) -> dict[str, Any]:
        """Run a command that prints JSON. Raises BreakGlassError when it fails."""
        done = self.call(*arguments, "-o", "json")
        if done.returncode:
            raise BreakGlassError(f"meshguard {' '.join(arguments)}: exit code {done.returncode}: {done.stderr}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def exit(self, name: str, namespaces: Sequence[str], consents: Sequence[str]) -> Passage:
        """Take namespaces out. Raises BreakGlassError unless everything was done and verified."""
        scope = [word for namespace in namespaces for word in ("-n", namespace)]
        return self._passage(name, "exit", *scope, *consents)

    def restore(self, name: str, run: str) -> Passage:
        """Bring a run back. Raises BreakGlassError unless everything was done and verified."""
        return self._passage(name, "restore", run)

    def bring_back(self) -> None:
        """Restore what is still out, the last exit first, after a proof has failed; says what could not be."""
        known = self.json("runs")["runs"]
        out = [r["run"] for r in known if r["direction"] == "exit" and r["status"] in ("open", "unfinished")]
        for run in sorted(out, reverse=True):
            done = self.call("restore", run, "--context", CONTEXT, "--reason", "the proof failed", "--yes")
            if done.returncode:
                print(f"  {run} could not be restored: {done.stderr[-1000:]}", file=sys.stderr)

    def _passage(self, name: str, *arguments: str) -> Passage:
        before = set(self._runs())
        done = self.call(*arguments, "--context", CONTEXT, "--reason", f"proof: {name}", "--yes")
        if done.returncode:
            raise BreakGlassError(f"{name}: exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        (run,) = set(self._runs()) - before
        return self._measured(name, run)

    def _runs(self) -> list[str]:
        folder = self.state / "meshguard" / "runs"
        return [path.name for path in folder.iterdir()] if folder.is_dir() else []

    def _measured(self, name: str, run: str) -> Passage:
        entries: list[Mapping[str, Any]] = self.json("runs", "show", run)["entries"]
        first = next(e["at"] for e in entries if e["event"] == "intent")
        last = [e["at"] for e in entries if e["event"] == "seen"][-1]
        window = Window(_nanoseconds(first), _nanoseconds(last))
        return Passage(name, run, window, window.seconds)


def _nanoseconds(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp() * 1_000_000_000)
