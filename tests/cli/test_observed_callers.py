"""Callers narrowed down by what real proxies have counted. Reads only."""

from __future__ import annotations

import asyncio

import pytest

from meshguard import app
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.model.objects import Ref
from meshguard.model.observed import Observed
from meshguard.verify.observed import observed_by_proxies
from testbed.api import Testbed

pytestmark = pytest.mark.testbed

REQUESTS_A_ROUND, MOST_ROUNDS = 8, 5
STOREFRONT = Ref("Deployment", "shop-web", "storefront")


def ask_the_shop(testbed: Testbed, path: str) -> None:
    """One request from outside the mesh, through the ingress gateway."""
    address = testbed.kubectl(
        "-n", "istio-ingress", "get", "service", "istio-ingressgateway", "-o", "jsonpath={.spec.clusterIP}"
    )
    url = f"http://{address}{path}"
    testbed.exec(["curl", "--silent", "--fail", "--max-time", "20", "--data", "observed", url])


def observed(testbed: Testbed) -> Observed:
    async def look() -> Observed:
        async with app.session(app.Target(kubeconfig=str(testbed.kubeconfig))) as opened:
            scope = Scope(await opened.snapshot(), frozenset({"shop-web"}))
            return await observed_by_proxies(scope, opened.signals)

    return asyncio.run(look())


def observed_once_everybody_was_asked(testbed: Testbed) -> Observed:
    """Ask until every replica has been chosen: the proxy of one that never was has no counters to tell by."""
    for _ in range(MOST_ROUNDS):
        for _ in range(REQUESTS_A_ROUND):
            ask_the_shop(testbed, "/call/cart")
        found = observed(testbed)
        if not found.unseen:
            break
    return found


def test_what_the_storefront_calls_is_seen_in_its_proxies(testbed: Testbed) -> None:
    found = observed_once_everybody_was_asked(testbed)
    assert found.unseen == {}
    assert "cart.shop-core.svc.cluster.local" in found.calls[STOREFRONT]
    # Only cart calls payments: what is called further on is another workload's call.
    assert "payments.shop-pay.svc.cluster.local" not in found.calls[STOREFRONT]
    assert found.seconds[STOREFRONT] > 0
