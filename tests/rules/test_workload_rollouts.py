"""When a workload counts as restarted: every old pod is gone, seen, and the new ones are ready."""

from __future__ import annotations

from typing import Any

import pytest

from meshguard.mesh.istio_sidecar.proofs import membership_difference
from meshguard.model.objects import Pod, Workload
from meshguard.verify.rollout import rollout_missing
from tests.builders import obj


def workload(**status: Any) -> Workload:
    template = {"metadata": {"annotations": {"meshguard.dev/restart": "R1"}}}
    found = obj("StatefulSet", "shop", "db", spec={"replicas": 2, "template": template}, status=status)
    assert isinstance(found, Workload)
    return found


def pod(name: str, mark: str = "", *, ready: bool = True, gone: bool = False, revision: str = "default") -> Pod:
    annotations = {"sidecar.istio.io/status": f'{{"revision":"{revision}"}}'}
    found = obj(
        "Pod",
        "shop",
        name,
        annotations={**annotations, **({"meshguard.dev/restart": mark} if mark else {})},
        spec={"containers": [{"name": "istio-proxy"}]},
        status={"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]},
    )
    if gone:
        found.doc["metadata"]["deletionTimestamp"] = "2026-11-01T03:00:00Z"
    assert isinstance(found, Pod)
    return found


NEW = (pod("db-0", "R1"), pod("db-1", "R1"))


@pytest.mark.parametrize(
    ("pods", "missing"),
    [
        (NEW, ""),
        ((pod("db-0"), NEW[1]), "1 old pod(s) still there: db-0"),
        ((pod("db-0", "R0"), NEW[1]), "1 old pod(s) still there: db-0"),
        ((*NEW, pod("db-2", "R1", gone=True)), "1 old pod(s) still there: db-2"),
        ((pod("db-0", "R1", ready=False), NEW[1]), "1 of 2 pods ready"),
        ((NEW[0],), "1 of 2 pods ready"),
        ((*NEW, pod("db-2", "R1")), "3 of 2 pods ready"),
    ],
)
def test_old_pods_are_those_without_the_mark_of_the_template(pods: tuple[Pod, ...], missing: str) -> None:
    assert rollout_missing(workload(), pods) == missing


def test_a_controller_that_has_not_looked_yet_proves_nothing() -> None:
    found = workload(observedGeneration=1)
    found.doc["metadata"]["generation"] = 2
    assert rollout_missing(found, NEW) == "its controller has not seen the change yet"


def test_of_pods_that_were_deleted_only_those_have_to_be_replaced() -> None:
    old, replaced = pod("db-0"), pod("db-1", "R1")
    assert rollout_missing(workload(), (old, replaced), ["uid-of-the-old-db-1"]) == ""
    assert rollout_missing(workload(), (old, replaced), [old.uid]) == "1 old pod(s) still there: db-0"


@pytest.mark.parametrize(("wanted", "missing"), [("", ""), ("default", ""), ("1-29", "of revision default, not 1-29")])
def test_a_proxy_of_another_revision_is_a_difference(wanted: str, missing: str) -> None:
    assert missing in membership_difference(NEW[0], meshed=True, revision=wanted)
    assert bool(missing) == bool(membership_difference(NEW[0], meshed=True, revision=wanted))
