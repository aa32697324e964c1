"""Concurrent writers share the disk's waiting time."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from meshguard.journal.errors import JournalError
from meshguard.journal.events import PhaseStarted
from meshguard.journal.journal import Journal, read_entries
from meshguard.journal.scribe import Scribe
from tests.fakes.clock import FakeClock


def test_many_writers_need_few_fsyncs_and_each_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, syncs, real = tmp_path / "journal.jsonl", [], os.fsync

    def counted(fd: int) -> None:
        syncs.append(fd)
        real(fd)

    async def work(scribe: Scribe, number: int) -> None:
        await scribe.record(PhaseStarted(str(number)))
        assert PhaseStarted(str(number)) in [e.event for e in read_entries(path)]

    async def all_work(journal: Journal) -> None:
        scribe = Scribe(journal)
        await asyncio.gather(*(work(scribe, number) for number in range(100)))

    with Journal.create(path, FakeClock()) as journal:
        monkeypatch.setattr(os, "fsync", counted)
        asyncio.run(all_work(journal))
    assert len(syncs) <= 3
    assert len(read_entries(path)) == 100


def test_a_disk_that_fails_is_told_to_every_writer(tmp_path: Path) -> None:
    async def all_work(journal: Journal) -> list[BaseException | None]:
        scribe = Scribe(journal)
        return await asyncio.gather(
            *(scribe.record(PhaseStarted(str(number))) for number in range(5)), return_exceptions=True
        )

    with Journal.create(tmp_path / "journal.jsonl", FakeClock()) as journal:
        journal.close()
        assert [type(result) for result in asyncio.run(all_work(journal))] == [JournalError] * 5
