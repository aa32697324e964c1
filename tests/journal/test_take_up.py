"""A run is taken up from this machine's journal or from the mirror, whichever knows more; what is lost is told."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from meshguard.journal.adopt import take_up
from meshguard.journal.entries import Head
from meshguard.journal.errors import JournalError, JournalInUse, RecordError
from meshguard.journal.events import PhaseStarted
from meshguard.journal.journal import Journal, read_entries
from meshguard.journal.records import RunRecord
from meshguard.journal.rundir import RunDir
from tests.fakes.world import World, exit_plan


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "here")


@pytest.fixture
def folder(world: World) -> RunDir:
    """A run whose first phase is over."""
    plan = exit_plan()
    folder = world.begin(plan)
    world.phase(folder, plan, "relax")
    asyncio.run(world.records.put(mirror(world, folder, executed=True)))
    return folder


def mirror(world: World, folder: RunDir, *, executed: bool = False) -> RunRecord:
    if executed:
        with world.executor(folder) as executor:
            return executor._record(exit_plan())
    record = asyncio.run(world.records.load(folder.run))
    assert record is not None
    return record


def test_elsewhere_the_mirror_becomes_the_journal_byte_for_byte(world: World, folder: RunDir, tmp_path: Path) -> None:
    taken = take_up(tmp_path / "there", mirror(world, folder), None, "7f3a")
    assert (taken.from_mirror, taken.lost) == (True, 0)
    assert list(taken.sentences()) == ["this machine had no journal of the run; the mirror's is used"]
    assert taken.folder.journal.read_bytes() == folder.journal.read_bytes()
    assert taken.folder.read_plan() == folder.read_plan()
    assert taken.folder.token() == "7f3a" != folder.token()


def test_a_journal_here_that_knows_more_is_kept(world: World, folder: RunDir) -> None:
    record = mirror(world, folder)
    with Journal.open(folder.journal, world.clock) as journal:
        journal.append([PhaseStarted("un-enrol")])
    taken = take_up(world.runs, record, record.head, "")
    assert (taken.from_mirror, taken.lost) == (False, 0)
    assert read_entries(folder.journal)[-1].event == PhaseStarted("un-enrol")


def test_a_journal_here_that_was_cut_is_completed_from_the_mirror(world: World, folder: RunDir) -> None:
    whole = folder.journal.read_bytes()
    folder.journal.write_bytes(b"".join(whole.splitlines(keepends=True)[:-2]))
    taken = take_up(world.runs, mirror(world, folder), None, "")
    assert (taken.from_mirror, taken.set_aside) == (True, None)
    (cut,) = taken.sentences()
    assert cut.startswith(f"the journal of this machine ended after entry {len(whole.splitlines()) - 2};")
    assert folder.journal.read_bytes() == whole


def test_a_journal_that_went_another_way_is_set_aside_and_not_lost(world: World, folder: RunDir) -> None:
    lines = folder.journal.read_bytes().splitlines(keepends=True)
    folder.journal.write_bytes(b"".join(lines[:-1]))
    with Journal.open(folder.journal, world.clock) as journal:
        journal.append([PhaseStarted("verify")])
    other_way = folder.journal.read_bytes()
    taken = take_up(world.runs, mirror(world, folder), None, "")
    assert taken.set_aside is not None
    assert taken.set_aside.read_bytes() == other_way
    assert str(taken.set_aside) in next(taken.sentences())
    assert folder.journal.read_bytes() == b"".join(lines)


def test_entries_that_only_the_cluster_has_heard_of_are_counted(world: World, folder: RunDir, tmp_path: Path) -> None:
    record = mirror(world, folder)
    heard = Head(record.head.seq + 3, "a" * 64)
    taken = take_up(tmp_path / "there", record, heard, "7f3a")
    assert taken.lost == 3
    assert "3 entries that the cluster has heard of are lost" in list(taken.sentences())[-1]
    assert take_up(world.runs, record, heard, "").lost == 3, "a journal here that ends before it was cut"


def test_a_mirror_that_was_cut_or_changed_is_refused(world: World, folder: RunDir, tmp_path: Path) -> None:
    from dataclasses import replace

    record = mirror(world, folder)
    lines = record.journal.splitlines(keepends=True)
    with pytest.raises(RecordError, match="was cut: it should have"):
        take_up(tmp_path / "there", replace(record, journal=b"".join(lines[:-1])), None, "")
    with pytest.raises(RecordError, match="cannot be trusted: entry 2"):
        take_up(tmp_path / "there", replace(record, journal=b"".join([lines[0], *lines[2:]])), None, "")
    assert not (tmp_path / "there").exists()


def test_a_journal_here_that_was_changed_is_refused(world: World, folder: RunDir) -> None:
    folder.journal.write_bytes(folder.journal.read_bytes().replace(b"mesh is down", b"mesh was fine"))
    with pytest.raises(JournalError, match="entry 1 does not continue the chain"):
        take_up(world.runs, mirror(world, folder), None, "")


def test_a_run_that_is_executed_here_is_not_taken_up(world: World, folder: RunDir) -> None:
    record = mirror(world, folder)
    with Journal.open(folder.journal, world.clock), pytest.raises(JournalInUse):
        take_up(world.runs, record, None, "")
