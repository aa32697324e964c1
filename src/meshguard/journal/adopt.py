"""Take a run up: with the journal of this machine, or, where that is missing or behind, with the mirror's.

The mirror is written before a wave's first write and names all its intents. What the journal said after that is
rebuilt: the engine does those steps again, and a step whose object has its effect already is written down as done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from meshguard.journal.entries import Entry, Head, read
from meshguard.journal.errors import JournalError, JournalInUse, RecordError
from meshguard.journal.journal import in_use, read_entries, write_entries
from meshguard.journal.records import RunRecord
from meshguard.journal.rundir import RunDir, write_folder


@dataclass(frozen=True, slots=True)
class TakenUp:
    """A run that can go on from this machine."""

    folder: RunDir
    from_mirror: bool
    """This machine had no journal of the run, or an older one."""
    lost: int
    """Entries that the cluster has heard of and nobody has any more."""
    set_aside: Path | None = None
    """Where the journal of this machine went, if it is another branch of the run than the mirror's."""
    had: int = 0
    """How many entries this machine's journal had; 0 when there was none."""

    def sentences(self) -> Iterator[str]:
        """Say what was not as it should be: a journal that was cut must show."""
        if self.from_mirror and self.had and not self.set_aside:
            yield f"the journal of this machine ended after entry {self.had}; what the mirror knows besides was added"
        elif self.from_mirror and not self.set_aside:
            yield "this machine had no journal of the run; the mirror's is used"
        if self.set_aside:
            yield f"the journal of this machine went another way than the mirror; it is kept as {self.set_aside}"
        if self.lost:
            yield f"{self.lost} entries that the cluster has heard of are lost; their steps are compared with objects"


def take_up(runs: Path, record: RunRecord, heard: Head | None, token: str) -> TakenUp:
    """Make the run's folder on this machine hold everything that is known of the run.

    `heard` is the head of the run's journal as the Lease has it, `token` what a new folder is told apart by. Raises
    JournalInUse while another process executes the run here, JournalError for a local journal or a mirror that cannot
    be trusted.
    """
    known = mirrored(record)
    folder = RunDir(runs / record.run)
    if not folder.path.is_dir():
        write_folder(folder, record.plan, token)
        write_entries(folder.journal, known)
        return TakenUp(folder, True, _lost(known, heard))
    if in_use(folder.journal):
        raise JournalInUse(f"another process is executing this run now: {folder.journal} is locked")
    local = read_entries(folder.journal)
    if _continues(local, known):
        return TakenUp(folder, False, _lost(local, heard))
    aside = None if _continues(known, local) else _set_aside(folder)
    write_entries(folder.journal, known)
    return TakenUp(folder, True, _lost(known, heard), aside, len(local))


def mirrored(record: RunRecord) -> tuple[Entry, ...]:
    """Read and verify the journal that a mirror holds. Raises RecordError when it cannot be trusted."""
    try:
        entries, _ = read(record.journal)
    except JournalError as error:
        raise RecordError(f"the mirror of the run {record.run} cannot be trusted: {error}") from error
    if not entries or not _has(entries, record.head):
        raise RecordError(f"the mirror of the run {record.run} was cut: it should have {record.head.seq} entries")
    return entries


def _has(entries: Sequence[Entry], head: Head) -> bool:
    return head.seq == 0 or (head.seq <= len(entries) and entries[head.seq - 1].hash == head.hash)


def _continues(longer: Sequence[Entry], shorter: Sequence[Entry]) -> bool:
    return not shorter or _has(longer, shorter[-1].head)


def _lost(known: Sequence[Entry], heard: Head | None) -> int:
    return max(0, heard.seq - len(known)) if heard else 0


def _set_aside(folder: RunDir) -> Path:
    paths = (folder.path / f"journal.superseded-{number}.jsonl" for number in count(1))
    free = next(path for path in paths if not path.exists())
    return folder.journal.rename(free)
