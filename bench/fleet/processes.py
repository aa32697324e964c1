"""Commands as somebody at a terminal runs them: how long each takes, and how much memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOK_S = 0.25


@dataclass(frozen=True)
class Ended:
    """How a command came out. Seconds since 1970, seconds, MB."""

    began: float
    seconds: float
    code: int
    output: str
    largest_mb: float
    """The most that one process of it held."""
    together_mb: float
    """The most that all its processes held at the same time, shared pages counted once."""


class Running:
    """A command with everything that it starts."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> None:
        self._log, self._stream = log, log.open("w")
        self.began, self._clock = time.time(), time.monotonic()
        self._process = subprocess.Popen(
            [str(part) for part in command],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._largest = self._together = 0.0
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        while self._process.poll() is None:
            sizes = [size for pid in _tree(self._process.pid) if (size := _pss_mb(pid))]
            self._largest = max([self._largest, *sizes])
            self._together = max(self._together, sum(sizes))
            time.sleep(_LOOK_S)

    def wait(self) -> Ended:
        """Wait for its end."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        code = self._process.wait()
        seconds = time.monotonic() - self._clock
        self._watcher.join()
        self._stream.close()
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        largest = max(self._largest, peak / 1024 if peak > before else 0.0)
        return Ended(self.began, seconds, code, self._log.read_text(), largest, self._together)

    def end(self) -> None:
        """Kill it with all that it started; what it has measured is known already."""
        os.killpg(self._process.pid, 9)
        self._process.wait()
        self._stream.close()


def meshguard(*arguments: str) -> list[str]:
    """The command line of this checkout."""
    return [str(Path(sys.executable).parent / "meshguard"), *arguments]


def run(command: Sequence[str | Path], environment: Mapping[str, str], log: Path, *, code: int = 0) -> Ended:
    """Run a command to its end. Raises RuntimeError for another exit code."""
    ended = Running(command, environment, log).wait()
    if ended.code != code:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit code {ended.code}: {ended.output[-2000:]}")
    return ended


def _tree(root: int) -> list[int]:
    """The process and all below it. One that ends meanwhile is left out."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for listed in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                waiting += map(int, listed.read_text().split())
            except OSError:
                continue
    return found


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)
