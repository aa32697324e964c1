"""Reading many proxies: how many at a time, for how long, and what becomes of those that do not answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from meshguard.model.objects import Pod, Ref
from meshguard.model.proxy import ProxyFacts, ProxyUnreachable, UpstreamTls
from meshguard.ports import Forbidden, NobodyThere, Unreachable
from meshguard.signals.admin import clusters_path, counters_path, endpoints_path, inbound_path
from meshguard.signals.istiod import control_plane, versions
from meshguard.signals.portforward import Frames
from meshguard.signals.reader import EnvoySignals

FIXTURES = Path(__file__).parent / "fixtures"
PORT_GREETINGS = [b"\x00\x98\x3a", b"\x01\x98\x3a"]
Answer = Callable[[str], bytes]


class Pipe:
    """A port-forward whose other end is a function from a path to a body."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._waiting = list(PORT_GREETINGS)

    async def send(self, frame: bytes) -> None:
        path = frame[1:].split(b" ", 2)[1].decode()
        body = self._answer(path)
        reply = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        self._waiting += [b"\x00" + reply[i : i + 1000] for i in range(0, len(reply), 1000)]

    async def receive(self) -> bytes | None:
        return self._waiting.pop(0) if self._waiting else None


class Tunnels:
    """Counts what is open, and lets a test decide what each pod answers."""

    def __init__(self, answers: dict[str, Answer | Exception]) -> None:
        self.answers = answers
        self.open = self.most_open = self.opened = 0

    def tunnel(
        self, path: str, query: Sequence[tuple[str, str]], protocols: Sequence[str]
    ) -> AbstractAsyncContextManager[Frames]:
        return self._tunnel(path)

    @asynccontextmanager
    async def _tunnel(self, path: str) -> AsyncIterator[Frames]:
        answer = self.answers[path.split("/")[-2]]
        if isinstance(answer, Exception):
            raise answer
        self.opened += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await asyncio.sleep(0)
            yield Pipe(answer)
        finally:
            self.open -= 1


def pod(name: str) -> Pod:
    return Pod(Ref("Pod", "shop", name), {"metadata": {"name": name, "namespace": "shop"}})


def envoy(path: str) -> bytes:
    """Answer as an Envoy does."""
    query = parse_qs(urlsplit(path).query)
    if path.startswith("/stats"):
        name = "counters"
    else:
        kinds = {"dynamic_listeners": "inbound_strict", "dynamic_active_clusters": "clusters"}
        name = kinds.get(query["resource"][0], "endpoints")
    return (FIXTURES / f"{name}.json").read_bytes()


def read(tunnels: Tunnels, pods: Sequence[Pod], parts: Sequence[str], **options: float) -> dict[Ref, object]:
    concurrency, deadline_s = int(options.get("concurrency", 16)), options.get("deadline_s", 5.0)

    async def scenario() -> dict[Ref, object]:
        signals = EnvoySignals(tunnels, concurrency=concurrency, deadline_s=deadline_s)
        return dict(await signals.proxies(pods, parts))

    return asyncio.run(scenario())


def test_all_parts_come_through_one_port_forward() -> None:
    tunnels = Tunnels({"web": envoy})
    facts = read(tunnels, [pod("web")], ["inbound", "clusters", "endpoints", "authz", "counters"])[pod("web").ref]
    assert isinstance(facts, ProxyFacts)
    assert facts.inbound is not None
    assert set(facts.inbound) == {0, 8080}
    assert facts.authz is not None
    assert list(facts.authz) == ["shop-pay/payments-callers"]
    assert facts.clusters is not None
    assert UpstreamTls.ALWAYS in facts.clusters.values()
    assert facts.endpoints
    assert facts.counters["listener.0.0.0.0_15006.ssl.handshake"] == 0
    assert tunnels.opened == 1


def test_what_was_not_asked_for_is_none() -> None:
    facts = read(Tunnels({"web": envoy}), [pod("web")], ["inbound"])[pod("web").ref]
    assert isinstance(facts, ProxyFacts)
    assert (facts.clusters, facts.endpoints, facts.authz) == (None, None, None)


def test_no_more_proxies_at_a_time_than_allowed() -> None:
    pods = [pod(f"web-{n}") for n in range(40)]
    tunnels = Tunnels({p.ref.name: envoy for p in pods})
    answers = read(tunnels, pods, ["inbound"], concurrency=4)
    assert len(answers) == 40
    assert tunnels.most_open == 4
    assert tunnels.open == 0


def test_a_part_that_does_not_exist_is_an_error_of_the_caller() -> None:
    with pytest.raises(ValueError, match="moods"):
        read(Tunnels({}), [], ["moods"])


def no_json(path: str) -> bytes:
    return b"<html>"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Forbidden('User "bob" cannot create pods/portforward'), "cannot create pods/portforward"),
        (no_json, "Expecting value"),
    ],
)
def test_a_proxy_that_cannot_be_read_is_unreachable_and_says_why(answer: Answer | Exception, reason: str) -> None:
    answers = read(Tunnels({"web": answer, "cart": envoy}), [pod("web"), pod("cart")], ["inbound"])
    unreachable = answers[pod("web").ref]
    assert isinstance(unreachable, ProxyUnreachable)
    assert reason in unreachable.reason
    assert isinstance(answers[pod("cart").ref], ProxyFacts)


class Silent(Tunnels):
    @asynccontextmanager
    async def _tunnel(self, path: str) -> AsyncIterator[Frames]:
        class Nothing:
            async def send(self, frame: bytes) -> None:
                return

            async def receive(self) -> bytes | None:
                await asyncio.Event().wait()
                return None

        yield Nothing()


