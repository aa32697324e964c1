"""A person's wish that the run stand still; it is granted between waves and while waiting, never within a write."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path


class StopSignal:
    """Set by a signal in this process, or by a file that another process has written.

    A phase may run in a module of Ansible's while the person sits before the command line.
    """

    def __init__(self, file: Path | None = None) -> None:
        """`file` is the run's `RunDir.stop`; without it only this process can ask."""
        self._file, self._asked = file, False

    def request(self) -> None:
        """Ask. Raises OSError when the file cannot be written; the wish then reaches this process only."""
        self._asked = True
        if self._file:
            self._file.touch()

    def clear(self) -> None:
        """Forget the wish, before the run is taken up again."""
        self._asked = False
        if self._file:
            self._file.unlink(missing_ok=True)

    @property
    def requested(self) -> bool:
        """Whether somebody asked."""
        return self._asked or bool(self._file and self._file.exists())

    def heed_interrupts(self) -> None:
        """Let the first SIGINT or SIGTERM of this process ask; a second one ends it in the ordinary way."""
        loop = asyncio.get_running_loop()

        def interrupted() -> None:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
            self.request()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupted)
