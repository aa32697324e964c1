"""What each AuthorizationPolicy rule means for callers that lose their identity, and the smallest relaxation."""

from __future__ import annotations

from typing import Any

import pytest

from meshguard.mesh.istio_sidecar.authorization import Identity, Meaning, lost_rules, reads_identity, without_identity
from meshguard.mesh.istio_sidecar.proofs import authz_differences
from meshguard.model.objects import Ref, Resource
from meshguard.model.proxy import ProxyFacts
from tests.builders import policy

CART = Identity("cluster.local", "shop-core", "cart")
CART_PRINCIPAL = "cluster.local/ns/shop-core/sa/cart"


def authz(rule: dict[str, Any], action: str = "ALLOW", **parts: Any) -> Resource:
    return policy("AuthorizationPolicy", "shop-pay", "own", {"action": action, "rules": [rule]}, **parts)


def source(**asked: Any) -> dict[str, Any]:
    return {"from": [{"source": asked}]}


def when(key: str, **asked: Any) -> dict[str, Any]:
    return {"when": [{"key": key, **asked}]}


@pytest.mark.parametrize(
    ("rule", "action", "meaning"),
    [
        (source(principals=[CART_PRINCIPAL]), "ALLOW", Meaning.REFUSED),
        (source(principals=["*"]), "ALLOW", Meaning.REFUSED),
        (source(principals=["*/sa/cart"]), "ALLOW", Meaning.REFUSED),
        (source(namespaces=["shop-*"]), "ALLOW", Meaning.REFUSED),
        (source(serviceAccounts=["shop-core/cart"]), "ALLOW", Meaning.REFUSED),
        (source(trustDomains=["cluster.local"]), "ALLOW", Meaning.REFUSED),
        (when("source.principal", values=[CART_PRINCIPAL]), "ALLOW", Meaning.REFUSED),
        (when("source.namespace", values=["shop-core"]), "ALLOW", Meaning.REFUSED),
        (when("connection.sni", values=["outbound_.80_._.payments"]), "ALLOW", Meaning.REFUSED),
        (source(notNamespaces=["shop-core"]), "ALLOW", Meaning.ADMITTED),
        (when("source.principal", notValues=[CART_PRINCIPAL]), "ALLOW", Meaning.ADMITTED),
        (source(principals=[CART_PRINCIPAL]), "DENY", Meaning.LET_IN),
        (source(notPrincipals=[CART_PRINCIPAL]), "DENY", Meaning.DENIED),
        (source(namespaces=["shop-core"]), "CUSTOM", Meaning.UNASKED),
        (source(notNamespaces=["shop-core"]), "CUSTOM", Meaning.ASKED),
        (source(principals=[CART_PRINCIPAL]), "AUDIT", Meaning.UNSEEN),
    ],
)
def test_what_a_rule_means_without_an_identity(rule: dict[str, Any], action: str, meaning: Meaning) -> None:
    (lost,) = lost_rules(authz(rule, action), [CART])
    assert (lost.meaning, lost.callers, lost.name) == (meaning, (CART,), "shop-pay/own#0")
    assert lost.widens is (meaning is Meaning.REFUSED)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        source(principals=["cluster.local/ns/load/sa/openload"]),
        source(serviceAccounts=["cart"]),  # of the policy's own namespace
        source(requestPrincipals=["*"]),
        source(ipBlocks=["10.0.0.0/8"]),
        source(notPrincipals=["cluster.local/ns/load/sa/openload"]),
        when("request.headers[x]", values=["y"]),
        {"to": [{"operation": {"methods": ["GET"]}}]},
        # Another alternative asks no more and needs no identity.
        {
            "from": [
                {"source": {"principals": [CART_PRINCIPAL], "ipBlocks": ["10.0.0.0/8"]}},
                {"source": {"ipBlocks": ["10.0.0.0/8"]}},
            ]
        },
    ],
)
def test_rules_that_mean_the_same_without_an_identity(rule: dict[str, Any]) -> None:
    for action in ("ALLOW", "DENY"):
        assert lost_rules(authz(rule, action), [CART]) == ()


def test_the_local_trust_domain_has_many_names() -> None:
    caller = Identity("corp.example", "shop-core", "cart", aliases=("old.example",))
    for domain in ("cluster.local", "corp.example", "old.example"):
        assert lost_rules(authz(source(principals=[f"{domain}/ns/shop-core/sa/cart"])), [caller])
    assert not lost_rules(authz(source(principals=["other.example/ns/shop-core/sa/cart"])), [caller])


def test_a_dry_run_refuses_nobody() -> None:
    dry = authz(source(principals=[CART_PRINCIPAL]), annotations={"istio.io/dry-run": "true"})
    (lost,) = lost_rules(dry, [CART])
    assert lost.harmless
    assert not lost.widens


def test_a_rule_with_a_negative_match_is_named_and_not_widened() -> None:
    (lost,) = lost_rules(authz(source(principals=[CART_PRINCIPAL], notNamespaces=["load"])), [CART])
    assert (lost.meaning, lost.widens) == (Meaning.REFUSED, False)


def test_only_the_alternatives_that_lose_a_caller_are_edited() -> None:
    rule: dict[str, Any] = {
        "from": [
            {"source": {"principals": [CART_PRINCIPAL], "ipBlocks": ["10.0.0.0/8"]}},
            {"source": {"principals": ["cluster.local/ns/load/sa/openload"]}},
        ],
        "to": [{"operation": {"methods": ["GET"]}}],
        "when": [{"key": "request.headers[x]", "values": ["y"]}],
    }
    own = authz(rule)
    after = without_identity(own, lost_rules(own, [CART])).after
    assert after == [{**rule, "from": [{"source": {"ipBlocks": ["10.0.0.0/8"]}}, rule["from"][1]]}]


def test_an_alternative_that_asks_nothing_any_more_asks_nothing_of_anybody() -> None:
    own = authz({**source(principals=[CART_PRINCIPAL]), **when("source.namespace", values=["shop-core"])})
    assert without_identity(own, lost_rules(own, [CART])).after == [{}]


def test_what_a_proxy_enforces_is_compared_rule_by_rule() -> None:
    rules = [source(principals=[CART_PRINCIPAL]), {"to": []}, source(principals=["*"])]
    own = policy("AuthorizationPolicy", "shop-pay", "own", {"rules": rules})
    assert reads_identity(own) == {0, 2}

    def differences(found: dict[int, bool] | None) -> tuple[str, ...]:
        authz_facts = {} if found is None else {"shop-pay/own": found}
        return authz_differences(ProxyFacts(Ref("Pod", "shop-pay", "payments-0"), authz=authz_facts), own)

    assert differences({0: True, 1: False, 2: True}) == ()
    assert differences({0: True}) == ()
    assert differences({0: False, 1: False, 2: True}) == (
        "payments-0 does not judge callers of shop-pay/own#0 by identity",
    )
    assert differences({1: True}) == ("payments-0 still judges callers of shop-pay/own#1 by identity",)
    assert differences(None) == ("payments-0 does not enforce shop-pay/own yet",)
