"""What can be wrong with a record, said in one sentence for a person."""

from __future__ import annotations


class JournalError(Exception):
    """A journal cannot be written, or what it says cannot be trusted."""


class JournalInUse(JournalError):
    """Another process is executing this run at this moment."""


class LeaseHeld(JournalError):
    """Another run is at work on the cluster."""


class LeaseLost(JournalError):
    """Another run, or this one on another machine, has taken the cluster over."""


class RecordError(JournalError):
    """The mirror of a run in the cluster cannot be read."""
