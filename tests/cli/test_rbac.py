"""`meshguard rbac` prints Roles that kubectl takes; no cluster is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.cli.driver import Meshguard


@pytest.fixture
def meshguard(tmp_path: Path) -> Meshguard:
    return Meshguard(tmp_path / "no-kubeconfig", tmp_path / "state")


def test_both_forms_hold_the_same_objects(meshguard: Meshguard) -> None:
    wanted = ("rbac", "--for", "exit", "-n", "shop-web", "--group", "sre")
    as_yaml, as_json = meshguard(*wanted), meshguard(*wanted, "-o", "json")
    document = json.loads(as_json.out)
    assert list(yaml.safe_load_all(as_yaml.out)) == document["objects"]
    assert (document["apiVersion"], document["kind"], document["for"]) == ("meshguard.dev/v1", "RoleSet", "exit")
    assert [(o["kind"], o["metadata"].get("namespace", "")) for o in document["objects"]] == [
        ("Namespace", ""),
        ("ClusterRole", ""),
        ("ClusterRoleBinding", ""),
        ("Role", "istio-system"),
        ("RoleBinding", "istio-system"),
        ("Role", "meshguard-system"),
        ("RoleBinding", "meshguard-system"),
        ("Role", "shop-web"),
        ("RoleBinding", "shop-web"),
    ]


def test_every_rule_has_its_reason(meshguard: Meshguard) -> None:
    answer = meshguard("rbac", "--for", "restore")
    assert answer.code == 0
    lines = answer.out.splitlines()
    rules = [number for number, line in enumerate(lines) if line.startswith("- {apiGroups")]
    assert rules
    assert all(lines[number - 1].startswith("# ") for number in rules)
    assert "# delete: what the exit has created" in lines


def test_a_user_and_a_group_are_one_too_many(meshguard: Meshguard) -> None:
    answer = meshguard("rbac", "--for", "exit", "--user", "jane", "--group", "sre")
    assert answer.code == 2
    assert "not both" in answer.sentence
