"""Every signal of the catalogue: what its reader makes of the words of Kubernetes, istiod, Envoy and Prometheus."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from meshguard.hypotheses.catalogue import CATALOGUE
from meshguard.signals.measure.measurer import NO_PROMETHEUS, READERS
from meshguard.signals.measure.quantity import in_bytes
from meshguard.signals.prometheus import Prometheus, PrometheusError
from tests.fakes.tunnels import Answer
from tests.hypotheses.builders import measure, pod, values, world


def test_every_row_of_the_catalogue_has_a_reader_and_every_reader_a_row() -> None:
    assert set(READERS) == set(CATALOGUE)


# Kubernetes


def ended(name: str, reason: str, at: str, state: str = "lastState") -> dict[str, Any]:
    return {"name": name, state: {"terminated": {"reason": reason, "finishedAt": at}}}


def test_an_oom_kill_counts_for_the_time_asked_for_native_sidecars_included() -> None:
    native = {"initContainers": [{"name": "istio-proxy", "restartPolicy": "Always"}], "containers": [{"name": "app"}]}
    inside = world(
        pod("fresh", status={"containerStatuses": [ended("istio-proxy", "OOMKilled", "2026-03-01T02:59:00Z")]}),
        pod("old", status={"containerStatuses": [ended("istio-proxy", "OOMKilled", "2026-03-01T01:00:00Z")]}),
        pod("other", status={"containerStatuses": [ended("istio-proxy", "Error", "2026-03-01T02:59:00Z")]}),
        pod(
            "native",
            spec=native,
            status={"initContainerStatuses": [ended("istio-proxy", "OOMKilled", "2026-03-01T02:55:00Z")]},
        ),
        pod("down", status={"containerStatuses": [ended("istio-proxy", "OOMKilled", "2026-03-01T02:59:59Z", "state")]}),
    )
    found = measure(inside, "pods.oom", within=600.0)
    assert values(found) == {"shop/fresh": 1, "shop/old": 0, "shop/other": 0, "shop/native": 1, "shop/down": 1}
    assert found.samples[1].note == "istio-proxy OOMKilled at 2026-03-01T02:59:00Z"
    assert values(measure(inside, "pods.restarts", within=600.0))["shop/other"] == 1


def test_an_init_container_that_ran_to_its_end_is_no_restart() -> None:
    spec = {"initContainers": [{"name": "istio-init"}], "containers": [{"name": "istio-proxy"}]}
    status = {"initContainerStatuses": [ended("istio-init", "Completed", "2026-03-01T02:59:59Z", "state")]}
    assert values(measure(world(pod("a", spec=spec, status=status)), "pods.restarts")) == {"shop/a": 0}


def test_a_revision_that_is_wanted_and_has_no_pod_counts_zero() -> None:
    deployment = {
        "kind": "Deployment",
        "metadata": {
            "name": "istiod-old",
            "namespace": "istio-system",
            "labels": {"app": "istiod", "istio.io/rev": "old"},
        },
        "spec": {"replicas": 1},
    }
    inside = world(pod("istiod-a"), pod("istiod-b", ready=False), deployment)
    assert values(measure(inside, "control-plane.ready")) == {"revision default": 1, "revision old": 0}


def test_a_revision_that_only_its_webhook_still_asks_for_counts_zero() -> None:
    def configuration(revision: str, webhook: str) -> dict[str, Any]:
        labels = {"istio.io/rev": revision}
        hooks = [{"name": webhook}]
        return {
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": revision, "labels": labels},
            "webhooks": hooks,
        }

    inside = world(
        pod("istiod-a"),
        configuration("gone", "rev.namespace.sidecar-injector.istio.io"),
        configuration("other", "something.example"),
    )
    assert values(measure(inside, "control-plane.ready")) == {"revision default": 1, "revision gone": 0}


def test_a_cluster_without_an_istiod_has_zero_ready_ones() -> None:
    assert values(measure(world(pod("a")), "control-plane.ready")) == {"istiod": 0}


def test_readiness_is_a_share_of_what_is_wanted() -> None:
    documents = [
        {"kind": "Deployment", "metadata": {"name": "app", "namespace": "shop"}, "spec": {"replicas": 4}},
        {
            "kind": "ReplicaSet",
            "metadata": {
                "name": "app-5d9c",
                "namespace": "shop",
                "ownerReferences": [{"kind": "Deployment", "name": "app", "controller": True}],
            },
        },
    ]
    found = measure(world(*documents, pod("a"), pod("b"), pod("c", ready=False)), "workloads.ready")
    assert values(found) == {"Deployment shop/app": 0.5}


def test_restarts_of_those_outside_the_mesh_are_counted_apart_and_the_systems_own_are_not() -> None:
    plain = {"containers": [{"name": "app"}]}
    ends = {"containerStatuses": [ended("app", "Error", "2026-03-01T02:59:50Z")]}
    inside = world(
        pod("meshed", status=ends),
        pod("legacy", spec=plain, status=ends),
        pod("legacy-well", spec=plain),
        pod("dns", namespace="kube-system", spec=plain, status=ends),
    )
    assert values(measure(inside, "pods.restarts-outside")) == {"shop/legacy": 1, "shop/legacy-well": 0}
    assert values(measure(inside, "pods.restarts-outside", namespaces=["pay"])) == {}
    assert values(measure(inside, "pods.restarts-outside", within=5.0)) == {"shop/legacy": 0, "shop/legacy-well": 0}


def strictness(name: str, created: str, spec: dict[str, Any], *written: str) -> dict[str, Any]:
    fields = [{"manager": "kubectl", "time": time} for time in written]
    metadata = {"name": name, "namespace": "shop", "creationTimestamp": created, "managedFields": fields}
    return {"kind": "PeerAuthentication", "metadata": metadata, "spec": spec}


def test_a_policy_is_young_from_its_last_writing_on() -> None:
    strict, old, young = {"mtls": {"mode": "STRICT"}}, "2026-01-01T00:00:00Z", "2026-03-01T02:59:00Z"
    inside = world(
        strictness("made", young, strict),
        strictness("edited", old, strict, old, young),
        strictness("port", young, {"portLevelMtls": {"8080": {"mode": "STRICT"}}}),
        strictness("old", old, strict, old),
        strictness("open", young, {"mtls": {"mode": "PERMISSIVE"}}),
    )
    assert values(measure(inside, "policies.strict")) == {"shop/made": 1, "shop/edited": 1, "shop/port": 1}


# istiod


def row(name: str, *, acked: bool = True, error: str = "") -> dict[str, Any]:
    url = "type.googleapis.com/envoy.config.listener.v3.Listener"
    return {
        "proxy": f"{name}.shop",
        "resources": {url: {"sent": "n1", "acked": "n1" if acked else "", "lastError": error}},
    }


def syncz(*rows: dict[str, Any]) -> dict[str, str]:
    return {"/debug/syncz": json.dumps(rows)}


def test_each_replica_tells_of_its_own_proxies_and_all_of_them_together_know_every_pod() -> None:
    pods = [pod("istiod-a"), pod("istiod-b"), pod("web-1"), pod("web-2")]
    pages = {"istiod-a": syncz(row("web-1")), "istiod-b": syncz(row("web-2"))}
    assert values(measure(world(*pods, pages=pages), "control-plane.unlisted")) == {"shop": 0}
    pages["istiod-b"] = syncz()
    assert values(measure(world(*pods, pages=pages), "control-plane.unlisted")) == {"shop": 1}


def test_a_silent_replica_makes_it_unknown_who_is_not_connected() -> None:
    pods = [pod("istiod-a"), pod("istiod-b"), pod("web-1"), pod("web-2")]
    found = measure(world(*pods, pages={"istiod-a": syncz(row("web-1"))}), "control-plane.unlisted")
    assert (found.samples, found.unseen) == ((), ("istio-system/istiod-b: no tunnel to istiod-b",))


def test_without_an_istiod_its_proxies_are_unknown() -> None:
    for signal in ("control-plane.unsynced", "control-plane.rejecting", "control-plane.unlisted"):
        assert measure(world(pod("web-1")), signal).unseen == ("no istiod pod has an address",)


def test_a_push_under_way_is_not_a_proxy_that_hangs() -> None:
    looks = iter([[row("web-1", acked=False), row("web-2", acked=False)], [row("web-1"), row("web-2", acked=False)]])
    inside = world(pod("istiod-a"), pages={"istiod-a": {"/debug/syncz": lambda: json.dumps(next(looks))}})
    found = measure(inside, "control-plane.unsynced", window=5.0)
    assert values(found) == {"istio-system/istiod-a": 1}
    assert found.samples[0].note == "shop/web-2 Listener"


def test_a_refusal_is_told_in_envoys_words() -> None:
    found = measure(
        world(pod("istiod-a"), pages={"istiod-a": syncz(row("web-1", error="no such filter"))}),
        "control-plane.rejecting",
    )
    assert found.samples[0].note == "shop/web-1 Listener: no such filter"


def metrics(*texts: str) -> Callable[[], str]:
    looks = iter(texts)
    return lambda: next(looks)


def test_a_counter_is_read_twice_and_one_that_is_absent_is_not_zero_unless_the_file_says_so() -> None:
    texts = ('pilot_total_xds_rejects{type="cds"} 3\n', 'pilot_total_xds_rejects{type="cds"} 5\n')

    def rose(*answers: str, **args: Any) -> Any:
        inside = world(pod("istiod-a"), pages={"istiod-a": {"/metrics": metrics(*answers)}})
        return measure(inside, "control-plane.increase", metric="pilot_total_xds_rejects", **args)

    assert values(rose(*texts)) == {"istio-system/istiod-a": 2}
    assert values(rose(texts[1], texts[0])) == {"istio-system/istiod-a": 3}, "a restart begins at zero"
    assert rose("", "").unseen == ("istio-system/istiod-a has no pilot_total_xds_rejects",)
    assert values(rose("", texts[0], absent="zero")) == {"istio-system/istiod-a": 3}
    assert values(rose(*texts, labels={"type": "lds"}, absent="zero")) == {"istio-system/istiod-a": 0}


def test_a_gauge_is_summed_over_its_series() -> None:
    pages = {"istiod-a": {"/metrics": '# HELP x\npilot_xds{version="1.31.0"} 20\npilot_xds{version="1.29.0"} 2\n'}}
    assert values(measure(world(pod("istiod-a"), pages=pages), "control-plane.metric", metric="pilot_xds")) == {
        "istio-system/istiod-a": 22
    }


def test_convergence_looks_at_the_pushes_within_the_window_only() -> None:
    def histogram(fast: int, slow: int) -> str:
        name = "pilot_proxy_convergence_time_bucket"
        return f'{name}{{le="0.1"}} {fast}\n{name}{{le="10"}} {fast + slow}\n{name}{{le="+Inf"}} {fast + slow}\n'

    def found(before: str, after: str) -> Any:
        inside = world(pod("istiod-a"), pages={"istiod-a": {"/metrics": metrics(before, after)}})
        return values(measure(inside, "control-plane.convergence"))["istio-system/istiod-a"]

    assert found(histogram(0, 900), histogram(100, 900)) == 0.1
    assert found(histogram(0, 0), histogram(90, 10)) == 10
    assert found(histogram(5, 5), histogram(5, 5)) == 0


def test_pushes_are_endpoint_updates_for_each_proxy() -> None:
    def page(eds: int, proxies: int) -> str:
        return f'pilot_xds_pushes{{type="eds"}} {eds}\npilot_xds_pushes{{type="cds"}} 999\npilot_xds {proxies}\n'

    def found(*answers: str) -> Any:
        return measure(
            world(pod("istiod-a"), pages={"istiod-a": {"/metrics": metrics(*answers)}}), "control-plane.pushes"
        )

    stormy = found(page(100, 20), page(500, 20), page(500, 20))
    assert values(stormy) == {"istio-system/istiod-a": 20}
    assert stormy.samples[0].note == "400 updates for 20 proxies"
    assert values(found(page(0, 0), page(0, 0), page(0, 0))) == {}, "an istiod without proxies pushes to nobody"
    assert measure(world(), "control-plane.pushes").unseen == ("no istiod pod has an address",)


# Envoy


def stats(**counters: int) -> str:
    return json.dumps({"stats": [{"name": name, "value": value} for name, value in counters.items()]})


CART = "cluster.outbound|80||cart.shop.svc.cluster.local;."
EDGE = "shop/app -> cart.shop.svc.cluster.local:80"


def counting(*looks: dict[str, int]) -> dict[str, Answer]:
    texts = iter([stats(**look) for look in looks])
    return {"/stats?format": lambda: next(texts)}


def test_an_edge_by_envoys_own_counters() -> None:
    before = {f"{CART}upstream_rq_2xx": 100, f"{CART}upstream_rq_5xx": 4}
    after = {f"{CART}upstream_rq_2xx": 190, f"{CART}upstream_rq_5xx": 14}
    pages = {"web-1": {"/stats/prometheus": "", **counting(before, after)}}
    found = measure(world(pod("web-1"), pages=pages), "edges.success")
    assert values(found) == {EDGE: 0.9}
    assert (found.source, found.samples[0].note) == ("envoy stats, upstream_rq_*", "10 of 100 requests failed")


def test_an_edge_by_istios_telemetry() -> None:
    def text(ok: int, bad: int) -> str:
        labels = (
            'reporter="source",source_workload="app",source_workload_namespace="shop",'
            'destination_service="cart.shop.svc.cluster.local",connection_security_policy="unknown"'
        )
        return (
            f'istio_requests_total{{{labels},response_code="200",response_flags="-"}} {ok}\n'
            f'istio_requests_total{{{labels},response_code="503",response_flags="UF"}} {bad}\n'
            'istio_requests_total{reporter="destination",response_code="503"} 9000\n'
        )

    pages = {"web-1": {"/stats/prometheus": metrics(text(10, 0), text(70, 40))}}
    found = measure(world(pod("web-1"), pages=pages), "edges.success")
    assert values(found) == {"shop/app -> cart.shop.svc.cluster.local": 0.6}
    assert (found.source, found.samples[0].note) == ("istio_requests_total", "40 of 100 requests failed, flags UF")


def test_an_edge_with_few_requests_decides_nothing() -> None:
    pages = {
        "web-1": {"/stats/prometheus": "", **counting({f"{CART}upstream_rq_5xx": 0}, {f"{CART}upstream_rq_5xx": 3})}
    }
    found = measure(world(pod("web-1"), pages=pages), "edges.success")
    assert (found.samples, found.left_out) == ((), (f"{EDGE}: only 3 requests in 10 s",))


def test_a_proxy_that_answers_once_is_unseen() -> None:
    pages: dict[str, dict[str, Answer]] = {
        "web-1": {"/stats/prometheus": ""},
        "web-2": {"/stats/prometheus": "", **counting({}, {})},
    }
    found = measure(world(pod("web-1"), pod("web-2"), pages=pages), "edges.success")
    assert [line.split(":")[0] for line in found.unseen] == ["shop/web-1"]


def test_failed_connects_are_told_of_edges_that_are_used() -> None:
    idle = "cluster.outbound|80||idle.shop.svc.cluster.local;."
    before = {f"{CART}ssl.handshake": 10, f"{CART}ssl.connection_error": 1, f"{idle}ssl.handshake": 0}
    after = {**before, f"{CART}ssl.connection_error": 4}
    found = measure(world(pod("web-1"), pages={"web-1": counting(before, after)}), "edges.connect-failures")
    assert values(found) == {EDGE: 3}


def test_refused_updates() -> None:
    name = "listener_manager.lds.update_rejected"
    pages = {"web-1": counting({name: 1}, {name: 3})}
    assert values(measure(world(pod("web-1"), pages=pages), "proxies.rejected")) == {"shop/web-1": 2}


def certificate(until: str, uri: str) -> dict[str, Any]:
    return {"subject_alt_names": [{"uri": uri}] if uri else [], "expiration_time": until}


def test_the_first_workload_certificate_to_end_counts_and_no_authority() -> None:
    answer = {
        "certificates": [
            {"ca_cert": [certificate("2026-03-01T03:00:10Z", "")]},
            {"cert_chain": [certificate("2026-03-01T05:00:00Z", "spiffe://cluster.local/ns/shop/sa/app")]},
            {"cert_chain": [certificate("2026-03-01T04:00:00Z", "spiffe://cluster.local/ns/shop/sa/app")]},
        ]
    }
    inside = world(
        pod("web-1"), pod("web-2"), pages={"web-1": {"/certs": json.dumps(answer)}, "web-2": {"/certs": "{}"}}
    )
    found = measure(inside, "proxies.certificate")
    assert values(found) == {"shop/web-1": 3600}
    assert found.unseen == ("shop/web-2 holds no workload certificate",)


def test_memory_is_a_share_of_the_limit_and_without_a_limit_there_is_no_share() -> None:
    limited = pod("web-1", proxy={"resources": {"limits": {"memory": "128Mi"}}})
    pages = {"web-1": {"/memory": json.dumps({"heap_size": "1", "total_physical_bytes": str(64 * 2**20)})}}
    found = measure(world(limited, pod("web-2"), pages=pages), "proxies.memory")
    assert (values(found), found.left_out) == ({"shop/web-1": 0.5}, ("shop/web-2 has no memory limit",))


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [("128Mi", 2**27), ("1G", 1e9), ("134217728", 2**27), ("1e3", 1000), ("500m", 0.5), ("2k", 2000)],
)
def test_quantities(quantity: str, expected: float) -> None:
    assert in_bytes(quantity) == expected


def test_what_is_no_quantity_is_an_error() -> None:
    with pytest.raises(ValueError, match="not a quantity: 'lots'"):
        in_bytes("lots")


def test_namespaces_narrow_what_is_measured() -> None:
    inside = world(pod("a", "shop"), pod("b", "bank"))
    assert values(measure(inside, "pods.oom", namespaces=["bank"])) == {"bank/b": 0}


# Prometheus


def asked(answer: Any) -> Prometheus:
    async def fetch(path: str) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Prometheus(fetch)


def vector(*rows: tuple[dict[str, str], str]) -> dict[str, Any]:
    result = [{"metric": labels, "value": [0, value]} for labels, value in rows]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def test_every_series_of_a_query_is_a_sample_and_nan_is_unknown() -> None:
    answer = vector(({"__name__": "up", "pod": "a"}, "1"), ({"__name__": "up", "pod": "b"}, "NaN"))
    found = measure(world(prometheus=asked(answer)), "prometheus.query", query="up")
    assert (values(found), found.unseen) == ({"pod=a": 1}, ("pod=b is not a number",))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": "error", "error": "parse error"}, "prometheus: it refused the query: parse error"),
        (PrometheusError("http://p did not answer within 10 s"), "prometheus: http://p did not answer within 10 s"),
        ([], "prometheus: it refused the query: []"),
    ],
)
def test_a_prometheus_that_does_not_help_is_unknown(answer: Any, reason: str) -> None:
    assert measure(world(prometheus=asked(answer)), "prometheus.query", query="up").unseen == (reason,)


def test_without_a_prometheus_the_configuration_is_named() -> None:
    assert measure(world(), "prometheus.query", query="up").unseen == (NO_PROMETHEUS,)


def test_reads_of_one_moment_are_shared() -> None:
    inside = world(pod("istiod-a"), pages={"istiod-a": syncz()})

    async def both() -> None:
        from meshguard.signals.measure.measurer import Measurer

        measurer = Measurer(inside)
        await asyncio.gather(
            measurer.measure("control-plane.rejecting", {}), measurer.measure("control-plane.rejecting", {})
        )

    asyncio.run(both())
    assert inside.tunnels.opened == 1  # type: ignore[attr-defined]
