"""Reading the cluster: pages, absent kinds, kinds that this person may not see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshguard.cluster.reading import PAGE_SIZE
from meshguard.model.kinds import KINDS
from meshguard.model.objects import Ref
from meshguard.model.snapshot import Snapshot
from meshguard.ports import Unreachable
from tests.cluster.api_server import ApiServer, Say, Seen, connected, namespace, status

#: Leases are not read, ConfigMaps in two namespaces.
LISTS = len(KINDS) - 3 + 2


def item(name: str, space: str = "shop", **parts: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": space, "uid": f"uid-{name}"}, **parts}


def cluster_of(*, optional_kinds: bool = True) -> ApiServer:
    server = ApiServer().on("GET /version", {"gitVersion": "v1.36.3"})
    server.on("GET /api/v1/namespaces/kube-system", namespace("kube-system"))
    for kind in KINDS.values():
        if optional_kinds or not kind.optional:
            server.on(f"GET {kind.path()}", {"items": []})
    for space in ("istio-system", "meshguard-system"):
        server.on(f"GET /api/v1/namespaces/{space}/configmaps", {"items": []})
    return server


def snapshot_of(server: ApiServer, tmp_path: Path) -> Snapshot:
    async def scenario() -> Snapshot:
        async with connected(server, tmp_path) as cluster:
            await cluster.identity()
            return await cluster.snapshot()

    return asyncio.run(scenario())


def test_a_snapshot_is_a_constant_number_of_lists(tmp_path: Path) -> None:
    snapshot = snapshot_of(cluster_of(), tmp_path)
    assert snapshot.requests == 30
    assert snapshot.cluster.uid == "uid-kube-system"
    assert snapshot.blind == {}


def test_kinds_that_the_cluster_does_not_have_are_no_trouble(tmp_path: Path) -> None:
    snapshot = snapshot_of(cluster_of(optional_kinds=False), tmp_path)
    assert snapshot.blind == {}


def test_what_may_not_be_seen_is_blind_with_the_reason(tmp_path: Path) -> None:
    server = cluster_of()
    server.on("GET /apis/apps/v1/daemonsets", status(403, 'User "x" cannot list resource "daemonsets"'))
    server.on(
        "GET /api/v1/namespaces/istio-system/configmaps", status(403, 'User "x" cannot list resource "configmaps"')
    )
    snapshot = snapshot_of(server, tmp_path)
    assert snapshot.blind == {
        "DaemonSet": 'User "x" cannot list resource "daemonsets"',
        "ConfigMap in istio-system": 'User "x" cannot list resource "configmaps"',
    }


def refuse(server: ApiServer, kind: str) -> None:
    server.on(f"GET {KINDS[kind].path()}", status(403, f'User "x" cannot list resource "{KINDS[kind].plural}"'))


def may_list(**granted: list[str]) -> Callable[[Seen], Say]:
    """Rules reviews of somebody who may list these plurals in these namespaces."""

    def review(seen: Seen) -> Say:
        plurals = granted.get(seen.body["spec"]["namespace"].replace("-", "_"), [])
        rules = [{"verbs": ["list"], "apiGroups": ["*"], "resources": plurals}] if plurals else []
        return Say(201, {"status": {"resourceRules": rules}})

    return review


REVIEWS = "POST /apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


def test_what_may_be_seen_in_some_namespaces_only_is_read_there(tmp_path: Path) -> None:
    server = cluster_of().on("GET /api/v1/namespaces", {"items": [namespace("shop"), namespace("bank")]})
    for kind in ("Pod", "Service", "DaemonSet"):
        refuse(server, kind)
    server.on(REVIEWS, may_list(shop=["pods", "services"], bank=["services"]))
    server.on("GET /api/v1/namespaces/shop/pods", {"items": [item("web")]})
    server.on("GET /api/v1/namespaces/shop/services", {"items": [item("web")]})
    server.on("GET /api/v1/namespaces/bank/services", {"items": [item("till", "bank")]})
    snapshot = snapshot_of(server, tmp_path)
    assert [str(r.ref) for r in (*snapshot.pods, *snapshot.of_kind("Service"))] == [
        "Pod shop/web",
        "Service bank/till",
        "Service shop/web",
    ]
    assert snapshot.blind == {
        "DaemonSet": 'User "x" cannot list resource "daemonsets"',
        "Pod in bank": "list pods is not allowed",
    }
    assert snapshot.requests == LISTS + 2 + 3


def test_the_whole_snapshot_fails_when_the_server_goes_away(tmp_path: Path) -> None:
    server = cluster_of().on("GET /apis/apps/v1/daemonsets", Say(500, {"message": "boom"}))
    with pytest.raises(Unreachable, match="boom"):
        snapshot_of(server, tmp_path)


def test_pages_are_put_together(tmp_path: Path) -> None:
    def pods(seen: Seen) -> Say:
        assert seen.query["limit"] == str(PAGE_SIZE)
        number = int(seen.query.get("continue", "0"))
        more = {"continue": str(number + 1)} if number < 2 else {}
        return Say(body={"metadata": more, "items": [item(f"pod-{number}", status={"phase": "Running"})]})

    snapshot = snapshot_of(cluster_of().on("GET /api/v1/pods", pods), tmp_path)
    assert [pod.ref.name for pod in snapshot.pods] == ["pod-0", "pod-1", "pod-2"]


def test_an_expired_page_begins_the_list_anew(tmp_path: Path) -> None:
    first = Say(body={"metadata": {"continue": "t"}, "items": [item("old")]})
    server = cluster_of()
    server.on(
        "GET /api/v1/pods", first, status(410, "the provided continue parameter is too old"), {"items": [item("new")]}
    )
    snapshot = snapshot_of(server, tmp_path)
    assert [pod.ref.name for pod in snapshot.pods] == ["new"]


def test_pods_find_their_deployment_through_replica_sets_that_are_metadata_only(tmp_path: Path) -> None:
    def replica_sets(seen: Seen) -> Say:
        assert "PartialObjectMetadataList" in seen.headers["Accept"]
        owner = {"kind": "Deployment", "name": "web", "controller": True}
        return Say(body={"items": [{"metadata": {**item("web-1")["metadata"], "ownerReferences": [owner]}}]})

    pod = item("web-1-x")
    pod["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "web-1", "controller": True}]
    server = cluster_of().on("GET /apis/apps/v1/replicasets", replica_sets).on("GET /api/v1/pods", {"items": [pod]})
    server.on("GET /apis/apps/v1/deployments", {"items": [item("web")]})
    snapshot = snapshot_of(server, tmp_path)
    assert snapshot.workload_of_pod[Ref("Pod", "shop", "web-1-x")] == Ref("Deployment", "shop", "web")


def test_replica_sets_that_stand_alone_come_whole_by_one_more_list_for_their_namespace(tmp_path: Path) -> None:
    owner = {"kind": "Deployment", "name": "web", "controller": True}
    owned = {"metadata": {**item("web-1")["metadata"], "ownerReferences": [owner]}}
    alone = {**item("alone"), "spec": {"replicas": 2, "template": {"metadata": {}, "spec": {"containers": []}}}}
    template = {"spec": {"replicas": 1, "template": {}}}
    links = [owned, {"metadata": alone["metadata"]}, item("lost", "bank")]
    server = cluster_of().on("GET /apis/apps/v1/replicasets", {"items": links})
    server.on("GET /apis/apps/v1/namespaces/shop/replicasets", {"items": [{**owned, **template}, alone]})
    server.on("GET /apis/apps/v1/namespaces/bank/replicasets", {"items": []})
    snapshot = snapshot_of(server, tmp_path)
    assert [str(w.ref) for w in snapshot.workloads] == ["ReplicaSet shop/alone"]
    assert snapshot.workloads[0].replicas == 2
    assert "spec" not in snapshot.resources[Ref("ReplicaSet", "shop", "web-1")].doc
    assert snapshot.requests == LISTS + 2


def test_istios_settings_come_decoded_and_other_peoples_config_maps_not_at_all(tmp_path: Path) -> None:
    mesh = item("istio", "istio-system", data={"mesh": "trustDomain: example.org"})
    theirs = item("grafana", "istio-system", data={"password": "hunter2"})
    ours = item("run-1", "meshguard-system", data={"journal": "x"})
    server = cluster_of().on("GET /api/v1/namespaces/istio-system/configmaps", {"items": [mesh, theirs]})
    server.on("GET /api/v1/namespaces/meshguard-system/configmaps", {"items": [ours]})
    config_maps = snapshot_of(server, tmp_path).of_kind("ConfigMap")
    assert [(r.ref.name, r.doc.get("mesh"), r.doc.get("data")) for r in config_maps] == [
        ("istio", {"trustDomain": "example.org"}, None),
        ("run-1", None, {"journal": "x"}),
    ]


def test_some_namespaces_are_listed_one_by_one(tmp_path: Path) -> None:
    server = ApiServer()
    for space in ("shop", "bank"):
        server.on(f"GET /api/v1/namespaces/{space}/pods", {"items": [item("web", space)]})

    async def scenario() -> None:
        async with connected(server, tmp_path) as cluster:
            assert [r.ref.namespace for r in await cluster.list("Pod", ["shop", "bank"])] == ["bank", "shop"]
            assert await cluster.list("WasmPlugin") == ()

    asyncio.run(scenario())
