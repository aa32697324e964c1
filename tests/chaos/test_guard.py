"""Without a mark nothing of chaos writes: no mark, expired, another cluster's, unreachable. The audit log tells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.api import Testbed
from testbed.proofs.controls import writes_since
from tests.cli.driver import Meshguard

pytestmark = pytest.mark.testbed

ROOT = Path(__file__).resolve().parents[2]
CONTEXT = "testbed-guard"


def experiment(folder: Path) -> Path:
    """One fault that needs no pod, with our controls and the rollback."""
    path = folder / "experiment.json"
    module = "meshguard.chaos"
    python = {"type": "python"}
    document = {
        "title": "a guarded fault",
        "description": "retries",
        "runtime": {"rollbacks": {"strategy": "always"}},
        "configuration": {"meshguard_context": CONTEXT},
        "controls": [
            {"name": "guard", "provider": {**python, "module": f"{module}.controls.guard"}},
            {"name": "cap", "provider": {**python, "module": f"{module}.controls.cap"}},
            {"name": "timeline", "provider": {**python, "module": f"{module}.controls.timeline"}},
        ],
        "method": [
            {
                "name": "retry",
                "type": "action",
                "provider": {
                    **python,
                    "module": f"{module}.actions",
                    "func": "retry_posts",
                    "arguments": {"namespace": "default", "host": "web.default.svc.cluster.local"},
                },
            }
        ],
        "rollbacks": [
            {
                "name": "undo",
                "type": "action",
                "provider": {**python, "module": f"{module}.actions", "func": "undo"},
            }
        ],
    }
    path.write_text(json.dumps(document))
    return path


def chaos_run(path: Path, kubeconfig: Path, state: Path) -> tuple[int, str, dict[str, object]]:
    """Run the experiment as a person does; return the exit code, what was said, and the journal."""
    program = Path(sys.executable).parent / "chaos"
    journal = path.parent / "journal.json"
    journal.unlink(missing_ok=True)
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}
    done = subprocess.run(
        [str(program), "run", str(path), "--journal-path", str(journal)],
        env={**inherited, "KUBECONFIG": str(kubeconfig), "XDG_STATE_HOME": str(state)},
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr, json.loads(journal.read_text()) if journal.exists() else {}


def test_only_a_valid_mark_of_this_cluster_lets_a_fault_through(
    light_cluster: Callable[[str], Testbed], tmp_path: Path
) -> None:
    bed = light_cluster("guard")
    meshguard = Meshguard(bed.kubeconfig, tmp_path / "state")
    here = ("--context", CONTEXT)
    path = experiment(tmp_path)

    def refused(why: str) -> None:
        size = bed.audit_log.stat().st_size
        code, said, journal = chaos_run(path, bed.kubeconfig, meshguard.state)
        assert (code, journal["status"]) == (1, "interrupted"), said
        assert why in said
        storm = meshguard("chaos", "storm", "--proxies", "1", *here, "--reason", "x", "--yes")
        assert storm.code == 3, storm.err
        assert why in storm.err
        assert writes_since(bed.audit_log, size) == []

    def mark(**data: str) -> None:
        patch = json.dumps({"data": data})
        bed.kubectl("-n", "meshguard-system", "patch", "configmap", "rehearsal", "--type=merge", "-p", patch)

    refused("not declared a rehearsal cluster")
    assert meshguard("rehearsal", "declare", *here, "--reason", "a test", "--yes").code == 0
    uid = json.loads(meshguard("rehearsal", "show", *here, "-o", "json").out)["mark"]["clusterUID"]
    mark(expires="2020-01-01T00:00:00+00:00")
    refused("ended 2020-01-01")
    mark(expires="2099-01-01T00:00:00+00:00", clusterUID="another")
    refused("another cluster's")
    mark(clusterUID=uid)

    code, said, journal = chaos_run(path, bed.kubeconfig, meshguard.state)
    assert (code, journal["status"]) == (0, "completed"), said
    assert "would retry: Retry what fails" in said
    assert bed.kubectl("get", "virtualservices", "-A", "-o", "name") == ""
    assert "no experiment has left anything open" in meshguard("chaos", "undo", *here, "--reason", "x", "--yes").out

    document = json.loads(path.read_text())
    document["method"][0]["provider"]["arguments"]["namespase"] = "default"
    path.write_text(json.dumps(document))
    code, said, _ = chaos_run(path, bed.kubeconfig, meshguard.state)
    assert code == 1
    assert "namespase" in said

    copied = tmp_path / "kubeconfig"
    copied.write_bytes(bed.kubeconfig.read_bytes())
    bed.down()
    gone = Meshguard(copied, meshguard.state)("chaos", "storm", "--proxies", "1", *here, "--reason", "x", "--yes")
    assert (gone.code, gone.out) == (8, "")


def test_another_machine_undoes_what_a_killed_experiment_left(
    light_cluster: Callable[[str], Testbed], tmp_path: Path
) -> None:
    bed = light_cluster("guard")
    here = ("--context", CONTEXT)
    first, second = Meshguard(bed.kubeconfig, tmp_path / "first"), Meshguard(bed.kubeconfig, tmp_path / "second")
    assert first("rehearsal", "declare", *here, "--reason", "a test", "--yes").code == 0
    path = experiment(tmp_path)
    document = json.loads(path.read_text())
    die = {"type": "process", "path": "/bin/sh", "arguments": ["-c", "kill -9 $PPID"]}
    document["method"].append({"name": "the machine dies", "type": "action", "provider": die})
    path.write_text(json.dumps(document))
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "chaos"), "run", str(path)],
        env={**inherited, "KUBECONFIG": str(bed.kubeconfig), "XDG_STATE_HOME": str(first.state)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == -9, done.stdout + done.stderr
    left = bed.kubectl("get", "virtualservices", "-A", "-o", "name")
    assert left.strip() == "virtualservice.networking.istio.io/meshguard-retries"
    assert second("rehearsal", "revoke", *here, "--reason", "no mark is needed to undo", "--yes").code == 0
    undone = second("chaos", "undo", *here, "--reason", "the machine died", "--yes")
    assert undone.code == 0, undone.out + undone.err
    assert bed.kubectl("get", "virtualservices", "-A", "-o", "name") == ""
    assert "no experiment has left" in second("chaos", "undo", *here, "--reason", "again", "--yes").out
