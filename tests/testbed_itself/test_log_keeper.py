"""Keeping container logs: no cluster needed, only a folder in which somebody behaves like the kubelet."""

from pathlib import Path

import pytest

from testbed.log_keeper import LogKeeper


@pytest.fixture
def pod(tmp_path: Path) -> Path:
    folder = tmp_path / "pods" / "shop_cart_uid" / "cart"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    folder = tmp_path / "kept"
    folder.mkdir()
    return folder


def keeper(pod: Path, kept: Path) -> LogKeeper:
    return LogKeeper(pod.parent.parent, kept)


def contents(kept: Path) -> list[str]:
    return sorted(file.read_text() for file in kept.rglob("*") if file.is_file())


def test_lines_written_after_the_file_was_removed_are_kept(pod: Path, kept: Path) -> None:
    with (pod / "0.log").open("w", buffering=1) as log:
        log.write("first\n")
        keeper(pod, kept).sweep()
        (pod / "0.log").unlink()
        log.write("last\n")
    assert (kept / "shop_cart_uid" / "cart" / "0.log").read_text() == "first\nlast\n"


def test_a_rotated_file_and_its_successor_are_both_kept(pod: Path, kept: Path) -> None:
    watching = keeper(pod, kept)
    (pod / "0.log").write_text("old")
    watching.sweep()
    (pod / "0.log").rename(pod / "0.log.20260101-000000")
    (pod / "0.log").write_text("new")
    watching.sweep()
    (pod / "0.log.20260101-000000").unlink()
    (pod / "0.log.20260101-000000.gz").write_text("the same, compressed")
    watching.sweep()
    assert contents(kept) == ["new", "old"]


def test_every_restart_has_a_file_of_its_own(pod: Path, kept: Path) -> None:
    watching = keeper(pod, kept)
    for restart in range(3):
        (pod / f"{restart}.log").write_text(f"life {restart}")
        watching.sweep()
        (pod / f"{restart}.log").unlink()
    assert contents(kept) == ["life 0", "life 1", "life 2"]


def test_a_keeper_that_begins_again_keeps_nothing_twice(pod: Path, kept: Path) -> None:
    (pod / "0.log").write_text("once")
    keeper(pod, kept).sweep()
    keeper(pod, kept).sweep()
    assert contents(kept) == ["once"]


def test_a_pod_that_vanishes_during_the_sweep_is_no_error(pod: Path, kept: Path) -> None:
    watching = keeper(pod, kept)
    watching.sweep()
    pod.rmdir()
    pod.parent.rmdir()
    watching.sweep()
    assert contents(kept) == []
