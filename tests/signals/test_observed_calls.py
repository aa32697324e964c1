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


def test_subsets_and_handshakes_count_for_their_host() -> None:
    facts = ProxyFacts(
        Ref("Pod", "shop-web", "a"),
        counters={
            f"cluster.outbound|80|v1|{CART};.upstream_cx_total": 0,
            f"cluster.outbound|7070||{LEDGER};.ssl.handshake": 2,
        },
    )
    assert hosts_called(facts) == frozenset({LEDGER})
