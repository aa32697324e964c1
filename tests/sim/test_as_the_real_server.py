"""The tests of meshguard's own adapter against the real API server, here against the simulated one, unchanged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.test_real_api_server import (
    DEPLOYMENT,
    RULE,
    SPACE,
    test_a_snapshot_sees_the_mesh_and_no_secret,
    test_admission_tells_what_it_would_make_of_a_pod,
    test_changes_and_their_way_back_leave_the_object_as_it_was,
    test_people_without_rights,
    test_the_audit_log_tells_who_did_it_for_which_run,
    test_what_others_did_stands,
)
from tests.sim.bed import SimBed, running

__all__ = [
    "test_a_snapshot_sees_the_mesh_and_no_secret",
    "test_admission_tells_what_it_would_make_of_a_pod",
    "test_changes_and_their_way_back_leave_the_object_as_it_was",
    "test_people_without_rights",
    "test_the_audit_log_tells_who_did_it_for_which_run",
    "test_what_others_did_stands",
]
pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="these tests speak through kubectl; install it")


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimBed]:
    with running(tmp_path_factory.mktemp("sim")) as bed:
        yield bed


@pytest.fixture
def space(bed: SimBed) -> Iterator[SimBed]:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    for manifest in (namespace, DEPLOYMENT, RULE):
        bed.kubectl("apply", "-f", "-", text=json.dumps(manifest))
    yield bed
    bed.kubectl("delete", "namespace", SPACE)


def test_the_kubeconfig_holds_everybody(bed: SimBed) -> None:
    contexts = {context["name"] for context in json.loads(Path(bed.kubeconfig).read_text())["contexts"]}
    assert {"testbed", "testbed-as-viewer", "testbed-as-shop-admin", "testbed-as-stranger"} == contexts
