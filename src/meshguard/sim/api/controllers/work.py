"""The queue between what happens and who has to look: each key is looked at once, however often it was named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from meshguard.sim.api.objects import Objects
from meshguard.sim.api.store import Event, Key
from meshguard.sim.clock import SimClock

_AT_ONCE = 20
"""Keys that are looked at before requests get their turn again."""


class Controller(Protocol):
    """Looks after the objects of some kind."""

    def concerned(self, storage: str, event: Event) -> Iterable[Key]:
        """Say which of its objects a change concerns."""
        ...

    def reconcile(self, key: Key) -> float | None:
        """Do what has to be done for an object; return the seconds after which to look again, if there is a need."""
        ...


class Work:
    """Calls the controllers."""

    def __init__(self, objects: Objects, clock: SimClock) -> None:
        self._clock = clock
        self._controllers: list[Controller] = []
        self._queue: dict[tuple[int, Key], None] = {}
        self._pumping = False
        self.limited = True
        objects.store.listeners.append(self._heard)
        clock.busy.append(lambda: bool(self._queue))

    def add(self, controllers: Sequence[Controller]) -> None:
        """Let these controllers work as well."""
        self._controllers.extend(controllers)

    def _heard(self, storage: str, event: Event) -> None:
        for number, controller in enumerate(self._controllers):
            for key in controller.concerned(storage, event):
                self._put(number, key)

    def _put(self, number: int, key: Key) -> None:
        self._queue[number, key] = None
        if self._pumping:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # nobody waits: `settle` does it
        self._pumping = True
        loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        for _ in range(_AT_ONCE):
            if not self._queue:
                return
            self._next()
        self._pumping = True
        asyncio.get_running_loop().call_soon(self._pump)

    def _next(self) -> None:
        number, key = next(iter(self._queue))
        del self._queue[number, key]
        again = self._controllers[number].reconcile(key)
        if again is not None:
            self._clock.call_later(again, lambda: self._put(number, key))

    def settle(self) -> None:
        """Do everything that can be done at this moment of the clock."""
        self._clock.run_due()
        while self._queue:
            self._next()
            self._clock.run_due()
