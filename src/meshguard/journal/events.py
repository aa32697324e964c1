"""What a journal says: one frozen class per event, and its JSON form.

A field that has its default value is not written; so an absent field (ABSENT) is a missing key, never `null`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, ClassVar

from meshguard.journal.errors import JournalError
from meshguard.model.change import ABSENT
from meshguard.model.objects import Ref
from meshguard.model.plan import Step
from meshguard.model.verdict import Truth, Verdict


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run."""

    name: ClassVar[str] = ""

    def payload(self) -> dict[str, Any]:
        """The JSON form of the event's own fields."""
        return {
            _camel(f.name): _plain(value) for f in fields(self) if (value := getattr(self, f.name)) != _default_of(f)
        }


@dataclass(frozen=True, slots=True)
class PhaseShape(Event):
    """How big a phase is; part of `run-opened`, so that progress has totals without the plan."""

    phase: str
    title: str
    waves: int
    steps: int


@dataclass(frozen=True, slots=True)
class RunOpened(Event):
    """A person began a run; nothing has been changed yet."""

    name: ClassVar[str] = "run-opened"
    run: str
    direction: str
    mesh: str
    cluster_uid: str
    context: str
    plan_hash: str
    person: str
    reason: str
    namespaces: tuple[str, ...]
    phases: tuple[PhaseShape, ...]
    of_run: str = ""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """For each object concerned a digest of what it was before."""
    deadline_s: float = 0.0
    """How long the run may take, in seconds; 0 for as long as its waits allow."""


@dataclass(frozen=True, slots=True)
class RunResumed(Event):
    """A person took an unfinished run up again."""

    name: ClassVar[str] = "run-resumed"
    person: str
    reason: str
    from_mirror: bool = False
    """This machine had no journal of the run, or an older one, and took the mirror's."""
    lost: int = 0
    """Entries that the cluster has heard of and nobody has any more; their steps are compared with the objects."""
    deadline_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LeaseTaken(Event):
    """The cluster was taken from another holder, or from this run's own on another machine."""

    name: ClassVar[str] = "lease-taken"
    holder: str
    run: str
    expired: bool
    """It had not been renewed; otherwise a person insisted (`--take-over`)."""


@dataclass(frozen=True, slots=True)
class LeaseLost(Event):
    """Somebody has taken the cluster from this run; nothing was begun from then on."""

    name: ClassVar[str] = "lease-lost"
    sentence: str


@dataclass(frozen=True, slots=True)
class PhaseStarted(Event):
    """A phase begins."""

    name: ClassVar[str] = "phase-started"
    phase: str


@dataclass(frozen=True, slots=True)
class WaveStarted(Event):
    """A wave begins; the mirror in the cluster holds its intents."""

    name: ClassVar[str] = "wave-started"
    phase: str
    wave: int


@dataclass(frozen=True, slots=True)
class Intent(Event):
    """The step is about to be done; on disk before the request leaves."""

    name: ClassVar[str] = "intent"
    step: Step


@dataclass(frozen=True, slots=True)
class Done(Event):
    """The step has had its effect."""

    name: ClassVar[str] = "done"
    step_id: str
    resource_version: str = ""
    created_uid: str = ""


@dataclass(frozen=True, slots=True)
class Skipped(Event):
    """The step needs no effect."""

    name: ClassVar[str] = "skipped"
    step_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Conflicted(Event):
    """Somebody else has been at the object: it was left as it is."""

    name: ClassVar[str] = "conflict"
    step_id: str
    object: Ref
    sentence: str
    path: tuple[str, ...] = ()
    expected: Any = ABSENT
    found: Any = ABSENT


@dataclass(frozen=True, slots=True)
class Awaiting(Event):
    """A condition is awaited, and this is how far it has come; written when the verdict changes."""

    name: ClassVar[str] = "awaiting"
    await_id: str
    sentence: str
    truth: Truth
    done: int = 0
    total: int = 0
    missing: tuple[str, ...] = ()
    source: str = ""
    deadline_s: float = 0.0
    unreachable: int = 0


