"""A run whose machine is gone is finished, or brought back, from another one that has no file of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.api import Testbed
from testbed.proofs import objects
from testbed.proofs.killing import kill_all
from testbed.waiting import wait_until
from tests.cli.driver import Meshguard
from tests.cli.test_break_glass import CONCERNED, LEDGER, sidecars

pytestmark = pytest.mark.testbed


def killed_at(testbed: Testbed, state: Path, moment: str) -> str:
    """Begin an exit, kill everything of ours when its journal says so, and return the run."""
    program = Path(sys.executable).parent / "meshguard"
    command = [str(program), "exit", "-n", "shop-web", "--context", "testbed", "--reason", "test", "--yes", *LEDGER]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}
    environment |= {"KUBECONFIG": str(testbed.kubeconfig), "XDG_STATE_HOME": str(state)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    runs = state / "meshguard" / "runs"

    def come() -> bool:
        assert process.poll() is None, "the run has ended before its moment came"
        journals = list(runs.glob("*/journal.jsonl"))
        return bool(journals) and moment in journals[0].read_text()

    wait_until(come, 180, f"the journal to say {moment}", 0.05)
    assert kill_all(state) > 1, "the command line and its playbook"
    process.wait()
    return next(runs.iterdir()).name


def test_elsewhere_it_is_held_taken_over_finished_and_restored(testbed: Testbed, tmp_path: Path) -> None:
    before = objects.concerned(testbed, CONCERNED)
    run = killed_at(testbed, tmp_path / "here", '"restart-001"')
    there = Meshguard(testbed.kubeconfig, tmp_path / "there")
    mutation = ("--context", "testbed", "--reason", "the laptop is gone", "--yes")
    held = there("resume", run, *mutation)
    assert held.code == 3, held.err
    assert f"the cluster is held by run {run} of" in held.err
    assert "--take-over" in held.err
    assert not list((tmp_path / "there").rglob("journal.jsonl")), "nothing was begun"

    watched = there("runs", "follow", run, "--context", "testbed", "-o", "json")
    assert json.loads(watched.out.splitlines()[-1])["source"] == "mirror"
    resumed = there("resume", run, *mutation, "--take-over")
    assert resumed.code == 0, resumed.err + resumed.out
    assert "May have been done; each is compared with its object" in resumed.out
    assert "this machine had no journal of the run; the mirror's is used" in resumed.err
    events = [e["event"] for e in json.loads(there("runs", "show", run, "-o", "json").out)["entries"]]
    assert events[-1] == "run-finished"
    assert {"run-opened", "run-resumed", "lease-taken"} <= set(events)
    assert sidecars(testbed, "shop-web") == {False}
    again = there("resume", run, *mutation)
    assert (again.code, "nothing is left to do" in again.out) == (0, True)

    third = Meshguard(testbed.kubeconfig, tmp_path / "third")
    followed = third("runs", "follow", run, "--context", "testbed")
    assert (followed.code, followed.out.strip().endswith(": done")) == (0, True), followed.out + followed.err
    restored = third("restore", run, *mutation)
    assert restored.code == 0, restored.err
    assert objects.differences(before, objects.concerned(testbed, CONCERNED)) == []


def test_a_deadline_that_passes_leaves_a_part_that_can_be_restored(testbed: Testbed, tmp_path: Path) -> None:
    before = objects.concerned(testbed, CONCERNED)
    meshguard = Meshguard(testbed.kubeconfig, tmp_path / "state")
    mutation = ("--context", "testbed", "--reason", "test", "--yes")
    partly = meshguard("exit", "-n", "shop-web", *mutation, *LEDGER, "--deadline", "15s")
    assert partly.code == 5, partly.err
    assert "stopped at a safe point, because the run's deadline has passed" in partly.err
    (summary,) = json.loads(meshguard("runs", "-o", "json").out)["runs"]
    assert summary["outcome"] == "partial"
    assert f"{summary['done']} of {summary['steps']} steps are done" in partly.err
    restored = meshguard("restore", summary["run"], *mutation)
    assert restored.code == 0, restored.err
    assert objects.differences(before, objects.concerned(testbed, CONCERNED)) == []
