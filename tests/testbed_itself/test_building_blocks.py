"""Parts of the testbed that need no cluster."""

import os
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from testbed import machine_limits
from testbed.binaries import ALL
from testbed.errors import TestbedError
from testbed.images import Image
from testbed.paths import RunPaths
from testbed.processes import kill_and_wait
from testbed.progress import Progress
from testbed.sandbox import read_state
from testbed.scrape_targets import targets
from testbed.waiting import wait_until


def pod(name: str, containers: list[str], **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "shop", "labels": {}},
        "spec": {"containers": [{"name": container} for container in containers]},
        "status": {"podIP": "10.244.0.9", "phase": "Running"},
    }
    for part, values in changes.items():
        base[part].update(values)
    return base


def test_an_image_changes_its_archive_when_a_file_of_it_changes(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("one")
    image = Image("local/thing:dev", "/program", {"/program": program})
    first = image.archive()
    assert image.archive() == first
    program.write_text("another")
    assert image.archive() != first


def test_an_image_brings_the_libraries_of_its_programs() -> None:
    image = Image("local/shell:dev", "/bin/sh", {"/bin/sh": Path("/usr/bin/dash")})
    assert any("libc.so" in name for name in image.with_libraries())


def test_equal_files_make_equal_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from testbed import images

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(images, "catalogue", lambda: [Image("local/a:dev", "/a", {"/opt/a": Path("/etc/hostname")})])
    (archive,) = images.ensure(Progress(quiet=True))
    content = archive.read_bytes()
    with tarfile.open(archive) as outer:
        assert "manifest.json" in outer.getnames()
    archive.unlink()
    images.ensure(Progress(quiet=True))
    assert archive.read_bytes() == content


def test_every_build_has_a_folder_of_its_own() -> None:
    assert len({build.folder for build in ALL}) == len(ALL)


def test_scrape_targets_are_istiods_and_proxies_that_live() -> None:
    found = targets(
        [
            pod("plain", ["app"]),
            pod("meshed", ["app", "istio-proxy"]),
            pod("native", ["app"], spec={"initContainers": [{"name": "istio-proxy"}]}),
            pod("done", ["app", "istio-proxy"], status={"phase": "Succeeded"}),
            pod("unborn", ["app", "istio-proxy"], status={"podIP": None}),
            pod("istiod-1", ["discovery"], metadata={"labels": {"app": "istiod"}}),
        ]
    )
    assert {target["labels"]["pod"]: target["targets"] for target in found} == {
        "meshed": ["10.244.0.9:15020"],
        "native": ["10.244.0.9:15020"],
        "istiod-1": ["10.244.0.9:15014"],
    }


@pytest.mark.parametrize("name", ["", "Upper", "with space", "-begins", "ends-", "../escape", "a" * 21])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(TestbedError, match="is not a testbed name"):
        RunPaths(name)


def test_state_of_a_testbed_that_never_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert read_state(RunPaths("never")) is None


def test_a_vain_wait_says_what_it_waited_for() -> None:
    with pytest.raises(TestbedError, match="in vain for the moon: it is new"):
        wait_until(lambda: False, 0.2, "the moon", 0.05, lambda: "it is new")


def test_killing_waits_for_the_end_and_forgives_an_end_before() -> None:
    child = os.posix_spawnp("sleep", ["sleep", "60"], os.environ)
    reaper = threading.Thread(target=os.waitpid, args=(child, 0))
    reaper.start()
    began = time.monotonic()
    kill_and_wait(child)
    assert time.monotonic() - began < 30
    assert not Path(f"/proc/{child}").exists(), "not even as a zombie"
    reaper.join()
    kill_and_wait(child)


def test_the_machines_limits_stay_raised_until_the_last_testbed_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    limit = tmp_path / "limit"
    limit.write_text("128")
    monkeypatch.setattr(machine_limits, "LIMITS", {str(limit): 2048})
    machine_limits.raise_for("main")
    machine_limits.raise_for("other")
    assert limit.read_text() == "2048"
    machine_limits.give_back_for("main")
    assert limit.read_text() == "2048", "the other one still needs it"
    machine_limits.give_back_for("other")
    assert limit.read_text() == "128"


def test_a_limit_that_somebody_has_changed_meanwhile_is_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    limit = tmp_path / "limit"
    limit.write_text("128")
    monkeypatch.setattr(machine_limits, "LIMITS", {str(limit): 2048})
    machine_limits.raise_for("main")
    limit.write_text("4096")
    machine_limits.give_back_for("main")
    assert limit.read_text() == "4096"
