"""What the adapter does when the API server is slow, overloaded, broken or away."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import pytest

from meshguard.cluster.connect import open_cluster
from meshguard.cluster.requests import Patience
from meshguard.model.change import ABSENT, Change
from meshguard.model.objects import Ref
from meshguard.ports import Forbidden, Rejected, Unreachable
from tests.cluster.api_server import ApiServer, Say, connected, kubeconfig, namespace, status
from tests.fakes.clock import FakeClock

SHOP = Ref("Namespace", "", "shop")
PATH = "/api/v1/namespaces/shop"
LABEL = Change(("metadata", "labels"), ABSENT, {"istio-injection": "disabled"})
OUT = namespace("shop", labels={"istio-injection": "disabled"})


def test_retry_after_is_obeyed(tmp_path: Path) -> None:
    clock = FakeClock()
    server = ApiServer().on(f"GET {PATH}", Say(429, {}, {"Retry-After": "3"}), namespace("shop"))

    async def scenario() -> None:
        async with connected(server, tmp_path, clock=clock) as cluster:
            assert await cluster.get(SHOP)

    asyncio.run(scenario())
    assert clock.sleeps == [3.0]


def test_writes_obey_retry_after_too(tmp_path: Path) -> None:
    clock = FakeClock()
    server = ApiServer().on(f"GET {PATH}", namespace("shop"))
    server.on(f"PATCH {PATH}", Say(429, {}, {"Retry-After": "1"}), OUT)

    async def scenario() -> None:
        async with connected(server, tmp_path, clock=clock) as cluster:
            await cluster.change(SHOP, "uid-shop", [LABEL])

    asyncio.run(scenario())
    assert clock.sleeps == [1.0]
    assert server.requests("PATCH") == [f"PATCH {PATH}"] * 2


def test_a_pause_beyond_the_deadline_is_not_waited_for(tmp_path: Path) -> None:
    clock = FakeClock()
    server = ApiServer().on(f"GET {PATH}", Say(429, {"message": "too many requests"}, {"Retry-After": "120"}))

    async def scenario() -> None:
        async with connected(server, tmp_path, clock=clock) as cluster:
            with pytest.raises(Unreachable, match="too many requests"):
                await cluster.get(SHOP)

    asyncio.run(scenario())
    assert clock.sleeps == []


LEADER_CHANGED, BREAK, HANG = status(500, "etcdserver: leader changed"), Say(then_break=True), Say(hang=True)


@pytest.mark.parametrize("troubles", [[LEADER_CHANGED] * 3, [BREAK] * 3, [HANG]])
def test_reads_are_repeated_with_growing_pauses(tmp_path: Path, troubles: list[Say]) -> None:
    clock = FakeClock()
    server = ApiServer().on("GET /api/v1/pods", {"items": []})
    server.on(f"GET {PATH}", *troubles, namespace("shop"))

    async def scenario() -> None:
        async with connected(server, tmp_path, clock=clock, patience=Patience(60.0, 1.0, 120.0)) as cluster:
            await cluster.list("Pod")
            assert await cluster.get(SHOP)

    asyncio.run(scenario())
    assert len(clock.sleeps) >= 1
    assert clock.sleeps == sorted(clock.sleeps)


def test_an_outage_longer_than_the_deadline_ends_in_a_true_sentence(tmp_path: Path) -> None:
    clock = FakeClock()
    server = (
        ApiServer().on("GET /api/v1/pods", {"items": []}).on(f"GET {PATH}", status(503, "apiserver is shutting down"))
    )

    async def scenario() -> None:
        async with connected(server, tmp_path, clock=clock, patience=Patience(60.0, 60.0, 20.0)) as cluster:
            await cluster.list("Pod")
            with pytest.raises(Unreachable, match=r"gave no answer to GET .* shutting down"):
                await cluster.get(SHOP)

    asyncio.run(scenario())
    assert 15 < clock.seconds <= 20


def test_a_write_whose_answer_is_lost_is_looked_for_and_not_repeated(tmp_path: Path) -> None:
    server = ApiServer().on(f"GET {PATH}", namespace("shop"), OUT).on(f"PATCH {PATH}", Say(then_break=True))

    async def scenario() -> None:
        async with connected(server, tmp_path) as cluster:
            done = await cluster.change(SHOP, "uid-shop", [LABEL])
            assert done.labels == {"istio-injection": "disabled"}

    asyncio.run(scenario())
    assert server.requests() == [f"GET {PATH}", f"PATCH {PATH}", f"GET {PATH}"]


def test_a_write_that_was_lost_on_the_way_is_repeated(tmp_path: Path) -> None:
    server = ApiServer().on(f"GET {PATH}", namespace("shop")).on(f"PATCH {PATH}", Say(then_break=True), OUT)

    async def scenario() -> None:
        async with connected(server, tmp_path) as cluster:
            await cluster.change(SHOP, "uid-shop", [LABEL])

    asyncio.run(scenario())
    assert server.requests("PATCH") == [f"PATCH {PATH}"] * 2


def test_a_creation_whose_answer_is_lost_is_recognised(tmp_path: Path) -> None:
    manifest = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "shop", "labels": {"a": "b"}}}
    there = namespace("shop", labels={"a": "b", "kubernetes.io/metadata.name": "shop"})
    server = ApiServer().on(f"GET {PATH}", there)
    server.on("POST /api/v1/namespaces", Say(then_break=True), status(409, "exists", "AlreadyExists"))

    async def scenario() -> None:
        async with connected(server, tmp_path) as cluster:
            assert (await cluster.create(manifest)).uid == "uid-shop"
            with pytest.raises(Rejected, match="exists already"):
                await cluster.create(manifest)

    asyncio.run(scenario())


class SlowClock(FakeClock):
    """Every look at the clock takes a while, as an attempt does that is not answered."""

    def now(self) -> float:
        self.seconds += 1.0
        return self.seconds


@pytest.mark.parametrize("trouble", [status(503, "apiserver is shutting down"), Say(429, {}, {"Retry-After": "2"})])
def test_all_rounds_of_a_write_together_have_the_time_of_one_call(tmp_path: Path, trouble: Say) -> None:
    clock = SlowClock()
    server = ApiServer().on("GET /api/v1/pods", {"items": []})
    server.on(f"GET {PATH}", namespace("shop"), trouble).on(f"PATCH {PATH}", Say(then_break=True))

    async def scenario() -> float:
        async with connected(server, tmp_path, clock=clock, patience=Patience(60.0, 60.0, 20.0)) as cluster:
            await cluster.list("Pod")
            began = clock.seconds
            with pytest.raises(Unreachable):
                await cluster.change(SHOP, "uid-shop", [LABEL])
            return clock.seconds - began

    assert asyncio.run(scenario()) < 30


@pytest.mark.parametrize(("late", "at_most"), [(-10.0, 15.0), (0.0, 5.0), (60.0, 2.0)])
def test_no_call_goes_on_for_long_after_the_moment_by_which_all_was_to_end(
    tmp_path: Path, late: float, at_most: float
) -> None:
    clock = FakeClock()
    server = ApiServer().on("GET /api/v1/pods", {"items": []}).on(f"GET {PATH}", status(503, "shutting down"))

    async def scenario() -> float:
        async with connected(server, tmp_path, clock=clock) as cluster:
            await cluster.list("Pod")
            cluster.end_in(-late)
            began = clock.seconds
            with pytest.raises(Unreachable, match="shutting down"):
                await cluster.get(SHOP)
            return clock.seconds - began

    assert asyncio.run(scenario()) <= at_most


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_nobody_listening_is_said_at_once(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path, f"http://127.0.0.1:{free_port()}")

    async def scenario() -> None:
        async with await open_cluster(None, FakeClock(), kubeconfig=str(config)) as cluster:
            with pytest.raises(Unreachable, match="cannot be reached"):
                await cluster.identity()

    started = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - started < 5


class RealClock(FakeClock):
    def now(self) -> float:
        return time.monotonic()


def test_a_server_that_takes_the_connection_and_says_nothing_is_given_up_in_time(tmp_path: Path) -> None:
    server = ApiServer().on("GET /version", Say(hang=True)).on("GET /api/v1/namespaces/kube-system", Say(hang=True))

    async def scenario() -> None:
        async with connected(server, tmp_path, clock=RealClock(), patience=Patience(first_contact_s=0.5)) as cluster:
            with pytest.raises(Unreachable, match="timed out"):
                await cluster.identity()

    started = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - started < 5
    assert Patience().first_contact_s < 5


@pytest.mark.parametrize(("run", "reached"), [("20261101-030000-aaaa", True), ("", False)])
def test_a_run_that_goes_on_waits_for_a_server_that_is_slow_at_first(tmp_path: Path, run: str, reached: bool) -> None:
    clock = FakeClock()
    busy = Say(429, {"message": "too many requests"}, {"Retry-After": "2"})
    server = ApiServer().on(f"GET {PATH}", *[busy] * 3, namespace("shop"))

    async def scenario() -> bool:
        async with connected(server, tmp_path, clock=clock, run=run, patience=None) as cluster:
            try:
                return await cluster.get(SHOP) is not None
            except Unreachable:
                return False

    assert asyncio.run(scenario()) is reached
    assert (clock.seconds > Patience().first_contact_s) is reached


def test_a_refusal_is_not_repeated(tmp_path: Path) -> None:
    server = ApiServer().on(f"GET {PATH}", status(403, 'namespaces "shop" is forbidden: User "x" cannot get resource'))

    async def scenario() -> None:
        async with connected(server, tmp_path) as cluster:
            with pytest.raises(Forbidden, match='User "x" cannot get'):
                await cluster.get(SHOP)

    asyncio.run(scenario())
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "words", ['pods "x" is forbidden: exceeded quota: q', 'admission webhook "v" denied the request: no such host']
)
def test_what_admission_refuses_is_no_lack_of_rights(tmp_path: Path, words: str) -> None:
    server = ApiServer().on("POST /api/v1/namespaces/shop/pods", status(403, words))

    async def scenario() -> None:
        async with connected(server, tmp_path) as cluster:
            with pytest.raises(Rejected, match=r"quota|denied"):
                await cluster.admit_pod({"kind": "Pod", "metadata": {"name": "x", "namespace": "shop"}})

    asyncio.run(scenario())


def test_a_required_webhook_that_does_not_answer_is_a_refusal_and_not_waited_out(tmp_path: Path) -> None:
    clock = FakeClock()
    words = 'Internal error occurred: failed calling webhook "namespace.sidecar-injector.istio.io": connection refused'
    server = ApiServer().on("POST /api/v1/namespaces/shop/pods", status(500, words))

    async def scenario() -> None:
        async with connected(server, tmp_path, clock=clock) as cluster:
            with pytest.raises(Rejected, match="failed calling webhook"):
                await cluster.admit_pod({"kind": "Pod", "metadata": {"name": "x", "namespace": "shop"}})

    asyncio.run(scenario())
    assert clock.sleeps == []


def test_something_else_at_that_address_is_said_to_be_something_else(tmp_path: Path) -> None:
    server = ApiServer().on(f"GET {PATH}", Say(text="<html>please log in</html>"))

    async def scenario() -> None:
        async with connected(server, tmp_path) as cluster:
            with pytest.raises(Unreachable, match="does not answer like a Kubernetes API server: <html>please"):
                await cluster.get(SHOP)

    asyncio.run(scenario())
