"""Reads what the load generator recorded: one line per request, whatever became of it."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OK = "ok"
_NANOSECONDS = 1_000_000_000


class RecordsError(Exception):
    """The records cannot be relied on: a line is missing, broken, or there twice."""


@dataclass(frozen=True)
class Leg:
    """One hop of a request, as its caller saw it."""

    edge: str
    protocol: str
    at: int
    """When it was sent, in unix nanoseconds."""
    microseconds: int
    outcome: str
    status: int
    connection: str
    """``new``, ``reused``, or empty if there was none."""
    pod: str
    """Who answered, as ``pod#start``."""
    nonce: bool
    """Whether the answer was made for this very request."""
    attempts: int
    """How often the mesh sent it, as far as the callee could see; 0 if it could not."""
    flags: str
    error: str

    @property
    def failed(self) -> bool:
        """Whether the callee did not answer as it should have."""
        return self.outcome != OK


@dataclass(frozen=True)
class Request:
    """One request of the load generator."""

    sequence: int
    identity: str
    """The request id; Envoy's access logs have it too."""
    at: int
    """When it was due, in unix nanoseconds."""
    edge: str
    """Whom it measures: ``caller->callee``."""
    protocol: str
    fresh: bool
    outcome: str
    failed_edge: str
    """The hop that failed, or empty."""
    lag_microseconds: int
    """How late the generator itself was."""
    microseconds: int
    """From when it was due to the whole answer."""
    legs: tuple[Leg, ...]

    @property
    def failed(self) -> bool:
        """Whether it was not answered in time, by the right pod, over every hop."""
        return self.outcome != OK

    @property
    def failed_protocol(self) -> str:
        """The protocol of the hop that failed; of the edge where no hop was tried."""
        return next((leg.protocol for leg in self.legs if leg.failed), self.protocol)

    @property
    def second(self) -> int:
        """The wall clock's second in which it was due."""
        return self.at // _NANOSECONDS


@dataclass(frozen=True)
class StreamEvent:
    """A held gRPC stream was opened or closed."""

    at: int
    """In unix nanoseconds."""
    edge: str
    event: str
    """``opened`` or ``closed``."""
    pod: str
    open_milliseconds: int
    longest_gap_milliseconds: int
    code: str
    reason: str


@dataclass(frozen=True)
class Summary:
    """The generator's own account at the end of a run."""

    run: str
    started: int
    stopped: int
    reason: str
    due: int
    sent: int
    recorded: int
    failed: int
    error: str


@dataclass(frozen=True)
class Window:
    """A span of time, from ``start`` up to but without ``end``, in unix nanoseconds."""

    start: int
    end: int

    def __contains__(self, at: object) -> bool:
        return isinstance(at, int) and self.start <= at < self.end

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.start) / _NANOSECONDS


@dataclass(frozen=True)
class EdgeStats:
    """What became of the requests of one edge in one window."""

    edge: str
    protocol: str
    sent: int
    failed: int
    failure_seconds: int
    """Seconds of the wall clock in which at least one request failed."""
    p50_milliseconds: float
    p99_milliseconds: float
    new: int
    """Requests that the edge's own caller sent on a new connection."""
    reused: int
    retried: int
    """Requests that some callee saw more than once."""
    failures: Counter[str]
    """How often each ``failed edge: outcome`` was seen."""


