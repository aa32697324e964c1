"""Answers to "is it so?", with what is missing when it is not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Truth(StrEnum):
    """Three values: what could not be seen is never taken for good."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an expectation holds, how far it has come, and what is still missing."""

    truth: Truth
    done: int = 0
    total: int = 0
    missing: tuple[str, ...] = ()
    source: str = ""
    """Where it was seen: `envoy config_dump`, `kubernetes`, `admission dry-run`."""
    unreachable: int = 0
    """How many of `total` are proxies that never connected to any control plane: nobody waits for them, and they are
    never counted as seen (the rule is in `verify.unreachable`)."""

    @property
    def holds(self) -> bool:
        """True only when it was seen to hold."""
        return self.truth is Truth.YES

    @property
    def is_all_there_is(self) -> bool:
        """Nothing more can be seen by waiting: it holds, or nothing but unreachable proxies keeps it from that."""
        return self.holds or (self.truth is Truth.UNKNOWN and self.unreachable > 0 and not self.missing)


def tally(
    done: int, total: int, missing: tuple[str, ...], unseen: tuple[str, ...], source: str, unreachable: int = 0
) -> Verdict:
    """Make the verdict of many parts: a missing one means no, one that could not be seen means unknown."""
    truth = Truth.NO if missing else Truth.UNKNOWN if unseen or unreachable else Truth.YES
    return Verdict(truth, done, total, missing + unseen, source, unreachable)
