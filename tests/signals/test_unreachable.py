"""Sidecars without a proxy: who is not waited for, and who always is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from meshguard.mesh.istio_sidecar.mesh_config import mesh_config
from meshguard.model.measurement import Measurement
from meshguard.model.objects import Pod, Ref
from meshguard.model.plan import Await, Check
from meshguard.model.proxy import Connected, InboundPort, ProxyFacts, ProxyUnreachable
from meshguard.model.snapshot import ClusterIdentity, Snapshot, resource_of
from meshguard.model.verdict import Truth, Verdict
from meshguard.verify.istio_judge import IstioJudge
from meshguard.verify.unreachable import unreachable
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import FakeCluster
from tests.fakes.signals import FakeSignals

NOW = "2026-03-01T03:00:00.000Z"  # when the clock of the fakes begins
HOUR_AGO, MOMENT_AGO = "2026-03-01T02:00:00Z", "2026-03-01T02:59:58Z"
ISTIOD = Ref("Pod", "istio-system", "istiod-a")


def doc(
    namespace: str, name: str, *, ready: bool = True, since: str = HOUR_AGO, started: str = HOUR_AGO, **labels: str
) -> dict[str, Any]:
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": since}
    return {
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "uid": f"uid-{name}", "labels": labels},
        "spec": {"nodeName": "node1", "containers": [{"name": "app"}, {"name": "istio-proxy"}]},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "startTime": started,
            "conditions": [condition],
            "containerStatuses": [{"name": "app", "state": {"running": {"startedAt": started}}}],
        },
    }


def istiod(name: str = "istiod-a", **parts: Any) -> dict[str, Any]:
    found = doc("istio-system", name, app="istiod", **parts)
    found["spec"]["containers"] = [{"name": "discovery"}]
    return found


def pod(**parts: Any) -> Pod:
    return Pod(Ref("Pod", "shop", "web-1"), doc("shop", "web-1", **parts))


def snapshot(*istiods: Mapping[str, Any]) -> Snapshot:
    resources = [resource_of(found, "Pod") for found in istiods]
    return Snapshot(ClusterIdentity("uid", "context", "server"), NOW, {r.ref: r for r in resources})


def is_unreachable(suspect: Pod, connected: Connected, *istiods: Mapping[str, Any], meshed: int = 1) -> bool:
    return bool(unreachable([suspect], connected, snapshot(*istiods), meshed))


HEARD = Connected(answered=frozenset({ISTIOD}))


def test_a_ready_pod_that_no_istiod_knows_has_no_proxy() -> None:
    assert is_unreachable(pod(), HEARD, istiod())


@pytest.mark.parametrize(
    ("suspect", "connected", "istiods"),
    [
        (pod(), Connected(frozenset({pod().ref}), frozenset({ISTIOD})), [istiod()]),
        (pod(), Connected(silent={ISTIOD: "no answer"}), [istiod()]),
        (pod(), HEARD, [istiod(), istiod("istiod-b", ready=False)]),
        (pod(), Connected(), []),
        (pod(), HEARD, [istiod(started=MOMENT_AGO)]),
        (pod(since=MOMENT_AGO), HEARD, [istiod()]),
        (pod(ready=False, started=MOMENT_AGO), HEARD, [istiod()]),
    ],
    ids=[
        "an istiod knows it",
        "istiod is silent",
        "one istiod did not answer, though it is not ready",
        "nobody to ask",
        "istiod has just started: proxies are still coming back",
        "it has just become ready",
        "it may still be starting",
    ],
)
def test_whatever_speaks_for_a_proxy_makes_it_awaited(
    suspect: Pod, connected: Connected, istiods: list[dict[str, Any]]
) -> None:
    assert not is_unreachable(suspect, connected, *istiods)


def test_a_pod_that_never_became_ready_is_not_awaited_for_ever() -> None:
    assert is_unreachable(pod(ready=False), HEARD, istiod())


def test_the_larger_the_mesh_the_longer_its_proxies_take_to_come_back() -> None:
    two_minutes = istiod(started="2026-03-01T02:58:00Z")
    assert is_unreachable(pod(), HEARD, two_minutes, meshed=100)
    assert not is_unreachable(pod(), HEARD, two_minutes, meshed=2_400)


class Unmeasured:
    async def measure(self, signal: str, args: Mapping[str, Any]) -> Measurement:
        raise KeyError(signal)


INBOUND = Await(Check.INBOUND, "the proxies take plaintext", ("shop",), {"plaintext": True})
PERMISSIVE = {0: InboundPort(plaintext=True, mutual_tls=True)}


def judged(signals: FakeSignals, awaited: Await = INBOUND) -> Verdict:
    cluster = FakeCluster(istiod(), doc("shop", "web-1"), doc("shop", "web-2"))
    judge = IstioJudge(cluster, signals, FakeClock(), mesh_config(snapshot()), Unmeasured())
    return asyncio.run(judge.judge(awaited))


def deserted(*names: str, nobody_there: bool = True) -> FakeSignals:
    signals = FakeSignals()
    for ref in (Ref("Pod", "shop", name) for name in names):
        signals.silent[ref] = ProxyUnreachable(ref, "HTTP 500", nobody_there)
    return signals


def test_without_any_proxy_nothing_is_awaited_and_nothing_counts_as_seen() -> None:
    verdict = judged(deserted("web-1", "web-2"))
    assert (verdict.truth, verdict.done, verdict.total, verdict.unreachable) == (Truth.UNKNOWN, 0, 2, 2)
    assert not verdict.holds
    assert verdict.is_all_there_is


def test_a_proxy_that_is_silent_is_awaited_beside_one_that_is_not_there() -> None:
    signals = deserted("web-1", "web-2")
    signals.silent[Ref("Pod", "shop", "web-2")] = ProxyUnreachable(Ref("Pod", "shop", "web-2"), "no answer in 5 s")
    verdict = judged(signals)
    assert (verdict.unreachable, verdict.missing) == (1, ("web-2: no answer in 5 s",))
    assert not verdict.is_all_there_is


def test_a_proxy_that_istiod_knows_is_awaited_though_nobody_takes_questions_for_it() -> None:
    signals = deserted("web-1", "web-2")
    signals.connected_pods = frozenset({Ref("Pod", "shop", "web-1")})
    assert not judged(signals).is_all_there_is


def test_proxies_that_are_there_must_have_what_is_awaited() -> None:
    signals = deserted("web-1")
    signals.facts[Ref("Pod", "shop", "web-2")] = ProxyFacts(Ref("Pod", "shop", "web-2"), inbound={})
    assert not judged(signals).is_all_there_is
    signals.facts[Ref("Pod", "shop", "web-2")] = ProxyFacts(Ref("Pod", "shop", "web-2"), inbound=PERMISSIVE)
    verdict = judged(signals)
    assert (verdict.done, verdict.total, verdict.unreachable, verdict.is_all_there_is) == (1, 2, 1, True)
    assert not verdict.holds


def test_nobody_watches_the_traffic_of_proxies_that_are_not_there() -> None:
    traffic = Await(Check.TRAFFIC, "nothing fails", ("web.shop.svc.cluster.local",), {"watchSeconds": 20})
    verdict = judged(deserted("web-1", "web-2"), traffic)
    assert (verdict.done, verdict.is_all_there_is) == (0, True)