def test_a_proxy_that_hangs_costs_its_deadline_and_no_more() -> None:
    answer = read(Silent({}), [pod("web")], ["inbound"], deadline_s=0.05)[pod("web").ref]
    assert isinstance(answer, ProxyUnreachable)
    assert "no complete answer within" in answer.reason


class Refused(Tunnels):
    @asynccontextmanager
    async def _tunnel(self, path: str) -> AsyncIterator[Frames]:
        class Error:
            def __init__(self) -> None:
                self.frames = [*PORT_GREETINGS, b"\x01connect: connection refused\n"]

            async def send(self, frame: bytes) -> None:
                return

            async def receive(self) -> bytes | None:
                return self.frames.pop(0) if self.frames else None

        yield Error()


def test_a_pod_without_a_proxy_is_unreachable() -> None:
    answer = read(Refused({}), [pod("plain")], ["inbound"])[pod("plain").ref]
    assert answer == ProxyUnreachable(pod("plain").ref, "nothing listens on port 15000 of the pod", nobody_there=True)


def test_envoy_is_asked_for_little() -> None:
    hosts = ["cart.shop.svc.cluster.local", "pay.shop.svc.cluster.local"]
    pattern = r"outbound\|[0-9]+\|[^|]*\|(cart\.shop\.svc\.cluster\.local|pay\.shop\.svc\.cluster\.local)"
    for path in (clusters_path(hosts), endpoints_path(hosts)):
        assert parse_qs(urlsplit(path).query)["name_regex"] == [pattern]
    assert pattern in parse_qs(urlsplit(counters_path(hosts)).query)["filter"][0]
    assert parse_qs(urlsplit(inbound_path()).query)["name_regex"] == ["virtualInbound"]


def test_many_hosts_do_not_make_an_endless_url() -> None:
    many = [f"service-{n}.some-namespace.svc.cluster.local" for n in range(2000)]
    assert len(clusters_path(many)) < 500
    assert len(counters_path(many)) < 2000


def test_every_replica_of_istiod_is_asked() -> None:
    rows = (FIXTURES / "syncz.json").read_bytes()
    tunnels = Tunnels({"istiod-a": lambda _: rows, "istiod-b": lambda _: b"null", "istiod-c": Forbidden("no")})
    seen = asyncio.run(control_plane(tunnels, [pod("istiod-a"), pod("istiod-b"), pod("istiod-c")]))
    assert [proxy.version for proxy in seen.proxies.values()] == ["1.31.0"] * 2
    assert seen.silent == {pod("istiod-c").ref: "no"}


def test_istiods_that_answer_say_which_version_they_are() -> None:
    tunnels = Tunnels({"istiod-a": lambda path: f"1.31.0{path}".encode(), "istiod-b": Forbidden("no")})
    told = asyncio.run(versions(tunnels, [pod("istiod-a"), pod("istiod-b")]))
    assert told == {pod("istiod-a").ref: "1.31.0/version"}


def test_istiod_tells_what_a_proxy_refuses_or_has_not_taken_yet() -> None:
    listener = "type.googleapis.com/envoy.config.listener.v3.Listener"
    row = {
        "proxy": "web-1.shop",
        "istio_version": "1.29.0",
        "resources": {
            listener: {"sent": "b", "acked": "a", "lastError": "Didn't find a registered implementation"},
            "type.googleapis.com/envoy.config.cluster.v3.Cluster": {"sent": "c", "acked": "c"},
        },
    }
    tunnels = Tunnels({"istiod": lambda _: json.dumps([row, {"proxy": ""}]).encode()})
    (proxy,) = asyncio.run(control_plane(tunnels, [pod("istiod")])).proxies.values()
    assert proxy.pod == Ref("Pod", "shop", "web-1")
    assert proxy.unacknowledged == ("Listener",)
    assert proxy.rejected == {"Listener": "Didn't find a registered implementation"}


def on_node(name: str, node: str) -> Pod:
    return Pod(pod(name).ref, {**pod(name).doc, "spec": {"nodeName": node}})


def test_a_node_that_takes_no_port_forwards_is_not_asked_for_each_of_its_pods() -> None:
    pods = [on_node(f"web-{n}", "deserted") for n in range(50)] + [on_node("pay", "node1")]
    answers_of: dict[str, Answer | Exception] = {p.ref.name: NobodyThere("HTTP 500") for p in pods}
    tunnels = CountedTunnels({**answers_of, "pay": envoy})
    answers = read(tunnels, pods, ["inbound"], concurrency=4)
    gone = [a for a in answers.values() if isinstance(a, ProxyUnreachable)]
    assert len(gone) == 50
    assert all(answer.nobody_there for answer in gone)
    assert isinstance(answers[on_node("pay", "node1").ref], ProxyFacts)
    assert tunnels.asked <= 4 + 1


def test_silence_and_a_lack_of_rights_are_not_the_absence_of_a_proxy() -> None:
    tunnels = Tunnels({"web": Forbidden("no"), "pay": Unreachable("HTTP 503")})
    for answer in read(tunnels, [on_node("web", "a"), on_node("pay", "b")], ["inbound"]).values():
        assert isinstance(answer, ProxyUnreachable)
        assert not answer.nobody_there


class CountedTunnels(Tunnels):
    asked = 0

    @asynccontextmanager
    async def _tunnel(self, path: str) -> AsyncIterator[Frames]:
        self.asked += 1
        async with super()._tunnel(path) as frames:
            yield frames
