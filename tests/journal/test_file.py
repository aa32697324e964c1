"""The file: durable before the effect, written by one process at a time, and refused before the first change."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meshguard.journal import space
from meshguard.journal.errors import JournalError, JournalInUse
from meshguard.journal.events import PhaseStarted
from meshguard.journal.journal import Follower, Journal, in_use, read_entries
from tests.fakes.clock import FakeClock
from tests.fakes.journals import EVENTS, written


def test_it_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.jsonl")
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(JournalError, match=r"cannot open the journal .*: File exists"):
        Journal.create(path, FakeClock())


def test_a_second_writer_is_kept_out_and_a_watcher_is_not(tmp_path: Path) -> None:
    path = written(tmp_path / "journal.jsonl")
    with Journal.open(path, FakeClock()) as journal:
        with pytest.raises(JournalInUse, match="another process is executing this run now"):
            Journal.open(path, FakeClock())
        assert in_use(path)
        journal.append([PhaseStarted("verify")])
        assert len(read_entries(path)) == len(EVENTS) + 1
    assert not in_use(path)
    Journal.open(path, FakeClock()).close()


def test_a_follower_sees_each_entry_once_and_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Journal.create(path, FakeClock()) as journal:
        follower = Follower(path)
        assert follower.more() == ()
        journal.append(EVENTS[:3])
        assert [e.event for e in follower.more()] == list(EVENTS[:3])
        assert follower.more() == ()
        journal.append(EVENTS[3:5])
        data = path.read_bytes()
        path.write_bytes(data[:-4])
        assert [e.event for e in follower.more()] == [EVENTS[3]]
        path.write_bytes(data)
        assert [e.event for e in follower.more()] == [EVENTS[4]]


def test_after_a_failed_write_nothing_more_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "journal.jsonl")
    with Journal.open(path, FakeClock()) as journal:

        def fail(fd: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            with pytest.raises(JournalError, match=r"cannot write the journal .*: Input/output error"):
                journal.append([PhaseStarted("verify")])
        with pytest.raises(JournalError, match="Input/output error"):
            journal.append([PhaseStarted("verify")])


def test_a_closed_journal_says_so(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "journal.jsonl", FakeClock())
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="is closed"):
        journal.append([PhaseStarted("verify")])


@pytest.mark.parametrize("can_allocate", [True, False])
def test_room_is_reserved_without_changing_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_allocate: bool
) -> None:
    if not can_allocate:
        monkeypatch.setattr(space, "_allocate", lambda fd, size: False)
    path = tmp_path / "journal.jsonl"
    with Journal.create(path, FakeClock()) as journal:
        journal.append(EVENTS)
        journal.reserve(1 << 20)
        journal.append([PhaseStarted("verify")])
    assert [e.event for e in read_entries(path)] == [*EVENTS, PhaseStarted("verify")]
    assert path.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("can_allocate", [True, False])
def test_no_room_is_found_before_the_first_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_allocate: bool
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "journal.jsonl"
    with Journal.create(path, FakeClock()) as journal, monkeypatch.context() as patch:
        if can_allocate:
            patch.setattr(space, "_allocate", full)
        else:
            patch.setattr(space, "_allocate", lambda fd, size: False)
            patch.setattr(os, "write", full)
        with pytest.raises(JournalError, match=r"no room for the journal .*\(1024 KiB needed\): No space left"):
            journal.reserve(1 << 20)
    assert path.read_bytes() == b""


_KILLED_WRITER = """
import sys
from pathlib import Path
from meshguard.journal.events import PhaseStarted
from meshguard.journal.journal import Journal
from tests.fakes.clock import FakeClock

with Journal.create(Path(sys.argv[1]), FakeClock()) as journal:
    for number in range(1_000_000):
        journal.append([PhaseStarted(str(number))])
        print(number, flush=True)
"""


def test_what_a_killed_process_has_written_is_there(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    command = [sys.executable, "-c", _KILLED_WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as writer:
        assert writer.stdout is not None
        for _ in range(20):
            said = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
    with Journal.open(path, FakeClock()) as journal:
        assert len(journal.entries) > said


_ON_SMALL_DISK = """
set -e
mount -t tmpfs -o size=64k none "$1"
"$2" - "$1" <<'PYTHON'
import subprocess, sys
from pathlib import Path
from meshguard.journal.errors import JournalError
from meshguard.journal.events import PhaseStarted
from meshguard.journal.journal import Journal
from tests.fakes.clock import FakeClock

folder = Path(sys.argv[1])
with Journal.create(folder / "journal.jsonl", FakeClock()) as journal:
    journal.reserve(32 << 10)
    try:
        (folder / "log").write_bytes(bytes(1 << 20))
    except OSError as error:
        print("log:", error.strerror)
    journal.append([PhaseStarted("x" * 1000)] * 20)
    print("entries:", len(journal.entries))
    try:
        journal.reserve(32 << 10)
    except JournalError as error:
        print("refused:", error)
subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
try:
    Journal.create(folder / "other.jsonl", FakeClock())
except JournalError as error:
    print("refused:", error)
PYTHON
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="mounting a small disk needs root and unshare"
)
def test_reserved_room_survives_a_disk_that_others_fill(tmp_path: Path) -> None:
    """On a real file system of 64 KiB: a log fills it, the journal's own room stays; then it becomes read-only."""
    script = ["unshare", "--mount", "bash", "-c", _ON_SMALL_DISK, "-", str(tmp_path), sys.executable]
    done = subprocess.run(script, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "log: No space left on device",
        "entries: 20",
        f"refused: no room for the journal {tmp_path}/journal.jsonl (32 KiB needed): No space left on device",
        f"refused: cannot open the journal {tmp_path}/other.jsonl: Read-only file system",
    ]