@dataclass(frozen=True)
class Records:
    """What one run recorded; ``summary`` is None as long as it goes on."""

    requests: tuple[Request, ...]
    streams: tuple[StreamEvent, ...]
    summary: Summary | None

    def within(self, window: Window) -> Records:
        """Return only what was due, or happened, in the window."""
        return Records(
            tuple(request for request in self.requests if request.at in window),
            tuple(event for event in self.streams if event.at in window),
            self.summary,
        )

    def failures(self) -> tuple[Request, ...]:
        """Return the requests that failed, in the order in which they were due."""
        return tuple(sorted((request for request in self.requests if request.failed), key=lambda r: r.at))

    def longest_lag_milliseconds(self) -> float:
        """Return how late the generator itself was at its worst: above some 100 ms the machine was overloaded."""
        return max((request.lag_microseconds for request in self.requests), default=0) / 1000

    def stream_closings(self) -> tuple[StreamEvent, ...]:
        """Return the closings of the held streams."""
        return tuple(event for event in self.streams if event.event == "closed")

    def edges(self) -> dict[str, EdgeStats]:
        """Return the figures of every edge, by its name."""
        by_edge: dict[str, list[Request]] = defaultdict(list)
        for request in self.requests:
            by_edge[request.edge].append(request)
        return {edge: _stats(edge, requests) for edge, requests in sorted(by_edge.items())}

    def check_complete(self) -> Summary:
        """Assert that every request that was due was sent, and recorded once.

        Call it on the whole run, not on a window of it.

        Raises:
            RecordsError: If the run has not ended, or due, sent and recorded differ.
        """
        summary = self.summary
        if summary is None:
            raise RecordsError("the run has no summary: it still goes on, or was killed")
        if summary.error:
            raise RecordsError(f"the generator could not write everything: {summary.error}")
        counts = {
            "due": summary.due,
            "sent": summary.sent,
            "recorded": summary.recorded,
            "read": len(self.requests),
            "different": len({request.sequence for request in self.requests}),
        }
        if len(set(counts.values())) != 1:
            raise RecordsError("the counts differ: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
        return summary


def read(path: Path) -> Records:
    """Read the records of one run.

    Raises:
        RecordsError: If a line is none of the generator's.
    """
    with path.open(encoding="utf-8") as lines:
        return parse(lines)


def parse(lines: Iterable[str]) -> Records:
    """Read records from lines of JSON.

    Raises:
        RecordsError: If a line is none of the generator's.
    """
    requests: list[Request] = []
    streams: list[StreamEvent] = []
    summary: Summary | None = None
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            match record["kind"]:
                case "request":
                    requests.append(_request(record))
                case "stream":
                    streams.append(_stream_event(record))
                case "summary":
                    summary = _summary(record)
                case other:
                    raise RecordsError(f"line {number}: unknown kind {other!r}")
        except (ValueError, KeyError, TypeError) as error:
            raise RecordsError(f"line {number} is no record: {error!r}") from error
    return Records(tuple(requests), tuple(streams), summary)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` (0 to 1) of all values do not exceed; NaN if none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def _stats(edge: str, requests: Sequence[Request]) -> EdgeStats:
    failures = [request for request in requests if request.failed]
    own_legs = [leg for request in requests for leg in _own_legs(request)]
    milliseconds = [request.microseconds / 1000 for request in requests]
    return EdgeStats(
        edge=edge,
        protocol=requests[0].protocol,
        sent=len(requests),
        failed=len(failures),
        failure_seconds=len({request.second for request in failures}),
        p50_milliseconds=percentile(milliseconds, 0.50),
        p99_milliseconds=percentile(milliseconds, 0.99),
        new=sum(leg.connection == "new" for leg in own_legs),
        reused=sum(leg.connection == "reused" for leg in own_legs),
        retried=sum(any(leg.attempts > 1 for leg in request.legs) for request in requests),
        failures=Counter(f"{request.failed_edge}: {request.outcome}" for request in failures),
    )


def _own_legs(request: Request) -> Iterator[Leg]:
    return (leg for leg in request.legs if leg.edge == request.edge)


def _request(record: dict[str, Any]) -> Request:
    return Request(
        sequence=record["seq"],
        identity=record["id"],
        at=record["at"],
        edge=record["edge"],
        protocol=record["protocol"],
        fresh=record["fresh"],
        outcome=record["outcome"],
        failed_edge=record.get("failed_edge", ""),
        lag_microseconds=record["lag_us"],
        microseconds=record["us"],
        legs=tuple(_leg(leg) for leg in record["legs"] or ()),
    )


def _leg(record: dict[str, Any]) -> Leg:
    return Leg(
        edge=record["edge"],
        protocol=record["protocol"],
        at=record["at"],
        microseconds=record["us"],
        outcome=record["outcome"],
        status=record.get("status", 0),
        connection=record.get("conn", ""),
        pod=record.get("pod", ""),
        nonce=record["nonce"],
        attempts=record.get("attempts", 0),
        flags=record.get("flags", ""),
        error=record.get("error", ""),
    )


def _stream_event(record: dict[str, Any]) -> StreamEvent:
    return StreamEvent(
        at=record["at"],
        edge=record["edge"],
        event=record["event"],
        pod=record.get("pod", ""),
        open_milliseconds=record.get("ms", 0),
        longest_gap_milliseconds=record.get("gap_ms", 0),
        code=record.get("code", ""),
        reason=record.get("reason", ""),
    )


def _summary(record: dict[str, Any]) -> Summary:
    return Summary(
        run=record["run"],
        started=record["started"],
        stopped=record["stopped"],
        reason=record["reason"],
        due=record["due"],
        sent=record["sent"],
        recorded=record["recorded"],
        failed=record["failed"],
        error=record.get("error", ""),
    )
