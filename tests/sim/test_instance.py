"""`meshguard sim`: up, status and down, and everything that may be in the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshguard.sim.api.instance import Folder
from tests.cli.driver import Meshguard


@pytest.fixture
def meshguard(tmp_path: Path) -> Iterator[Meshguard]:
    command = Meshguard(tmp_path / "none", tmp_path)
    yield command
    command("sim", "down")


def test_up_status_and_down(meshguard: Meshguard) -> None:
    up = meshguard("sim", "up", "-o", "json")
    assert up.code == 0, up.err
    state = json.loads(up.out)
    assert json.loads(meshguard("sim", "status", "-o", "json").out)["pid"] == state["pid"]
    again = meshguard("sim", "up")
    assert (again.code, "is running already" in again.sentence) == (3, True)
    busy = meshguard("sim", "up", "--name", "other", "--port", str(state["port"]))
    assert (busy.code, busy.sentence) == (3, f"meshguard: port {state['port']} of the loopback is in use")
    assert Path(state["kubeconfig"]).stat().st_mode & 0o077 == 0
    if shutil.which("kubectl"):
        _speak_with_kubectl(state["kubeconfig"])
    assert meshguard("sim", "down").out == "simulator 'sim' has ended\n"
    assert meshguard("sim", "status").code == 8
    assert meshguard("sim", "down").out == "simulator 'sim' was not running\n"


def _speak_with_kubectl(kubeconfig: str) -> None:
    def kubectl(*arguments: str, text: str = "") -> str:
        command = ["kubectl", "--kubeconfig", kubeconfig, *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    from tests.sim.asking import deployment

    kubectl("create", "namespace", "shop")
    body = json.dumps(deployment())
    assert kubectl("-n", "shop", "apply", "-f", "-", text=body) == "deployment.apps/web created\n"
    assert kubectl("-n", "shop", "apply", "-f", "-", text=body) == "deployment.apps/web unchanged\n"
    assert "deployment.apps/web labeled" in kubectl("-n", "shop", "label", "deploy", "web", "team=a")
    assert "deployment.apps/web scaled" in kubectl("-n", "shop", "scale", "deploy", "web", "--replicas=2")
    assert kubectl("-n", "shop", "get", "deploy").splitlines()[0].split() == [
        "NAME",
        "READY",
        "UP-TO-DATE",
        "AVAILABLE",
        "AGE",
    ]
    assert "Replicas:               2 desired" in kubectl("-n", "shop", "describe", "deploy", "web")
    assert "deleted" in kubectl("-n", "shop", "delete", "deploy", "web")


def test_a_killed_simulator_leaves_nothing_in_the_way(meshguard: Meshguard, tmp_path: Path) -> None:
    first = json.loads(meshguard("sim", "up", "-o", "json").out)
    os.kill(first["pid"], signal.SIGKILL)
    folder = Folder({"XDG_STATE_HOME": str(tmp_path)}, "sim")
    while folder.is_held():  # the kernel frees the lock when the process has gone
        os.sched_yield()
    assert meshguard("sim", "status").code == 8
    second = json.loads(meshguard("sim", "up", "-o", "json").out)
    assert second["pid"] != first["pid"]


def test_a_name_that_cannot_be_one(meshguard: Meshguard) -> None:
    answer = meshguard("sim", "up", "--name", "../x")
    assert answer.code == 3
    assert "cannot be a simulator's name" in answer.sentence
