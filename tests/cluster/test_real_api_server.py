"""The adapter against the real API server: what a fake could only claim."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meshguard.cluster.connect import open_cluster
from meshguard.cluster.kubernetes_cluster import KubernetesCluster
from meshguard.model.change import ABSENT, Change, change_at
from meshguard.model.kinds import KINDS
from meshguard.model.objects import Ref, Resource, dig
from meshguard.ports import Forbidden, Gone, Rejected, WriteConflict
from testbed.api import Testbed
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.testbed

#: Leases and LimitRanges are not read, ConfigMaps in two namespaces.
LISTS = len(KINDS) - 3 + 2
SPACE = "cluster-test"
RUN = "20260301-030000-cafe"
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": SPACE},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "app", "image": "x", "env": [{"name": "PASSWORD", "value": "hunter2"}]}]},
        },
    },
}
RULE: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "DestinationRule",
    "metadata": {"name": "web", "namespace": SPACE},
    "spec": {
        "host": "web",
        "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}, "connectionPool": {"tcp": {"maxConnections": 7}}},
    },
}
WEB = Ref("Deployment", SPACE, "web")


@pytest.fixture
def space(testbed: Testbed) -> Iterator[Testbed]:
    """A namespace with a workload that has no pods and a rule."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    for manifest in (namespace, DEPLOYMENT, RULE):
        testbed.kubectl("apply", "-f", "-", text=json.dumps(manifest))
    yield testbed
    testbed.kubectl("delete", "namespace", SPACE)


def on(bed: Testbed, scenario: Any, context: str = "testbed", **options: Any) -> None:
    async def run() -> None:
        kubeconfig = str(bed.kubeconfig)
        async with await open_cluster(context, FakeClock(), kubeconfig=kubeconfig, **options) as cluster:
            await scenario(cluster)

    asyncio.run(run())


async def must_get(cluster: KubernetesCluster, ref: Ref) -> Resource:
    resource = await cluster.get(ref)
    assert resource is not None
    return resource


def test_changes_and_their_way_back_leave_the_object_as_it_was(space: Testbed) -> None:
    async def scenario(cluster: KubernetesCluster) -> None:
        rule_ref = Ref("DestinationRule", SPACE, "web")
        before = {ref: await must_get(cluster, ref) for ref in (WEB, rule_ref)}
        edits = {
            WEB: [
                change_at(
                    before[WEB].doc, ("spec", "template", "metadata", "annotations", "meshguard.dev/restart"), RUN
                ),
                Change(("metadata", "labels"), ABSENT, {"meshguard.dev/run": RUN}),
            ],
            rule_ref: [Change(("spec", "trafficPolicy", "tls"), {"mode": "ISTIO_MUTUAL"}, ABSENT)],
        }
        sent = cluster.requests_sent
        for ref, changes in edits.items():
            await cluster.change(ref, before[ref].uid, changes)
        assert cluster.requests_sent - sent == 2

        for ref, changes in edits.items():
            back = [change.inverse() for change in reversed(changes)]
            await cluster.change(ref, before[ref].uid, back)
            await cluster.change(ref, before[ref].uid, back)
            after = await must_get(cluster, ref)
            assert after.spec == before[ref].spec
            assert after.labels == before[ref].labels
            assert "managedFields" not in after.doc["metadata"]
            assert "hunter2" not in json.dumps(after.doc)

    on(space, scenario)


def test_what_others_did_stands(space: Testbed) -> None:
    async def scenario(cluster: KubernetesCluster) -> None:
        uid = (await must_get(cluster, WEB)).uid
        label = Change(("metadata", "labels", "team"), ABSENT, "ours")
        space.kubectl("label", "-n", SPACE, "deployment/web", "unrelated=1")
        changed = await cluster.change(WEB, uid, [label])
        assert changed.labels == {"unrelated": "1", "team": "ours"}

        space.kubectl("label", "-n", SPACE, "--overwrite", "deployment/web", "team=theirs")
        with pytest.raises(WriteConflict, match="'theirs', expected 'ours'"):
            await cluster.change(WEB, uid, [label.inverse()])
        with pytest.raises(Rejected, match="must be greater than or equal to 0"):
            await cluster.change(WEB, uid, [Change(("spec", "replicas"), 0, -1)])
        with pytest.raises(Rejected, match="exists already"):
            await cluster.create(DEPLOYMENT)
        with pytest.raises(WriteConflict, match=r"metadata\.uid"):
            await cluster.delete(WEB, "another-uid")

        before = await must_get(cluster, WEB)
        tried = await cluster.change(WEB, uid, [Change(("spec", "paused"), ABSENT, True)], dry_run=True)
        assert dig(tried.doc, "spec", "paused") is True
        assert (await must_get(cluster, WEB)).resource_version == before.resource_version

        space.kubectl("delete", "-n", SPACE, "deployment/web")
        space.kubectl("apply", "-f", "-", text=json.dumps(DEPLOYMENT))
        with pytest.raises(Gone, match="created again"):
            await cluster.change(WEB, uid, [Change(("spec", "paused"), ABSENT, True)])
        await cluster.delete(WEB, (await must_get(cluster, WEB)).uid)
        await cluster.delete(WEB, uid)

    on(space, scenario)


