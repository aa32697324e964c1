"""Callers narrowed down by what was observed: who is relaxed, who is not, and when an observation is not enough."""

from __future__ import annotations

import pytest

from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import Consents, LeaveRequest
from meshguard.model.objects import Ref
from meshguard.model.observed import Observed
from meshguard.model.plan import Plan
from meshguard.model.scopes import Asked, asked_from
from meshguard.plan.build import plan_exit
from tests.builders import World, policy, shop

MESH = IstioSidecar()
STOREFRONT = Ref("Deployment", "shop-web", "storefront")
CART = "cart.shop-core.svc.cluster.local"
TWO_HOURS = 7_500.0


def seen(*hosts: str, seconds: float = TWO_HOURS) -> Observed:
    return Observed("envoy stats", {STOREFRONT: frozenset(hosts)}, {STOREFRONT: seconds})


def exit_of(observed: Observed | None, world: World | None = None) -> Plan:
    request = LeaveRequest(frozenset({"shop-web"}), Consents(authz_loss=True), observed=observed)
    return plan_exit((world or shop()).snapshot(), MESH, request)


def relaxed(plan: Plan) -> set[str]:
    return {s.target.namespace for s in plan.phase("relax").steps if s.target.kind == "PeerAuthentication"}


def callers(plan: Plan) -> str:
    (note,) = [note for note in plan.notes if note.startswith("Callers:")]
    return note


def test_without_observation_every_meshed_namespace_may_be_called() -> None:
    plan = exit_of(None)
    assert relaxed(plan) == {"shop-web", "shop-core", "shop-pay", "load"}
    assert "every meshed namespace may call every other; nothing narrows it" in callers(plan)


def test_only_servers_that_were_seen_to_be_called_are_relaxed_and_the_scope_itself() -> None:
    plan = exit_of(seen(CART))
    assert relaxed(plan) == {"shop-web", "shop-core"}
    assert callers(plan) == (
        "Callers: narrowed by envoy stats, which reaches back 2 h 5 min: the scope was seen to call servers in "
        "shop-core. A call to any other server that demands mutual TLS is reset until the restore."
    )


def test_whoever_would_refuse_a_call_that_was_not_seen_is_named() -> None:
    found = {str(f.object): f.detail for f in exit_of(seen(CART)).findings if f.code.id == "MG225"}
    assert found == {
        "Namespace load": "Deployment openload: not seen to be called by the scope (envoy stats, 2 h 5 min back)",
        "Namespace shop-core": "Deployment catalogue: not seen to be called by the scope (envoy stats, 2 h 5 min back)",
        "Namespace shop-pay": "Deployment payments: not seen to be called by the scope (envoy stats, 2 h 5 min back)",
    }


def test_a_server_that_takes_plaintext_anyway_is_not_named() -> None:
    open_already = policy("PeerAuthentication", "load", "open", {"mtls": {"mode": "PERMISSIVE"}})
    plan = exit_of(seen(CART), shop().add(open_already))
    assert "Namespace load" not in {str(f.object) for f in plan.findings if f.code.id == "MG225"}


def test_a_scope_that_calls_nobody_opens_nobody_else() -> None:
    plan = exit_of(seen())
    assert relaxed(plan) == {"shop-web"}
    assert "no other namespace" in callers(plan)


@pytest.mark.parametrize(
    ("observed", "why"),
    [
        (seen(CART, seconds=599.0), "it reaches back 599 s only"),
        (Observed("envoy stats", unseen={STOREFRONT: "storefront-0: no answer"}), "storefront-0: no answer"),
        (Observed("envoy stats"), "Deployment shop-web/storefront: not watched"),
    ],
)
def test_an_observation_that_is_short_or_has_gaps_narrows_nothing_and_says_so(observed: Observed, why: str) -> None:
    plan = exit_of(observed)
    assert relaxed(plan) == relaxed(exit_of(None))
    assert why in callers(plan)
    assert "not narrowed, although that was asked for" in callers(plan)
    assert not [f for f in plan.findings if f.code.id == "MG225"]


def test_one_workload_that_cannot_be_judged_is_enough() -> None:
    world = shop().deployment("shop-web", "second")
    assert relaxed(exit_of(seen(CART), world)) == relaxed(exit_of(None, world))


@pytest.mark.parametrize(
    ("seconds", "window"),
    [(600.0, "10 min"), (3_600.0, "1 h"), (90_061.0, "1 d 1 h 1 min")],
)
def test_how_far_the_observation_reaches_back_is_said_for_a_person(seconds: float, window: str) -> None:
    assert f"reaches back {window}:" in callers(exit_of(seen(CART, seconds=seconds)))


def test_that_callers_are_narrowed_is_a_part_of_the_scope_that_is_approved() -> None:
    asked = Asked(frozenset({"shop-web"}), callers_from="observed")
    assert asked.words() == ("--namespace shop-web", "--callers-from observed")
    assert asked_from((), asked.words()) == asked
    with pytest.raises(ValueError, match="not 'hearsay'"):
        asked_from(("shop-web",), ["--callers-from hearsay"])
