"""The lines of a journal: canonical JSON, each chained to the one before by its hash.

A line is only accepted when it is byte for byte what its content would be written as; so no byte of a complete
line can change unseen. A journal that was cut at the end of a line is found by comparing its head with the mirror.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshguard.journal.errors import JournalError
from meshguard.journal.events import Event, event_from

GENESIS = "0" * 64
"""What the first entry is chained to."""

_OWN_KEYS = ("seq", "at", "event", "prev", "hash")


@dataclass(frozen=True, slots=True)
class Head:
    """The last entry of a chain; the next one continues it."""

    seq: int = 0
    hash: str = GENESIS

    def __str__(self) -> str:
        return f"{self.seq} {self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Read back what `str` makes. Raises ValueError."""
        seq, _, digest = text.partition(" ")
        return cls(int(seq), digest)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: what happened, when (RFC 3339, UTC), and its place in the chain."""

    seq: int
    at: str
    event: Event
    prev: str
    hash: str
    line: bytes = field(default=b"", repr=False)
    """As it stands in the file, its newline included."""

    @property
    def head(self) -> Head:
        """The chain's head after this entry."""
        return Head(self.seq, self.hash)


def compose(event: Event, at: str, head: Head) -> Entry:
    """Make the entry that continues the chain."""
    body = {"seq": head.seq + 1, "at": at, "event": event.name, **event.payload(), "prev": head.hash}
    digest = _digest(body)
    return Entry(head.seq + 1, at, event, head.hash, digest, _canonical({**body, "hash": digest}) + b"\n")


def parse(line: bytes, head: Head) -> Entry:
    """Read a line (its newline included) that must continue the chain. Raises JournalError when it does not."""
    number = head.seq + 1
    try:
        body = json.loads(line)
    except ValueError as error:
        raise JournalError(f"entry {number} is not JSON; the journal was changed after it was written") from error
    if not isinstance(body, dict) or _canonical(body) + b"\n" != line:
        raise JournalError(f"entry {number} is not as meshguard writes it; the journal was changed afterwards")
    claimed = body.pop("hash", None)
    if (body.get("seq"), body.get("prev"), _digest(body)) != (number, head.hash, claimed):
        raise JournalError(f"entry {number} does not continue the chain of hashes; the journal was changed afterwards")
    payload = {key: value for key, value in body.items() if key not in _OWN_KEYS}
    return Entry(number, body["at"], event_from(body["event"], payload), head.hash, claimed, line)


def read(data: bytes) -> tuple[tuple[Entry, ...], bytes]:
    """Read and verify what a journal holds: its entries, and the torn tail. Raises JournalError."""
    lines, tail = split(data)
    return chained(lines, Head()), tail


def chained(lines: Iterable[bytes], head: Head) -> tuple[Entry, ...]:
    """Read complete lines that must continue the chain. Raises JournalError when one does not."""
    entries = []
    for line in lines:
        entries.append(parse(line, head))
        head = entries[-1].head
    return tuple(entries)


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """Split what a journal holds into complete lines and a torn tail (b"" when there is none).

    A writer that was killed leaves the beginning of a line. Raises JournalError when the tail is more than that:
    then its newline was overwritten.
    """
    *lines, tail = data.split(b"\n")
    if tail and _goes_beyond_an_entry(tail):
        raise JournalError("the last line goes on after its entry; the journal was changed afterwards")
    return [line + b"\n" for line in lines], tail


def _goes_beyond_an_entry(tail: bytes) -> bool:
    text = tail.decode("utf-8", errors="replace")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return False
    return end < len(text)


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(body)).hexdigest()