def test_a_snapshot_sees_the_mesh_and_no_secret(space: Testbed) -> None:
    async def scenario(cluster: KubernetesCluster) -> None:
        snapshot = await cluster.snapshot()
        assert snapshot.requests == LISTS
        assert snapshot.blind == {}
        assert "hunter2" not in json.dumps([dict(resource.doc) for resource in snapshot.resources.values()])
        owners = {snapshot.workload_of_pod[pod.ref].kind for pod in snapshot.pods if pod.ref.namespace == "shop-core"}
        assert {"Deployment", "StatefulSet", "DaemonSet"} <= owners
        mesh = snapshot.resources[Ref("ConfigMap", "istio-system", "istio")].doc["mesh"]
        assert mesh["trustDomain"] == "cluster.local"
        injector = snapshot.resources[Ref("ConfigMap", "istio-system", "istio-sidecar-injector")].doc["injector"]
        assert injector["policy"] == "enabled"

    on(space, scenario)


def test_admission_tells_what_it_would_make_of_a_pod(space: Testbed) -> None:
    async def scenario(cluster: KubernetesCluster) -> None:
        spec = DEPLOYMENT["spec"]["template"]["spec"]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"generateName": "probe-", "namespace": SPACE},
            "spec": spec,
        }
        assert "istio-proxy" not in str(await cluster.admit_pod(pod))
        space.kubectl("label", "namespace", SPACE, "istio-injection=enabled")

        # The webhook's selectors read the API server's own cache of namespaces, which may be late.
        async with asyncio.timeout(20):
            while "istio-proxy" not in str(await cluster.admit_pod(pod)):
                pass
        assert not await cluster.list("Pod", [SPACE])

    on(space, scenario)


def test_people_without_rights(space: Testbed) -> None:
    wanted = [
        ("list", "pods", ""),
        ("patch", "deployments.apps", SPACE),
        ("patch", "deployments.apps", "shop-web"),
        ("list", "destinationrules.networking.istio.io", ""),
    ]

    async def admin(cluster: KubernetesCluster) -> None:
        assert await cluster.missing_rights(wanted) == []

    async def viewer(cluster: KubernetesCluster) -> None:
        assert await cluster.missing_rights(wanted) == [
            f"patch deployments.apps in {SPACE}",
            "patch deployments.apps in shop-web",
        ]
        with pytest.raises(Forbidden, match="cannot patch resource"):
            await cluster.change(WEB, "", [Change(("spec", "paused"), ABSENT, True)])

    async def shop_admin(cluster: KubernetesCluster) -> None:
        missing = await cluster.missing_rights(wanted)
        assert f"patch deployments.apps in {SPACE}" in missing
        assert "patch deployments.apps in shop-web" not in missing

    async def stranger(cluster: KubernetesCluster) -> None:
        with pytest.raises(Forbidden, match="kube-system"):
            await cluster.snapshot()

    on(space, admin)
    on(space, viewer, "testbed-as-viewer")
    on(space, shop_admin, "testbed-as-shop-admin")
    on(space, stranger, "testbed-as-stranger")


def test_the_audit_log_tells_who_did_it_for_which_run(space: Testbed) -> None:
    async def scenario(cluster: KubernetesCluster) -> None:
        await cluster.change(WEB, "", [Change(("metadata", "labels"), ABSENT, {"a": "b"})])

    run = f"{RUN}{uuid.uuid4().hex[:8]}"
    on(space, scenario, run=run, as_user="jane", as_groups=["system:masters"])
    (event,) = [
        event
        for line in Path(space.audit_log).read_text().splitlines()
        if run in line and (event := json.loads(line))["verb"] == "patch" and event["stage"] == "ResponseComplete"
    ]
    assert event["userAgent"].startswith("meshguard/")
    assert event["userAgent"].endswith(f"run/{run}")
    assert event["impersonatedUser"]["username"] == "jane"
    assert event["impersonatedUser"]["extra"] == {"meshguard-run": [run]}
    assert "fieldManager=meshguard" in event["requestURI"]
