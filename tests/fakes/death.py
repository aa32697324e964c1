"""A process that is killed at a chosen moment: from then on nothing that it tries has any effect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from meshguard.journal.entries import Entry
from meshguard.journal.events import Event
from meshguard.journal.journal import Journal
from meshguard.model.objects import Ref
from meshguard.ports import Clock
from tests.fakes.cluster import FakeCluster


class Killed(BaseException):
    """SIGKILL, as far as an exception can be one: no handler for errors sees it."""


class Death:
    """Comes at the moment of this number, counted from 0; never for None."""

    def __init__(self, at: int | None = None) -> None:
        self._at = at
        self.moments = 0
        self.came = False

    def moment(self) -> None:
        """One of the moments at which a process may die."""
        if self.came or self.moments == self._at:
            self.came = True
            raise Killed
        self.moments += 1

    def check(self) -> None:
        """The dead do nothing."""
        if self.came:
            raise Killed

    def threaten(self, cluster: FakeCluster) -> None:
        """Make every write a moment: one before its effect, one after, before the answer arrives."""

        def moment(verb: str, ref: Ref) -> None:
            self.moment()

        cluster.before_write = cluster.after_write = moment
        cluster.before_call = self.check


class MortalJournal(Journal):
    """A journal in which every append is a moment: one before the line is on the disk, one after."""

    death: Death

    @classmethod
    def opened(cls, path: Path, clock: Clock, death: Death) -> MortalJournal:
        """Open as `Journal.open` does."""
        journal = cls.open(path, clock)
        journal.death = death
        return journal

    def append(self, events: Sequence[Event]) -> tuple[Entry, ...]:
        """Append as the base class does."""
        self.death.moment()
        entries = super().append(events)
        self.death.moment()
        return entries
