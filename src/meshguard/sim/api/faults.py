"""What goes wrong between a client and the simulated API server, by switch.

Every decision is drawn from the seed, the request and how often the same request has come before. Requests that
overtake each other do not change it, so a seed tells the same story again.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum, auto
from random import Random
from typing import Any

from meshguard.sim.api.status import ApiError

_LONGEST_LATENCY_S = 60.0


@dataclass(frozen=True, slots=True)
class Faults:
    """How much goes wrong; shares are of requests (or events), from 0 to 1."""

    latency_s: float = 0.0
    """Each answer is late by up to so many seconds of this machine."""
    too_many: float = 0.0
    """Share of requests that are told to come again: 429 with Retry-After."""
    retry_after_s: float = 1.0
    server_errors: float = 0.0
    """Share of requests that get a 500, 503 or 504; a write may have been made all the same."""
    resets: float = 0.0
    """Share of requests whose connection breaks, before or after they are carried out."""
    lost_events: float = 0.0
    """Share of the events of watches that never arrive."""
    outage: bool = False
    """Nobody answers; every connection is closed."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("too_many", "server_errors", "resets", "lost_events"):
            _check(name, getattr(self, name), 1.0)
        for name in ("latency_s", "retry_after_s"):
            _check(name, getattr(self, name), _LONGEST_LATENCY_S)
        if not isinstance(self.outage, bool):
            raise ValueError("outage must be true or false")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise ValueError("seed must be a whole number")
        if self.too_many + self.server_errors + self.resets > 1:
            raise ValueError("too_many, server_errors and resets are more than 1 together")

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Faults:
        """Read them. Raises ValueError with a sentence."""
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(document) - set(known)):
            raise ValueError(f"no such fault: {', '.join(unknown)}; there are {', '.join(known)}")
        return cls(**document)

    def to_json(self) -> dict[str, Any]:
        """The form in which they are read."""
        return asdict(self)


def _check(name: str, value: object, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number")
    if not 0 <= value <= most:
        raise ValueError(f"{name} must be from 0 to {most:g}")


class Break(Enum):
    """When a connection breaks."""

    BEFORE = auto()
    """The request is not carried out."""
    AFTER = auto()
    """The request is carried out, and nobody hears of it."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one request."""

    wait_s: float = 0.0
    refusal: ApiError | None = None
    carried_out: bool = True
    """Whether it is carried out although it is refused."""
    breaks: Break | None = None
    loses: Random | None = None
    """Decides which events of a watch are lost."""


_CALM = Fate()
_ERRORS = (
    ApiError(500, "InternalError", "Internal error occurred: etcdserver: leader changed"),
    ApiError(503, "ServiceUnavailable", "the server is currently unable to handle the request"),
    ApiError(504, "Timeout", "Timeout: request did not complete within the allotted timeout"),
)


class Trouble:
    """The faults that are switched on, and what they do to each request."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()
        self.faults = Faults()

    def switch(self, faults: Faults) -> None:
        """From now on these; the story begins anew."""
        self.faults = faults
        self._seen.clear()

    def fate(self, method: str, path: str) -> Fate:
        """Decide on a request, `path` with its query."""
        faults = self.faults
        if faults == Faults():
            return _CALM
        if faults.outage:
            return Fate(breaks=Break.BEFORE)
        key = f"{method} {path}"
        self._seen[key] += 1
        dice, writes = Random(f"{faults.seed} {self._seen[key]} {key}"), method not in ("GET", "HEAD")
        wait, which, other = dice.random() * faults.latency_s, dice.random(), dice.random()
        if which < faults.too_many:
            after = {"Retry-After": f"{math.ceil(faults.retry_after_s)}"}
            words = "Too many requests, please try again later."
            return Fate(wait, ApiError(429, "TooManyRequests", words, None, after), carried_out=False)
        which -= faults.too_many
        if which < faults.server_errors:
            error = _ERRORS[int(other * len(_ERRORS))]
            return Fate(wait, error, carried_out=writes and error.code == 504 and dice.random() < 0.5)
        which -= faults.server_errors
        if which < faults.resets:
            return Fate(wait, breaks=Break.AFTER if writes and other < 0.5 else Break.BEFORE)
        return Fate(wait, loses=dice if faults.lost_events else None)

    async def thinned(self, stream: AsyncIterator[bytes], dice: Random) -> AsyncIterator[bytes]:
        """The events of a watch without those that are lost; bookmarks arrive, and tell nothing of the loss."""
        try:
            async for chunk in stream:
                kept = [line for line in chunk.splitlines(keepends=True) if not self._is_lost(line, dice)]
                if kept:
                    yield b"".join(kept)
        finally:
            close = getattr(stream, "aclose", None)
            if close is not None:
                await close()

    def _is_lost(self, line: bytes, dice: Random) -> bool:
        return dice.random() < self.faults.lost_events and json.loads(line)["type"] not in ("BOOKMARK", "ERROR")
