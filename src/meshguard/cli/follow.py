"""Shows how far a run has come, by following its journal: one rewritten line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
from typing import TextIO

from meshguard.engine.progress import Progress

#: Between two plain lines that differ only in what is awaited. Seconds.
CALM_S = 5.0


class ProgressView:
    """Prints a Progress whenever it says something new."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream, self._live = stream, stream.isatty()
        self._said, self._told, self._told_at = "", ("", 0, ""), 0.0

    def show(self, progress: Progress) -> None:
        """Print the progress, if it says something new."""
        text = self._live_line(progress) if self._live else plain_line(progress)
        if text == self._said or not (self._live or self._worth_a_line(progress)):
            return
        self._said = text
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write("\r\x1b[2K" + text[:width])
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Leave the live line behind."""
        if self._live and self._said:
            self._stream.write("\n")
            self._stream.flush()

    def _worth_a_line(self, progress: Progress) -> bool:
        told = (progress.phase, progress.done, progress.ended)
        if told == self._told and progress.elapsed_s - self._told_at < CALM_S:
            return False
        self._told, self._told_at = told, progress.elapsed_s
        return True

    def _live_line(self, progress: Progress) -> str:
        return f"{progress.elapsed_s:4.0f} s  {plain_line(progress)}"


def _left(progress: Progress) -> str:
    if progress.remaining_s is None:
        return "time left unknown"
    later = "" if progress.phase_number == progress.phases else ", later phases unknown"
    return f"about {progress.remaining_s:.0f} s left in this phase{later}"


def plain_line(progress: Progress) -> str:
    """`restart (4 of 5), wave 1 of 1, 3 of 7 steps: waiting for ... (2 of 3): cart has old pods`."""
    parts = [f"{progress.phase or 'beginning'} ({progress.phase_number} of {progress.phases})"]
    if progress.waves > 1:
        parts.append(f"wave {progress.wave} of {progress.waves}")
    parts.append(f"{progress.done} of {progress.steps} steps")
    if not progress.ended and progress.waves > 1:
        parts.append(_left(progress))
    line = ", ".join(parts)
    if progress.ended:
        return f"{line}: {progress.ended}"
    waiting = [
        f"{a.sentence} ({a.done} of {a.total})" + (f": {a.missing[0]}" if a.missing else "") for a in progress.awaiting
    ]
    return f"{line}: waiting until {'; '.join(waiting)}" if waiting else line
