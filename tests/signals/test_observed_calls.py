"""Whom a scope was seen to call: from the counters of its own proxies, each as far back as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.model.objects import Pod, Ref
from meshguard.model.observed import Observed
from meshguard.model.proxy import ProxyFacts, ProxyUnreachable
from meshguard.signals.measure.edges import hosts_called
from meshguard.signals.prometheus import Prometheus, PrometheusError
from meshguard.verify.observed import observed_by_proxies, observed_calls
from tests.builders import shop

STOREFRONT = Ref("Deployment", "shop-web", "storefront")
CART, LEDGER = "cart.shop-core.svc.cluster.local", "ledger.shop-pay.svc.cluster.local"


def counters(**called: int) -> dict[str, int]:
    hosts = {"cart": CART, "ledger": LEDGER}
    return {f"cluster.outbound|80||{hosts[name]}.upstream_rq_total": value for name, value in called.items()}


class Proxies:
    """Every pod of the storefront answers what was put down for it, in the order of their names."""

    def __init__(self, *answers: Mapping[str, int] | str) -> None:
        self._answers = answers

    async def proxies(
        self, pods: Sequence[Pod], parts: Collection[str], *, hosts: Collection[str] = ()
    ) -> Mapping[Ref, ProxyFacts | ProxyUnreachable]:
        return {
            pod.ref: ProxyUnreachable(pod.ref, answer)
            if isinstance(answer, str)
            else ProxyFacts(pod.ref, counters=answer)
            for pod, answer in zip(pods, self._answers, strict=True)
        }


def observed(*answers: Mapping[str, int] | str, own_settings: int | None = None) -> Observed:
    snapshot = shop().snapshot()
    for number, pod in enumerate(p for p in snapshot.pods if p.ref.namespace == "shop-web"):
        running = {"running": {"startedAt": f"2026-11-01T{('01:00', '02:30')[number]}:00Z"}}
        pod.doc["status"]["containerStatuses"] = [{"name": "istio-proxy", "state": running}]
        if number == own_settings:
            pod.doc["metadata"]["annotations"]["proxy.istio.io/config"] = "concurrency: 1"
    return asyncio.run(observed_by_proxies(Scope(snapshot, frozenset({"shop-web"})), Proxies(*answers)))


def test_what_any_pod_of_a_workload_has_called_counts_and_the_youngest_proxy_says_how_far_back() -> None:
    found = observed(counters(cart=3, ledger=0), counters(cart=0, ledger=1))
    assert found.calls == {STOREFRONT: {CART, LEDGER}}
    assert found.seconds == {STOREFRONT: 1_800.0}
    assert found.unseen == {}


def test_a_counter_that_stands_at_zero_is_a_call_that_was_not_made() -> None:
    assert observed(counters(cart=1, ledger=0), counters(cart=0, ledger=0)).calls == {STOREFRONT: {CART}}


def test_one_proxy_that_does_not_answer_makes_its_workload_unseen() -> None:
    found = observed(counters(cart=1), "no answer within 5 s")
    assert found.calls == {}
    assert found.unseen == {STOREFRONT: "storefront-1: no answer within 5 s"}


IDLE = {"cluster_manager.cds.update_success": 3}


def test_proxies_that_count_no_outgoing_calls_can_tell_nothing() -> None:
    assert "has no counters of outgoing calls" in observed(IDLE, IDLE).unseen[STOREFRONT]


def test_one_that_is_younger_than_a_proxy_that_counts_has_called_nobody() -> None:
    assert observed(counters(cart=1), IDLE).calls == {STOREFRONT: {CART}}


def test_one_that_is_older_than_every_proxy_that_counts_may_have_been_told_not_to() -> None:
    assert "storefront-0" in observed(IDLE, counters(cart=1)).unseen[STOREFRONT]


def test_one_with_settings_of_its_own_is_not_judged_by_others() -> None:
    assert "storefront-1" in observed(counters(cart=1), IDLE, own_settings=1).unseen[STOREFRONT]


def test_a_proxy_of_which_nobody_knows_when_it_started_reaches_back_nowhere() -> None:
    snapshot = shop().snapshot()
    scope = Scope(snapshot, frozenset({"shop-web"}))
    found = asyncio.run(observed_by_proxies(scope, Proxies(counters(cart=1), counters(cart=1))))
    assert found.seconds == {STOREFRONT: 0.0}


NOW = 1_793_502_000.0
"""2026-11-01T03:00:00Z, when the snapshot was taken."""


def metrics(source_since: float | None, destination_since: float | None, *called: str) -> Prometheus:
    """A Prometheus that knows the storefront since these times, and what it called over HTTP."""
    asked: list[str] = []

    def series(side: str, since: float | None) -> list[dict[str, Any]]:
        labels = {f"{side}_workload": "storefront", f"{side}_workload_namespace": "shop-web"}
        return [] if since is None else [{"metric": labels, "value": [NOW, str(since)]}]

    async def fetch(path: str) -> Any:
        query = parse_qs(urlsplit(path).query)["query"][0]
        asked.append(query)
        if "tcp" in query:
            result = []
        elif query.startswith("min by"):
            result = series("source", source_since) if "source" in query else series("destination", destination_since)
        else:
            assert query.endswith("[86400s])) > 0")
            caller = {"source_workload": "storefront", "source_workload_namespace": "shop-web"}
            result = [{"metric": {**caller, "destination_service": host}, "value": [NOW, "3"]} for host in called]
        return {"status": "success", "data": {"resultType": "vector", "result": result}}

    return Prometheus(fetch)


def by_metrics(prometheus: Prometheus, *answers: Mapping[str, int] | str) -> Observed:
    scope = Scope(shop().snapshot(), frozenset({"shop-web"}))
    return asyncio.run(observed_calls(scope, Proxies(*answers), prometheus, 86_400.0))


def test_istios_metrics_come_first_and_reach_back_further_than_the_proxies() -> None:
    found = by_metrics(metrics(NOW - 7200, NOW - 9000, CART))
    assert found.source == "prometheus, istio_requests_total and istio_tcp_connections_opened_total"
    assert found.calls == {STOREFRONT: {CART}}
    assert found.seconds == {STOREFRONT: 9_000.0}


def test_a_workload_that_is_called_and_calls_nobody_is_watched_all_the_same() -> None:
    assert by_metrics(metrics(None, NOW - 9000)).calls == {STOREFRONT: frozenset()}


def test_without_metrics_of_the_scope_the_proxies_are_asked() -> None:
    found = by_metrics(metrics(None, None), counters(cart=1), counters(cart=1))
    assert found.source == "envoy stats, upstream_rq_*"
    assert found.calls == {STOREFRONT: {CART}}


def test_a_prometheus_that_does_not_answer_is_no_prometheus() -> None:
    async def fetch(path: str) -> Any:
        raise PrometheusError("it is down")

    assert by_metrics(Prometheus(fetch), counters(cart=1), counters(cart=1)).calls == {STOREFRONT: {CART}}


def test_subsets_and_handshakes_count_for_their_host() -> None:
    facts = ProxyFacts(
        Ref("Pod", "shop-web", "a"),
        counters={
            f"cluster.outbound|80|v1|{CART};.upstream_cx_total": 0,
            f"cluster.outbound|7070||{LEDGER};.ssl.handshake": 2,
        },
    )
    assert hosts_called(facts) == frozenset({LEDGER})
