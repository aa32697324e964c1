"""Many writers, few fsyncs: what is recorded while the disk is busy goes into the next write together."""

from __future__ import annotations

import asyncio

from meshguard.journal.events import Event
from meshguard.journal.journal import Journal


class Scribe:
    """Lets concurrent tasks append to one journal; each waits until its own events are on the disk."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: list[tuple[tuple[Event, ...], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def record(self, *events: Event) -> None:
        """Append and return when the events are on the disk. Raises JournalError when they may not be."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, written))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())
        await written

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._journal.append, [event for events, _ in batch for event in events])
            except BaseException as error:
                for _, written in batch:
                    if not written.done():
                        written.set_exception(error)
            else:
                for _, written in batch:
                    if not written.done():
                        written.set_result(None)
        self._writer = None
