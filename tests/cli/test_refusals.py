"""What is refused, with which exit code, in one sentence, and without a single write."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from testbed.api import Testbed
from testbed.proofs.controls import writes_since
from tests.cli.driver import Meshguard

pytestmark = pytest.mark.testbed

ON = ("--context", "testbed", "--reason", "test", "--yes")
LEDGER = ("--accept-interruption", "shop-pay/ledger:7070")


@pytest.fixture
def meshguard(testbed: Testbed, tmp_path: Path) -> Iterator[Meshguard]:
    """The command line; afterwards the audit log must show that nothing was written."""
    size = testbed.audit_log.stat().st_size
    yield Meshguard(testbed.kubeconfig, tmp_path / "state")
    assert writes_since(testbed.audit_log, size) == []


def test_no_kubeconfig(meshguard: Meshguard, tmp_path: Path) -> None:
    answer = meshguard("exit", "-n", "shop-web", *ON, KUBECONFIG=str(tmp_path / "none"), HOME=str(tmp_path))
    assert answer.code == 2
    assert "kubeconfig" in answer.sentence


def test_wrong_context_names_the_nearest(meshguard: Meshguard) -> None:
    answer = meshguard("exit", "-n", "shop-web", "--context", "testbd", "--reason", "test", "--yes")
    assert answer.code == 2
    assert "testbed" in answer.sentence


def test_unreachable_api_server(meshguard: Meshguard, testbed: Testbed, tmp_path: Path) -> None:
    config = yaml.safe_load(testbed.kubeconfig.read_text())
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        for cluster in config["clusters"]:
            cluster["cluster"]["server"] = f"https://127.0.0.1:{closed.getsockname()[1]}"
        elsewhere = tmp_path / "kubeconfig"
        elsewhere.write_text(yaml.safe_dump(config))
        answer = meshguard("exit", "-n", "shop-web", *ON, KUBECONFIG=str(elsewhere))
    assert answer.code == 8
    assert answer.sentence


def test_unknown_namespace_names_the_nearest(meshguard: Meshguard) -> None:
    answer = meshguard("exit", "-n", "shop-wbe", *ON)
    assert answer.code == 2
    assert "did you mean shop-web" in answer.sentence


def test_namespace_that_is_not_in_the_mesh(meshguard: Meshguard) -> None:
    answer = meshguard("exit", "-n", "default", *ON)
    assert answer.code == 7
    assert "nothing was changed" in answer.sentence


def test_protected_namespace(meshguard: Meshguard) -> None:
    answer = meshguard("exit", "-n", "kube-system", *ON)
    assert answer.code == 3
    assert "protected" in answer.sentence


def test_namespace_with_a_gateway(meshguard: Meshguard) -> None:
    answer = meshguard("exit", "-n", "istio-ingress", *ON)
    assert answer.code == 4
    assert "MG102" in answer.sentence


def test_one_replica_without_consent(meshguard: Meshguard) -> None:
    answer = meshguard("exit", "-n", "load", *ON, *LEDGER, "--accept-authz-loss")
    assert answer.code == 4
    assert "MG301 Deployment load/openload: it has one replica" in answer.sentence


def test_missing_rights_are_all_named_before_the_first_change(meshguard: Meshguard) -> None:
    answer = meshguard("exit", "-n", "shop-web", "--context", "testbed-as-viewer", "--reason", "test", "--yes", *LEDGER)
    assert answer.code == 3
    for right in ("patch namespaces", "patch deployments.apps", "create peerauthentications.security.istio.io"):
        assert right in answer.sentence


def test_nobody_to_consent(meshguard: Meshguard) -> None:
    answer = meshguard("exit", "-n", "shop-web", "--context", "testbed", "--reason", "test", *LEDGER)
    assert answer.code == 3
    assert "--yes" in answer.sentence


@pytest.mark.parametrize("left_out", ["--context", "--reason"])
def test_mutation_without_context_or_reason(meshguard: Meshguard, left_out: str) -> None:
    given = {"--context": "testbed", "--reason": "test"}
    del given[left_out]
    answer = meshguard("exit", "-n", "shop-web", "--yes", *(word for pair in given.items() for word in pair))
    assert answer.code == 2
    assert left_out in answer.sentence


def test_unwritable_journal(meshguard: Meshguard) -> None:
    meshguard.state.write_text("a file where a folder is needed")
    answer = meshguard("exit", "-n", "shop-web", *ON, *LEDGER)
    assert answer.code == 3
    assert str(meshguard.state) in answer.sentence


@pytest.fixture
def plan_file(meshguard: Meshguard, tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    assert meshguard("plan", "exit", "-n", "shop-web", "--context", "testbed", *LEDGER, "--out", str(path)).code == 0
    return path


def test_truncated_plan(meshguard: Meshguard, plan_file: Path) -> None:
    plan_file.write_text(plan_file.read_text()[:-200])
    answer = meshguard("exit", "--plan", str(plan_file), *ON)
    assert answer.code == 2
    assert "not a complete plan" in answer.sentence


def test_plan_of_another_cluster(meshguard: Meshguard, plan_file: Path) -> None:
    document = json.loads(plan_file.read_text())
    document["cluster"]["uid"] = "another"
    del document["hash"]
    plan_file.write_text(json.dumps(document))
    answer = meshguard("exit", "--plan", str(plan_file), *ON)
    assert answer.code == 3
    assert "another cluster" in answer.sentence


def test_stale_plan_says_what_moved(meshguard: Meshguard, plan_file: Path, testbed: Testbed) -> None:
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "moved", "namespace": "shop-web"},
        "spec": {"mtls": {"mode": "STRICT"}},
    }
    testbed.kubectl("apply", "-f", "-", text=json.dumps(policy))
    try:
        answer = meshguard("exit", "--plan", str(plan_file), *ON)
    finally:
        testbed.kubectl("-n", "shop-web", "delete", "peerauthentication", "moved")
    assert answer.code == 4
    assert "PeerAuthentication shop-web/moved" in answer.sentence
