"""The glass broken on a real mesh in every way a person has: by hand, by plain Ansible, and stopped in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.api import Testbed
from testbed.proofs import objects
from testbed.proofs.controls import writes_since
from testbed.waiting import wait_until
from tests.cli.driver import Meshguard

pytestmark = pytest.mark.testbed

CONCERNED = ("shop-web", "shop-core", "shop-pay", "load")
LEDGER = ("--accept-interruption", "shop-pay/ledger:7070")
PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"


@pytest.fixture
def meshguard(testbed: Testbed, tmp_path: Path) -> Meshguard:
    return Meshguard(testbed.kubeconfig, tmp_path / "state")


@pytest.fixture(autouse=True)
def _everything_as_it_was(testbed: Testbed) -> Iterator[None]:
    before = objects.concerned(testbed, CONCERNED)
    yield
    assert objects.differences(before, objects.concerned(testbed, CONCERNED)) == []


def sidecars(testbed: Testbed, namespace: str) -> set[bool]:
    """Whether the pods of a namespace that are not on their way out carry a proxy."""
    listed = json.loads(testbed.kubectl("-n", namespace, "get", "pods", "-o", "json"))["items"]
    return {
        "istio-proxy" in {c["name"] for c in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", ()))}
        for pod in listed
        if "deletionTimestamp" not in pod["metadata"]
    }


def test_the_plan_as_commands_for_a_person_leaves_and_comes_back(
    testbed: Testbed, meshguard: Meshguard, tmp_path: Path
) -> None:
    script = tmp_path / "plan.sh"
    made = meshguard("plan", "exit", "-n", "shop-web", "--context", "testbed", *LEDGER, "-o", "kubectl")
    assert made.code == 0, made.err
    script.write_text(made.out)
    environment = {**os.environ, "KUBECONFIG": str(testbed.kubeconfig)}
    for way, meshed in (("out", False), ("back", True)):
        done = subprocess.run(
            ["bash", str(script), way], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{way}: {done.stdout}\n{done.stderr}"
        assert sidecars(testbed, "shop-web") == {meshed}


def ansible(testbed: Testbed, meshguard: Meshguard, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ansible-playbook as a person would, without meshguard's command line."""
    program = Path(sys.executable).parent / "ansible-playbook"
    environment = {
        **{k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"},
        "KUBECONFIG": str(testbed.kubeconfig),
        "XDG_STATE_HOME": str(meshguard.state),
        "ANSIBLE_NOCOLOR": "1",
    }
    return subprocess.run(
        [str(program), *arguments], env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def test_the_playbook_tells_its_order_and_shows_what_it_would_write(testbed: Testbed, meshguard: Meshguard) -> None:
    listed = ansible(testbed, meshguard, str(PLAYBOOKS / "exit.yml"), "--list-tasks")
    tasks = [line.split("\t")[0].split()[0].strip(",") for line in listed.stdout.splitlines() if "TAGS:" in line][1:]
    assert tasks == ["Snapshot", "Relax", "Converge", "Un-enrol", "Restart", "Verify"]
    variables = {
        "context": "testbed",
        "namespaces": ["shop-web"],
        "accept": ["accept-interruption shop-pay/ledger:7070"],
    }
    size = testbed.audit_log.stat().st_size
    shown = ansible(testbed, meshguard, str(PLAYBOOKS / "exit.yml"), "--check", "--diff", "-e", json.dumps(variables))
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert '"istio-injection": "disabled"' in shown.stdout
    assert writes_since(testbed.audit_log, size) == []


def test_the_playbook_refuses_without_consent(testbed: Testbed, meshguard: Meshguard) -> None:
    variables = {
        "context": "testbed",
        "namespaces": ["shop-web"],
        "accept": ["accept-interruption shop-pay/ledger:7070"],
    }
    size = testbed.audit_log.stat().st_size
    refused = ansible(testbed, meshguard, str(PLAYBOOKS / "exit.yml"), "-e", json.dumps(variables))
    assert refused.returncode != 0
    assert "confirm=testbed" in refused.stdout
    assert writes_since(testbed.audit_log, size) == []


def test_interrupted_it_stops_at_a_safe_point_and_can_be_restored(testbed: Testbed, meshguard: Meshguard) -> None:
    program = Path(sys.executable).parent / "meshguard"
    command = [str(program), "exit", "-n", "shop-web", "--context", "testbed", "--reason", "test", "--yes", *LEDGER]
    environment = {
        **{k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"},
        "KUBECONFIG": str(testbed.kubeconfig),
        "XDG_STATE_HOME": str(meshguard.state),
    }
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    runs = meshguard.state / "meshguard" / "runs"

    def restarting() -> bool:
        journals = list(runs.glob("*/journal.jsonl"))
        return bool(journals) and '"restart-001"' in journals[0].read_text()

    wait_until(restarting, 180, "the restart to begin", 0.1)
    asked = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "safe point" in errors
    assert "to come back: meshguard restore" in errors
    run = next(runs.iterdir()).name
    told = meshguard("runs", "show", run, "-o", "json")
    events = [entry["event"] for entry in json.loads(told.out)["entries"]]
    assert events[-1] == "stopped", f"{time.monotonic() - asked:.0f} s after it was asked: {events[-3:]}"
    restored = meshguard("restore", run, "--context", "testbed", "--reason", "test", "--yes")
    assert restored.code == 0, restored.err
    assert sidecars(testbed, "shop-web") == {True}


def test_a_run_is_verified_shown_and_restored(testbed: Testbed, meshguard: Meshguard) -> None:
    done = meshguard("exit", "-n", "shop-web", "--context", "testbed", "--reason", "a drill", "--yes", *LEDGER)
    assert done.code == 0, done.err
    (summary,) = json.loads(meshguard("runs", "-o", "json").out)["runs"]
    run = summary["run"]
    assert (summary["status"], summary["reason"], summary["namespaces"]) == ("open", "a drill", ["shop-web"])
    still = meshguard("verify", run, "--context", "testbed", "-o", "json")
    assert still.code == 0, still.out
    assert {check["truth"] for check in json.loads(still.out)["checks"]} == {"yes"}
    status = json.loads(meshguard("status", "-n", "shop-web", "--context", "testbed", "-o", "json").out)
    assert [row["actual"] for row in status["workloads"]] == ["out"]
    assert {open_run["run"]: open_run["reason"] for open_run in status["openRuns"]}[run] == "a drill"
    again = meshguard("restore", run, "--context", "testbed", "--reason", "over", "--yes")
    assert again.code == 0, again.err
    assert sidecars(testbed, "shop-web") == {True}