@dataclass(frozen=True, slots=True)
class Seen(Event):
    """The awaited condition was seen to hold."""

    name: ClassVar[str] = "seen"
    await_id: str
    after_s: float


@dataclass(frozen=True, slots=True)
class Unverified(Event):
    """The condition is awaited no longer, though not all was seen: the rest are proxies that never connected."""

    name: ClassVar[str] = "unverified"
    await_id: str
    after_s: float
    done: int
    total: int
    unreachable: int


@dataclass(frozen=True, slots=True)
class PhaseFinished(Event):
    """A phase is over; `outcome` is `done` or, when conflicts were left behind, `partial`."""

    name: ClassVar[str] = "phase-finished"
    phase: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """The phase could not go on: `outcome` says of which sort, `cause` why."""

    name: ClassVar[str] = "failed"
    phase: str
    outcome: str
    sentence: str
    cause: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stopped(Event):
    """The run stands still at a safe point: somebody asked, time is up, or somebody else has changed an object."""

    name: ClassVar[str] = "stopped"
    phase: str
    outcome: str
    sentence: str
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """Every phase is over."""

    name: ClassVar[str] = "run-finished"
    outcome: str
    sentence: str = ""


_EVENTS: dict[str, type[Event]] = {
    event.name: event
    for event in (
        RunOpened,
        RunResumed,
        LeaseTaken,
        LeaseLost,
        PhaseStarted,
        WaveStarted,
        Intent,
        Done,
        Skipped,
        Conflicted,
        Awaiting,
        Seen,
        Unverified,
        PhaseFinished,
        Failed,
        Stopped,
        RunFinished,
    )
}

_READERS: dict[str, Callable[[Any], Any]] = {
    "namespaces": tuple,
    "phases": lambda shapes: tuple(PhaseShape(**shape) for shape in shapes),
    "step": Step.from_json,
    "object": Ref.parse,
    "path": tuple,
    "truth": Truth,
    "missing": tuple,
}
"""How fields are read back whose JSON form is not their value, by field; all others are plain JSON."""

MISSING_SHOWN = 20
"""How many missing things an entry names; the rest is a number, so that an entry stays small in a large mesh."""


def awaiting(await_id: str, sentence: str, verdict: Verdict, deadline_s: float) -> Awaiting:
    """Make the event that says how far a condition has come."""
    return Awaiting(
        await_id,
        sentence,
        verdict.truth,
        verdict.done,
        verdict.total,
        shortened(verdict.missing),
        verdict.source,
        deadline_s,
        verdict.unreachable,
    )


def shortened(missing: tuple[str, ...]) -> tuple[str, ...]:
    """The first names, and how many more there are."""
    if len(missing) <= MISSING_SHOWN:
        return missing
    return (*missing[:MISSING_SHOWN], f"and {len(missing) - MISSING_SHOWN} more")


def event_from(name: str, payload: Mapping[str, Any]) -> Event:
    """Read an event back. Raises JournalError for one that this version does not know."""
    kind = _EVENTS.get(name)
    if kind is None:
        raise JournalError(f"the event {name!r} is unknown to this version of meshguard; use the one that wrote it")
    known = {_camel(f.name): f.name for f in fields(kind)}
    try:
        return kind(**{known[key]: _READERS.get(key, _as_is)(value) for key, value in payload.items()})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise JournalError(f"the event {name!r} is not as this version of meshguard writes it: {error}") from error


def _as_is(value: Any) -> Any:
    return value


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match.group(1).upper(), name)


def _default_of(of: Field[Any]) -> Any:
    if of.default_factory is not MISSING:
        return of.default_factory()
    return of.default


def _plain(value: Any) -> Any:
    match value:
        case Step():
            return value.to_json()
        case Event():
            return value.payload()
        case Ref():
            return str(value)
        case tuple():
            return [_plain(item) for item in value]
    return value
