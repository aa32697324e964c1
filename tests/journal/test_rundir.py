"""A run has a folder with a name that sorts by time, and a plan that nobody changes unseen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meshguard.journal import rundir
from meshguard.journal.errors import JournalError
from tests.fakes.clock import FakeClock
from tests.fakes.world import exit_plan


def test_the_folder_follows_the_xdg_specification() -> None:
    assert rundir.runs_folder({"XDG_STATE_HOME": "/state"}) == Path("/state/meshguard/runs")
    for environ in ({}, {"XDG_STATE_HOME": "relative"}, {"XDG_STATE_HOME": ""}):
        assert rundir.runs_folder(environ) == Path.home() / ".local/state/meshguard/runs"


def test_a_run_is_named_after_its_beginning(tmp_path: Path) -> None:
    folder = rundir.create(tmp_path / "a" / "b", exit_plan(), FakeClock())
    assert re.fullmatch(r"20260301-030000-[0-9a-f]{4}", folder.run)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert folder.read_plan() == exit_plan()
    assert folder.read_plan().hash == exit_plan().hash


def test_a_name_that_is_taken_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["aaaa", "aaaa", "bbbb"])
    monkeypatch.setattr("secrets.token_hex", lambda size: next(drawn) if size == 2 else "token")
    names = [rundir.create(tmp_path, exit_plan(), FakeClock()).run for _ in range(2)]
    assert names == ["20260301-030000-aaaa", "20260301-030000-bbbb"]
    monkeypatch.setattr("secrets.token_hex", lambda size: "aaaa")
    with pytest.raises(JournalError, match="File exists"):
        rundir.create(tmp_path, exit_plan(), FakeClock())


def test_an_unknown_run_is_answered_with_the_nearest(tmp_path: Path) -> None:
    folder = rundir.create(tmp_path, exit_plan(), FakeClock())
    assert rundir.find(tmp_path, folder.run) == folder
    with pytest.raises(JournalError, match=f"no run '{folder.run[:-1]}' in .*; did you mean {folder.run}"):
        rundir.find(tmp_path, folder.run[:-1])
    for wrong in ("", "..", "../..", "/"):
        with pytest.raises(JournalError, match="no run"):
            rundir.find(tmp_path, wrong)


def test_other_files_are_not_runs(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    assert rundir.all_runs(tmp_path) == ()
    assert rundir.all_runs(tmp_path / "missing") == ()
    with pytest.raises(JournalError, match="Not a directory"):
        rundir.all_runs(tmp_path / "notes.txt")


def test_a_plan_that_was_changed_or_cut_is_refused(tmp_path: Path) -> None:
    folder = rundir.create(tmp_path, exit_plan(), FakeClock())
    text = folder.plan.read_text()
    folder.plan.write_text(text.replace('"disabled"', '"enabled"'))
    with pytest.raises(JournalError, match="does not fit its own hash"):
        folder.read_plan()
    folder.plan.write_text(text[: len(text) // 2])
    with pytest.raises(JournalError, match="not readable as a plan"):
        folder.read_plan()
    folder.plan.unlink()
    with pytest.raises(JournalError, match="No such file"):
        folder.read_plan()
