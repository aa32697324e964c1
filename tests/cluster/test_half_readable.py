"""Somebody with rights in some namespaces only, on a real API server: what is blind, and whether a plan goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from meshguard.cluster.connect import open_cluster
from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import LeaveRequest
from meshguard.model.objects import Ref
from meshguard.model.plan import Plan
from meshguard.model.snapshot import Snapshot
from meshguard.plan.build import plan_exit
from testbed.api import Testbed
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.testbed

TEAM = [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "testbed:shop-admins"}]
ISTIO = {"apiGroups": ["networking.istio.io", "security.istio.io", "extensions.istio.io"], "resources": ["*"]}
ADMISSION = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"]
EVERYWHERE = [
    {"apiGroups": [""], "resources": ["namespaces", "nodes"], "verbs": ["get", "list"]},
    {"apiGroups": ["admissionregistration.k8s.io"], "resources": ADMISSION, "verbs": ["list"]},
]


def rbac(kind: str, name: str, namespace: str = "", **parts: Any) -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name, **place}, **parts}


def bound(role_kind: str, role: str, name: str, namespace: str = "") -> dict[str, Any]:
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role}
    return rbac("RoleBinding" if namespace else "ClusterRoleBinding", name, namespace, roleRef=ref, subjects=TEAM)


def rights_in(namespace: str) -> list[dict[str, Any]]:
    """What an application team has in a namespace of its own: `admin`, and Istio's kinds."""
    istio = rbac("Role", "istio", namespace, rules=[{**ISTIO, "verbs": ["list", "patch"]}])
    return [istio, bound("Role", "istio", "istio", namespace), bound("ClusterRole", "admin", "team", namespace)]


def in_mesh(name: str) -> dict[str, Any]:
    labels = {"istio-injection": "enabled"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def deployment(namespace: str) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "x"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    metadata = {"name": "web", "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def seen_by(bed: Testbed, context: str) -> Snapshot:
    async def read() -> Snapshot:
        async with await open_cluster(context, FakeClock(), kubeconfig=str(bed.kubeconfig)) as cluster:
            return await cluster.snapshot()

    return asyncio.run(read())


def blocking(plan: Plan) -> dict[str, str]:
    return {str(f.object): f.detail for f in plan.blockers if f.code.id == "MG702"}


def test_a_team_sees_its_own_namespaces_and_is_told_which_it_does_not(
    light_cluster: Callable[[str], Testbed],
) -> None:
    bed = light_cluster("halfseen")
    spaces = [in_mesh(name) for name in ("shop-web", "shop-core", "bank")]
    workloads = [deployment(name) for name in ("shop-web", "shop-core", "bank")]
    everywhere = [rbac("ClusterRole", "names", rules=EVERYWHERE), bound("ClusterRole", "names", "names")]
    rights = [*everywhere, *rights_in("shop-web"), *rights_in("shop-core")]
    for manifest in (*spaces, *workloads, *rights):
        bed.kubectl("apply", "-f", "-", text=json.dumps(manifest))

    whole = seen_by(bed, "testbed-halfseen")
    assert whole.blind == {}

    part = seen_by(bed, "testbed-halfseen-as-shop-admin")
    assert Ref("Deployment", "shop-core", "web") in part.resources
    assert Ref("Deployment", "bank", "web") not in part.resources
    assert {"Pod in bank", "PeerAuthentication in bank", "Pod in kube-system"} <= part.blind.keys()
    assert not [what for what in part.blind if what.endswith(("in shop-web", "in shop-core"))]

    plan = plan_exit(part, IstioSidecar(), LeaveRequest(frozenset({"shop-web"})))
    assert "Pod" in blocking(plan)["Namespace bank"]
    assert "list" in blocking(plan)["Namespace bank"]
    assert not {"Namespace kube-system", "Namespace shop-web", "Namespace shop-core"} & blocking(plan).keys()
    assert ("Namespace kube-system", "MG703") in {(str(f.object), f.code.id) for f in plan.findings}
