"""Several clusters as an Ansible inventory: at the same time, a journal each, one summary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from meshguard.journal.entries import Entry
from meshguard.journal.events import PhaseStarted
from meshguard.journal.history import RunHistory, history
from meshguard.journal.rundir import find
from testbed import light_mesh
from testbed.api import Testbed

pytestmark = pytest.mark.testbed

PLAYBOOK = Path(__file__).resolve().parents[2] / "playbooks" / "clusters.yml"
CLUSTERS = ("eu", "us")
#: Nobody runs istiod in a light cluster.
CONSENTS = ["declare-outage", "accept-authz-loss", "accept-fail-open"]
WORKLOADS = ("edge", "legacy", "sessions")


def ansible(beds: dict[str, Testbed], folder: Path, more: str) -> subprocess.CompletedProcess[str]:
    """Take the namespace out in every cluster, and in one that is not there."""
    configs = {name: str(bed.kubeconfig) for name, bed in beds.items()} | {more: str(folder / "nothing")}
    hosts = {
        name: {"context": f"testbed-{name}", "confirm": f"testbed-{name}", "meshguard": {"kubeconfig": config}}
        for name, config in configs.items()
    }
    variables = {
        "namespaces": [light_mesh.WEB],
        "accept": [*CONSENTS, *(f"accept-interruption {light_mesh.WEB}/{name}" for name in WORKLOADS)],
        "reason": "test",
    }
    inventory = folder / "clusters.json"
    inventory.write_text(json.dumps({"clusters": {"hosts": hosts, "vars": variables}}))
    environment = {
        **{k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"},
        "XDG_STATE_HOME": str(folder / "state"),
        "ANSIBLE_NOCOLOR": "1",
    }
    program = Path(sys.executable).parent / "ansible-playbook"
    command = [str(program), "-i", str(inventory), str(PLAYBOOK)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


def runs(folder: Path) -> dict[str, RunHistory]:
    """The runs of this machine by their context."""
    place = folder / "state" / "meshguard" / "runs"
    told = [history(find(place, run.name)) for run in place.iterdir()]
    return {run.summary.context: run for run in told}


def began(entries: tuple[Entry, ...], phase: str) -> str:
    """When a phase began."""
    return next(e.at for e in entries if isinstance(e.event, PhaseStarted) and e.event.phase == phase)


def test_clusters_leave_together_and_one_that_is_not_there_does_not_keep_them(
    light_cluster: Callable[[str], Testbed], tmp_path: Path
) -> None:
    beds = {name: light_cluster(name) for name in CLUSTERS}
    for bed in beds.values():
        light_mesh.install(bed, istiod=False)
    done = ansible(beds, tmp_path, "asia")
    assert done.returncode != 0
    told = {line.split(":")[0]: line for line in done.stdout.splitlines() if line.startswith((*CLUSTERS, "asia"))}
    made = runs(tmp_path)
    assert set(made) == {"testbed-eu", "testbed-us"}, done.stdout
    for name in CLUSTERS:
        run = made[f"testbed-{name}"]
        assert run.summary.outcome == "done"
        assert told[name].startswith(f"{name}: done  {run.summary.run}"), done.stdout
        label = beds[name].kubectl(
            "get", "namespace", light_mesh.WEB, "-o", "jsonpath={.metadata.labels.istio-injection}"
        )
        assert label == "disabled"
    assert "asia: refused" in done.stdout
    assert "2 of 3 clusters done" in done.stdout
    # together: each began to verify after the other had begun to relax
    first, second = (made[f"testbed-{name}"].entries for name in CLUSTERS)
    assert began(first, "relax") < began(second, "verify")
    assert began(second, "relax") < began(first, "verify")
