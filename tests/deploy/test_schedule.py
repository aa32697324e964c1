"""The nightly experiment: its manifests say what they must, and grant what `meshguard rbac` prints and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from meshguard.cli.main import cli
from meshguard.cluster.credentials import IN_CLUSTER

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "schedule"
PURPOSES = ("chaos", "restore")


def documents(name: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all((FOLDER / name).read_text()) if document]


def manifest(kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents("cronjob.yaml") if document["kind"] == kind]
    return found


def printed(purpose: str) -> list[dict[str, Any]]:
    account = manifest("ServiceAccount")["metadata"]
    user = f"system:serviceaccount:{account['namespace']}:{account['name']}"
    done = CliRunner().invoke(cli, ["rbac", "--for", purpose, "--user", user, "-o", "json"])
    assert done.exit_code == 0, done.output
    objects: list[dict[str, Any]] = json.loads(done.output)["objects"]
    return objects


def test_the_rights_are_those_that_rbac_prints() -> None:
    wanted = [document for purpose in PURPOSES for document in printed(purpose)]
    assert documents("rbac.yaml") == wanted


def test_nothing_grants_everything() -> None:
    roles = [document for document in documents("rbac.yaml") if document["kind"].endswith("Role")]
    assert roles
    for rule in (rule for role in roles for rule in role["rules"]):
        assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
        assert "secrets" not in rule["resources"]


def test_the_job_runs_one_experiment_of_ours_once_as_nobody() -> None:
    spec = manifest("CronJob")["spec"]
    job = spec["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    assert (ROOT / "experiments" / Path(environment["EXPERIMENT"]).name).is_file()
    assert environment["MESHGUARD_CONTEXT"] == IN_CLUSTER
    assert (spec["concurrencyPolicy"], job["backoffLimit"], pod["restartPolicy"]) == ("Forbid", 0, "Never")
    assert pod["serviceAccountName"] == manifest("ServiceAccount")["metadata"]["name"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["terminationGracePeriodSeconds"] < job["activeDeadlineSeconds"]


@pytest.mark.parametrize("name", ["cronjob.yaml", "rbac.yaml"])
def test_every_document_is_an_object(name: str) -> None:
    assert all({"apiVersion", "kind", "metadata"} <= document.keys() for document in documents(name))
