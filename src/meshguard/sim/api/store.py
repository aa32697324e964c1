"""Where the objects are: one version counter, what was at each version, and who waits for the next.

Documents are values: they are replaced, never changed in place, so that a list, a watch and a snapshot of the past can
share them. A document has no `apiVersion` and `kind`; these depend on the version in which somebody asks.
"""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any

from meshguard.ports import Clock
from meshguard.sim.api.status import Doc, expired

Key = tuple[str, str]
"""Namespace ("" outside of any) and name."""

HISTORY_S = 300.0
"""How long the past is kept, as etcd's compaction keeps it."""


class Change(Enum):
    """What happened to an object, in the words of a watch."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class Entry:
    """An object in one version. Its JSON is made once, however many ask for it."""

    __slots__ = ("_json", "doc", "key", "version")

    def __init__(self, key: Key, doc: Doc, version: int) -> None:
        self.key, self.doc, self.version = key, doc, version
        self._json: bytes | None = None

    @property
    def json(self) -> bytes:
        """The document as JSON, without `apiVersion` and `kind`."""
        if self._json is None:
            self._json = encoded(self.doc)
        return self._json


def encoded(doc: Any) -> bytes:
    """Compact JSON, as Go's encoder writes it."""
    return json.dumps(doc, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one object."""

    version: int
    change: Change
    new: Entry
    """For a deletion: the object as it was, in the version of its deletion."""
    old: Entry | None
    at: float


class Subscription:
    """Events of a collection that somebody has not taken yet."""

    def __init__(self, collection: Collection, past: Iterable[Event] = ()) -> None:
        self._collection = collection
        self._events: deque[Event] = deque(past)
        self._some = asyncio.Event()
        if self._events:
            self._some.set()
        collection.subscriptions.add(self)

    def put(self, event: Event) -> None:
        """Give it an event."""
        self._events.append(event)
        self._some.set()

    async def wait(self) -> None:
        """Wait until there is something to take."""
        await self._some.wait()

    def take(self) -> list[Event]:
        """Take everything there is."""
        taken = list(self._events)
        self._events.clear()
        self._some.clear()
        return taken

    def close(self) -> None:
        """Take no more."""
        self._collection.subscriptions.discard(self)


class Collection:
    """All objects of one resource."""

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}
        self.order: list[Key] = []
        self.events: deque[Event] = deque()
        self.subscriptions: set[Subscription] = set()

    def record(self, event: Event) -> None:
        """Make an event happen."""
        key = event.new.key
        if event.change is Change.DELETED:
            del self.entries[key]
            del self.order[bisect_left(self.order, key)]
        else:
            if event.change is Change.ADDED:
                insort(self.order, key)
            self.entries[key] = event.new
        self.events.append(event)
        for subscription in self.subscriptions:
            subscription.put(event)


class Store:
    """Everything that the API server knows."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.version = 1
        self.floor = 0
        """Changes up to this version are forgotten."""
        self._collections: dict[str, Collection] = {}
        self.listeners: list[Callable[[str, Event], None]] = []
        """Told of every change at once; the controllers listen here."""

    def collection(self, storage: str) -> Collection:
        """The objects of a resource."""
        return self._collections.setdefault(storage, Collection())

    def get(self, storage: str, namespace: str, name: str) -> Entry | None:
        """Return one object as it is now."""
        return self.collection(storage).entries.get((namespace, name))

    def all(self, storage: str, namespace: str = "") -> list[Entry]:
        """Return the objects of a resource as they are now, everywhere or in a namespace, in order."""
        found = self.collection(storage)
        if not namespace:
            return [found.entries[key] for key in found.order]
        first, last = bisect_left(found.order, (namespace, "")), bisect_left(found.order, (namespace + "\0", ""))
        return [found.entries[key] for key in found.order[first:last]]

    def storages(self) -> list[str]:
        """The resources that have or had objects."""
        return list(self._collections)

    def put(self, storage: str, key: Key, doc: Doc) -> Entry:
        """Create or replace an object and return it in its new version."""
        collection = self.collection(storage)
        old = collection.entries.get(key)
        entry = self._entry(key, doc)
        self._happen(storage, collection, Change.MODIFIED if old else Change.ADDED, entry, old)
        return entry

    def delete(self, storage: str, key: Key) -> Entry:
        """Remove an object and return its last state, in the version of its removal. Raises KeyError."""
        collection = self.collection(storage)
        old = collection.entries[key]
        entry = self._entry(key, old.doc)
        self._happen(storage, collection, Change.DELETED, entry, old)
        return entry

    def _entry(self, key: Key, doc: Doc) -> Entry:
        self.version += 1
        metadata = {**doc["metadata"], "resourceVersion": str(self.version)}
        return Entry(key, {**doc, "metadata": metadata}, self.version)

    def _happen(self, storage: str, collection: Collection, change: Change, new: Entry, old: Entry | None) -> None:
        event = Event(new.version, change, new, old, self.clock.now())
        collection.record(event)
        self._forget(collection, event.at - HISTORY_S)
        for listener in self.listeners:
            listener(storage, event)

    def _forget(self, collection: Collection, before: float) -> None:
        while collection.events and collection.events[0].at < before:
            self.floor = max(self.floor, collection.events.popleft().version)

    def compact(self) -> None:
        """Forget the whole past, as etcd's compaction does."""
        for collection in self._collections.values():
            collection.events.clear()
        self.floor = self.version

    def since(self, storage: str, version: int) -> list[Event]:
        """Return what happened after a version. Raises ApiError (410) when that is forgotten."""
        if version < self.floor:
            raise expired(f"too old resource version: {version} ({self.floor})")
        events = self.collection(storage).events
        start = next((i for i, event in enumerate(events) if event.version > version), len(events))
        return list(islice(events, start, None))

    def as_of(self, storage: str, version: int) -> dict[Key, Entry]:
        """Return all objects as they were at a version. Raises ApiError (410) when that is forgotten."""
        entries = dict(self.collection(storage).entries)
        for event in reversed(self.since(storage, version)):
            if event.old is None:
                del entries[event.new.key]
            else:
                entries[event.new.key] = event.old
        return entries
