"""Whom a scope was seen to call: from the counters of its own proxies, each as far back as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.model.objects import Pod, Ref
from meshguard.model.observed import Observed
from meshguard.model.proxy import ProxyFacts, ProxyUnreachable
from meshguard.signals.measure.edges import hosts_called
from meshguard.verify.observed import observed_by_proxies
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


def observed(*answers: Mapping[str, int] | str, started: Sequence[str] = ("01:00", "02:30")) -> Observed:
    snapshot = shop().snapshot()
    for pod, time in zip([p for p in snapshot.pods if p.ref.namespace == "shop-web"], started, strict=True):
        running = {"running": {"startedAt": f"2026-11-01T{time}:00Z"}}
        pod.doc["status"]["containerStatuses"] = [{"name": "istio-proxy", "state": running}]
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


def test_proxies_that_count_no_outgoing_calls_can_tell_nothing() -> None:
    found = observed(counters(cart=1), {"cluster_manager.cds.update_success": 3})
    assert "keeps no counters of outgoing calls" in found.unseen[STOREFRONT]


def test_a_proxy_of_which_nobody_knows_when_it_started_reaches_back_nowhere() -> None:
    snapshot = shop().snapshot()
    scope = Scope(snapshot, frozenset({"shop-web"}))
    found = asyncio.run(observed_by_proxies(scope, Proxies(counters(cart=1), counters(cart=1))))
    assert found.seconds == {STOREFRONT: 0.0}


def test_subsets_and_handshakes_count_for_their_host() -> None:
    facts = ProxyFacts(
        Ref("Pod", "shop-web", "a"),
        counters={
            f"cluster.outbound|80|v1|{CART};.upstream_cx_total": 0,
            f"cluster.outbound|7070||{LEDGER};.ssl.handshake": 2,
        },
    )
    assert hosts_called(facts) == frozenset({LEDGER})
