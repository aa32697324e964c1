"""Nobody changes a journal unseen; only the line that a killed writer left unfinished is forgiven."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshguard.journal.entries import Entry, Head, parse, split
from meshguard.journal.errors import JournalError
from meshguard.journal.events import PhaseStarted
from meshguard.journal.journal import Journal, read_entries
from tests.fakes.clock import FakeClock
from tests.fakes.journals import EVENTS, written


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(tmp_path_factory.mktemp("chain") / "journal.jsonl").read_bytes()


def read(data: bytes) -> list[Entry]:
    """Read and verify, as `read_entries` does, but from memory."""
    head, entries = Head(), []
    for line in split(data)[0]:
        entries.append(parse(line, head))
        head = entries[-1].head
    return entries


def test_the_sample_is_intact(sample: bytes) -> None:
    assert tuple(entry.event for entry in read(sample)) == EVENTS


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_detected(sample: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(sample) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != sample[at]))
    with pytest.raises(JournalError):
        read(sample[:at] + bytes([byte]) + sample[at + 1 :])


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_removed_doubled_or_moved_entry_is_detected(sample: bytes, data: st.DataObject) -> None:
    lines = split(sample)[0]
    first = data.draw(st.integers(0, len(lines) - 2))
    second = data.draw(st.integers(first + 1, len(lines) - 1))
    swapped = [*lines]
    swapped[first], swapped[second] = lines[second], lines[first]
    for changed in (swapped, lines[:first] + lines[first + 1 :], [*lines[:second], lines[first], *lines[second:]]):
        with pytest.raises(JournalError, match="does not continue the chain"):
            read(b"".join(changed))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_torn_last_line_costs_only_itself(sample: bytes, data: st.DataObject) -> None:
    lines = split(sample)[0]
    kept = data.draw(st.integers(0, len(lines) - 1))
    torn = lines[kept][: data.draw(st.integers(1, len(lines[kept]) - 1))]
    assert [e.event for e in read(b"".join(lines[:kept]) + torn)] == list(EVENTS[:kept])


def test_a_torn_line_is_reported_and_cut_by_the_next_append(tmp_path: Path, sample: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(sample + b'{"at":"2026-03-01T03:0')
    with Journal.open(path, FakeClock()) as journal:
        assert journal.torn.startswith(b'{"at"')
        assert len(journal.entries) == len(EVENTS)
        journal.append([PhaseStarted("verify")])
        assert not journal.torn
    assert [e.event for e in read_entries(path)] == [*EVENTS, PhaseStarted("verify")]


def test_a_broken_chain_is_refused_with_the_file_and_the_entry(tmp_path: Path, sample: bytes) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(sample.replace(b"sre@laptop", b"xxx@laptop"))
    with pytest.raises(JournalError, match=r"journal\.jsonl: entry 1 does not continue the chain of hashes"):
        Journal.open(path, FakeClock())
    with pytest.raises(JournalError, match="entry 1"):
        read_entries(path)


def test_a_cut_at_the_end_of_a_line_shows_against_a_head_that_was_kept(tmp_path: Path, sample: bytes) -> None:
    kept = read(sample)[-1].head
    shorter = read(b"".join(split(sample)[0][:-1]))
    assert shorter[-1].head != kept
    assert kept.seq == len(EVENTS)
