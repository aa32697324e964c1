"""The reader against real sidecars: every fact follows the policy that makes it, and follows it back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from meshguard.cluster.connect import open_cluster
from meshguard.cluster.kubernetes_cluster import KubernetesCluster
from meshguard.model.objects import Pod, Ref
from meshguard.model.proxy import InboundPort, ProxyFacts, ProxyUnreachable, UpstreamTls
from meshguard.model.versions import release
from meshguard.signals.istiod import control_plane, versions
from meshguard.signals.reader import EnvoySignals
from testbed.api import Testbed
from tests.fakes.clock import FakeClock

pytestmark = pytest.mark.testbed

SPACE = "signals-test"
HOST = f"probe.{SPACE}.svc.cluster.local"
STRICT = InboundPort(plaintext=False, mutual_tls=True, sniffs=True)
BOTH = InboundPort(plaintext=True, mutual_tls=True, sniffs=True)
PLAIN = InboundPort(plaintext=True, mutual_tls=False, sniffs=False)


def manifest(api: str, kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": SPACE, **metadata}, "spec": spec}


def a_pod(name: str, **labels: str) -> dict[str, Any]:
    container = {
        "name": "probe",
        "image": "local/shop:dev",
        "imagePullPolicy": "IfNotPresent",
        "command": ["/shop", "serve", "-name", "probe"],
        "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}},
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return manifest("v1", "Pod", name, spec, labels={"app": "probe", **labels})


PORTS = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "tcp-first", "port": 7070, "targetPort": 7070}]
SERVICE = manifest("v1", "Service", "probe", {"selector": {"app": "probe"}, "ports": PORTS})
PERMISSIVE = manifest(
    "security.istio.io/v1",
    "PeerAuthentication",
    "probe",
    {
        "selector": {"matchLabels": {"app": "probe"}},
        "mtls": {"mode": "PERMISSIVE"},
        "portLevelMtls": {7070: {"mode": "DISABLE"}},
    },
)
CALLERS = manifest(
    "security.istio.io/v1",
    "AuthorizationPolicy",
    "callers",
    {"rules": [{"from": [{"source": {"principals": ["cluster.local/ns/load/sa/openload"]}}]}]},
)
MUTUAL = manifest(
    "networking.istio.io/v1",
    "DestinationRule",
    "probe",
    {
        "host": HOST,
        "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}},
        "subsets": [{"name": "bare", "labels": {"bare": "yes"}, "trafficPolicy": {"tls": {"mode": "DISABLE"}}}],
    },
)


def kubectl_apply(bed: Testbed, *manifests: dict[str, Any]) -> None:
    for document in manifests:
        bed.kubectl("apply", "-f", "-", text=json.dumps(document))


@pytest.fixture
def space(testbed: Testbed) -> Iterator[Testbed]:
    """A meshed namespace with a pod that has a sidecar and one that has none, behind the same service."""
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": SPACE, "labels": {"istio-injection": "enabled"}},
    }
    bare = a_pod("bare", bare="yes") | {}
    bare["metadata"]["labels"]["sidecar.istio.io/inject"] = "false"
    kubectl_apply(testbed, namespace, SERVICE, a_pod("probe"), bare)
    testbed.kubectl("wait", "-n", SPACE, "pod", "--all", "--for=condition=Ready", "--timeout=120s")
    yield testbed
    testbed.kubectl("delete", "namespace", SPACE)


def on(bed: Testbed, scenario: Callable[[KubernetesCluster], Any]) -> None:
    async def run() -> None:
        async with await open_cluster("testbed", FakeClock(), kubeconfig=str(bed.kubeconfig)) as cluster:
            await scenario(cluster)

    asyncio.run(run())


async def pods(cluster: KubernetesCluster, namespace: str) -> dict[str, Pod]:
    return {pod.ref.name: pod for pod in await cluster.list("Pod", [namespace]) if isinstance(pod, Pod)}


def test_facts_follow_the_policies(space: Testbed) -> None:
    async def scenario(cluster: KubernetesCluster) -> None:
        signals = EnvoySignals(cluster)
        probe = (await pods(cluster, SPACE))["probe"]

        async def facts_when(part: str, holds: Callable[[Any], bool]) -> Any:
            async with asyncio.timeout(30):
                while True:
                    facts = (await signals.proxies([probe], [part], hosts=[HOST]))[probe.ref]
                    if isinstance(facts, ProxyFacts) and holds(getattr(facts, part)):
                        return getattr(facts, part)
                    await asyncio.sleep(0.2)

        await facts_when("inbound", lambda ports: ports == {0: STRICT, 7070: STRICT, 8080: STRICT})
        await facts_when("clusters", lambda tls: set(tls.values()) == {UpstreamTls.PER_ENDPOINT})
        known = await facts_when("endpoints", lambda found: len(found.get(f"{HOST}:80", ())) == 2)
        addresses = {name: pod.ip for name, pod in (await pods(cluster, SPACE)).items()}
        assert {(e.address, e.tls) for e in known[f"{HOST}:80"]} == {
            (f"{addresses['probe']}:8080", True),
            (f"{addresses['bare']}:8080", False),
        }
        await facts_when("authz", lambda policies: policies == {})

        kubectl_apply(space, PERMISSIVE, CALLERS, MUTUAL)
        await facts_when("inbound", lambda ports: ports == {0: BOTH, 7070: PLAIN, 8080: BOTH})
        await facts_when("authz", lambda policies: policies == {f"{SPACE}/callers": {0: True}})
        clusters = await facts_when("clusters", lambda tls: tls[f"{HOST}:80"] is UpstreamTls.ALWAYS)
        assert clusters[f"{HOST}:80/bare"] is UpstreamTls.NEVER
        assert {
            e.address
            for e in (await facts_when("endpoints", lambda found: f"{HOST}:80/bare" in found))[f"{HOST}:80/bare"]
        }

        space.kubectl("delete", "-n", SPACE, "peerauthentication,authorizationpolicy,destinationrule", "--all")
        await facts_when("inbound", lambda ports: ports == {0: STRICT, 7070: STRICT, 8080: STRICT})
        await facts_when("authz", lambda policies: policies == {})
        await facts_when("clusters", lambda tls: set(tls.values()) == {UpstreamTls.PER_ENDPOINT})

    on(space, scenario)


def test_a_pod_without_a_sidecar_and_one_that_is_gone_are_unreachable(space: Testbed) -> None:
    async def scenario(cluster: KubernetesCluster) -> None:
        bare = (await pods(cluster, SPACE))["bare"]
        gone = Pod(Ref("Pod", SPACE, "gone"), {})
        answers = await EnvoySignals(cluster).proxies([bare, gone], ["inbound"])
        reasons = {ref.name: answer.reason for ref, answer in answers.items() if isinstance(answer, ProxyUnreachable)}
        assert reasons["bare"] == "nothing listens on port 15000 of the pod"
        assert "404" in reasons["gone"]

    on(space, scenario)


def test_reading_filtered_costs_a_fraction_of_a_whole_dump_and_leaves_nothing_open(testbed: Testbed) -> None:
    async def scenario(cluster: KubernetesCluster) -> None:
        shop = [pod for pod in (await pods(cluster, "shop-pay")).values() if pod.ready]
        signals = EnvoySignals(cluster)
        parts = ["inbound", "authz", "clusters", "endpoints", "counters"]
        answers = await signals.proxies(shop, parts, hosts=["payments.shop-pay.svc.cluster.local"])
        assert all(isinstance(answer, ProxyFacts) for answer in answers.values())
        assert signals.cost.proxies == len(shop)
        # A whole config_dump of a proxy of the shop has 343,000 bytes.
        assert signals.cost.bytes / len(shop) < 60_000

    on(testbed, scenario)


def test_istiod_knows_the_sidecars(testbed: Testbed) -> None:
    async def scenario(cluster: KubernetesCluster) -> None:
        istiods = [pod for pod in (await pods(cluster, "istio-system")).values() if pod.labels.get("app") == "istiod"]
        seen = await control_plane(cluster, istiods)
        assert seen.silent == {}
        shop = [pod for pod in (await pods(cluster, "shop-web")).values() if pod.ready]
        assert {pod.ref for pod in shop} <= set(seen.proxies)
        assert {seen.proxies[pod.ref].version for pod in shop} == {"1.31.0"}
        told = await versions(cluster, istiods)
        assert {release(told[pod.ref]) for pod in istiods} == {(1, 31, 0)}

    on(testbed, scenario)
