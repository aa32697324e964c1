"""How a phase, or a whole run, came out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from meshguard.ports import ClusterError, Forbidden, Rejected, Unreachable


class Result(StrEnum):
    """The sort of outcome; the command line maps it to an exit code."""

    DONE = "done"
    PARTIAL = "partial"
    """Something was left alone because somebody else had changed it, or because time was up."""
    VERIFICATION_FAILED = "verification-failed"
    """A condition was not seen within its deadline."""
    STOPPED = "stopped"
    """A person asked for it; the run stands at a safe point."""
    FAILED = "failed"
    """The cluster refused or did not answer."""


class Cause(StrEnum):
    """Why the cluster did not do what was asked."""

    NONE = ""
    UNREACHABLE = "unreachable"
    FORBIDDEN = "forbidden"
    REJECTED = "rejected"
    ORDER = "order"
    """The phase was asked for before those that make it safe."""
    TAKEN_OVER = "taken-over"
    """Another run, or this one on another machine, has taken the cluster over."""
    DEFECT = "defect"
    """An error that meshguard did not foresee."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A result, one sentence for a person, and the particulars."""

    result: Result
    sentence: str
    goes_on: bool = False
    """The next phase may run."""
    cause: Cause = Cause.NONE
    missing: tuple[str, ...] = ()
    """What an awaited condition still lacks."""
    conflicts: tuple[str, ...] = ()
    """One sentence for each object that was left alone."""
    undo: tuple[str, ...] = ()
    """Objects that the plan wants back as they were, because a condition that it set for them was not seen."""

    def to_json(self) -> dict[str, Any]:
        """The public JSON form."""
        return {
            "result": self.result.value,
            "sentence": self.sentence,
            "goesOn": self.goes_on,
            "cause": self.cause.value,
            "missing": list(self.missing),
            "conflicts": list(self.conflicts),
        }


def refused(error: ClusterError, doing: str) -> Outcome:
    """Make the outcome of something that the cluster did not let us do."""
    return Outcome(Result.FAILED, f"{doing}: {error}", cause=_cause_of(error))


def _cause_of(error: ClusterError) -> Cause:
    match error:
        case Unreachable():
            return Cause.UNREACHABLE
        case Forbidden():
            return Cause.FORBIDDEN
        case Rejected():
            return Cause.REJECTED
    return Cause.NONE
