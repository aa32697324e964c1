"""Runs real commands against the stage, shows what they print, and remembers when they ran by the simulator's clock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meshguard.gameday.stage import Stage


@dataclass(frozen=True, slots=True)
class Deed:
    """A command that was run."""

    words: tuple[str, ...]
    began: float
    """Simulated seconds."""
    ended: float
    code: int
    output: str

    @property
    def line(self) -> str:
        """As it would be typed."""
        return " ".join(f"'{word}'" if " " in word else word for word in self.words)


@dataclass
class Deeds:
    """What a person, or AUTO, has done so far."""

    stage: Stage
    done: list[Deed] = field(default_factory=list)

    def run(self, words: Sequence[str], *, show: bool = True, typed: bool = True) -> Deed:
        """Run a command; `show` prints what it prints, `typed` the command itself. Raises ControlError."""
        line = Deed(tuple(words), 0, 0, 0, "").line
        if typed:
            print(f"$ {line}", flush=True)
        began = self.stage.mark(f"begins: {line}")
        code, output = self._child(words, show=show)
        ended = self.stage.mark(f"ends: {line}")
        deed = Deed(tuple(words), began, ended, code, output)
        self.done.append(deed)
        return deed

    def _child(self, words: Sequence[str], *, show: bool) -> tuple[int, str]:
        program, *rest = words
        beside = Path(sys.executable).with_name(program)
        command = [str(beside) if beside.exists() else program, *rest]
        try:
            child = subprocess.Popen(
                command,
                env=self.stage.environ,
                stdin=subprocess.DEVNULL if show or "--yes" in rest else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        except OSError as error:
            print(f"{program}: {error.strerror}")
            return 127, ""
        assert child.stdout is not None
        lines = []
        try:
            for line in child.stdout:
                lines.append(line)
                if show:
                    print(f"  {line}", end="", flush=True)
            return child.wait(), "".join(lines)
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
