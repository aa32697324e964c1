"""Who calls whom, and how it ends: from Istio's own telemetry, or from Envoy's counters where that is switched off."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshguard.model.measurement import Measurement, Sample
from meshguard.model.objects import Pod, Ref
from meshguard.model.proxy import ProxyFacts
from meshguard.signals.admin import ADMIN_PORT
from meshguard.signals.asking import Silence
from meshguard.signals.exposition import Series, parse
from meshguard.signals.measure.proxies import STATS, rise
from meshguard.signals.measure.world import World, silent

ISTIO = "istio_requests_total"
ENVOY = "envoy stats, upstream_rq_*"
_ISTIO_PATH = "/stats/prometheus?usedonly&filter=istio_requests_total"
_CLUSTER = re.compile(r"cluster\.outbound\|(?P<port>\d+)\|[^|]*\|(?P<host>[^;]+?);?\.(?P<counter>(?:upstream|ssl).*)")
_REQUESTS = re.compile(r"upstream_rq_[1-5]xx")
_FAILED_CONNECTS = re.compile(r"upstream_cx_connect_(fail|timeout)|ssl\.connection_error|ssl\.fail_verify_\w+")
_CALLS = ("upstream_cx_total", "upstream_rq_total")
_RETRIED = "upstream_rq_retry"
_USED = re.compile(r"upstream_cx_total|upstream_rq_total|ssl\.handshake")

Edge = tuple[str, str]
"""Caller (`namespace/workload`) and callee (`host:port`)."""


@dataclass
class Tally:
    """Requests of one edge within the window."""

    requests: float = 0
    failed: float = 0
    flags: frozenset[str] = frozenset()


async def success(world: World, args: Mapping[str, Any]) -> Measurement:
    """The share of requests that did not end in a 5xx, for each edge."""
    pods = await world.meshed(args["namespaces"])
    source, unseen, tallies = await _tallied(world, pods, args)
    samples, left_out = [], []
    for (caller, callee), tally in sorted(tallies.items()):
        title = f"{caller} -> {callee}"
        if tally.requests < max(args["minRequests"], 1):
            left_out.append(f"{title}: only {tally.requests:.0f} requests in {args['window']:g} s")
            continue
        flags = f", flags {' '.join(sorted(tally.flags))}" if tally.flags else ""
        note = f"{tally.failed:.0f} of {tally.requests:.0f} requests failed{flags}"
        samples.append(Sample(title, 1 - tally.failed / tally.requests, note))
    return Measurement(tuple(samples), source, unseen, tuple(left_out))


_Tallied = tuple[str, tuple[str, ...], dict[Edge, Tally]]
"""The source, what was not seen, and the requests of each edge."""


async def _tallied(world: World, pods: Sequence[Pod], args: Mapping[str, Any]) -> _Tallied:
    if args["telemetry"] != "envoy":
        first = await world.ask_all(pods, ADMIN_PORT, _ISTIO_PATH, _requests_total)
        if args["telemetry"] == "istio" or any(isinstance(answer, list) and answer for answer in first.values()):
            return await _by_istio(world, pods, args, first)
    return await _by_envoy(world, pods, args)


async def _by_istio(
    world: World, pods: Sequence[Pod], args: Mapping[str, Any], first: Mapping[Ref, list[Series] | Silence]
) -> _Tallied:
    await world.clock.sleep(args["window"])
    second = await world.ask_all(pods, ADMIN_PORT, _ISTIO_PATH, _requests_total)
    tallies: dict[Edge, Tally] = defaultdict(Tally)
    for ref, after in second.items():
        before = first[ref]
        if not isinstance(after, Silence) and not isinstance(before, Silence):
            _add_istio(tallies, before, after)
    return ISTIO, tuple(sorted({*silent(first), *silent(second)})), dict(tallies)


def _requests_total(body: bytes) -> list[Series]:
    return [s for s in parse(body.decode()) if s.name == ISTIO and s.labels.get("reporter") == "source"]


def _add_istio(tallies: dict[Edge, Tally], before: Sequence[Series], after: Sequence[Series]) -> None:
    was = {frozenset(s.labels.items()): s.value for s in before}
    for series in after:
        earlier = was.get(frozenset(series.labels.items()), 0.0)
        rose = series.value - earlier if series.value >= earlier else series.value
        if rose > 0:
            labels = series.labels
            caller = f"{labels.get('source_workload_namespace', '')}/{labels.get('source_workload', '')}"
            tally = tallies[(caller, labels.get("destination_service", ""))]
            tally.requests += rose
            # gRPC answers 200 to a failed call; a request without any answer has code 0
            if labels.get("response_code", "0")[0] in "05":
                tally.failed += rose
                tally.flags |= {labels.get("response_flags", "-")} - {"-"}


async def _by_envoy(world: World, pods: Sequence[Pod], args: Mapping[str, Any]) -> _Tallied:
    before, after, unseen = await _looks(world, pods, args)
    names = {pod.ref: caller_of(pod) for pod in pods}
    tallies: dict[Edge, Tally] = defaultdict(Tally)
    for ref, facts in after.items():
        for host, counter, rose, _ in _rises(before[ref], facts):
            if _REQUESTS.fullmatch(counter) and rose:
                tally = tallies[(names[ref], host)]
                tally.requests += rose
                tally.failed += rose if counter.endswith("_5xx") else 0
    return ENVOY, unseen, dict(tallies)


async def connect_failures(world: World, args: Mapping[str, Any]) -> Measurement:
    """Connects that failed, for each edge that has been used at all."""
    pods = await world.meshed(args["namespaces"])
    before, after, unseen = await _looks(world, pods, args)
    names = {pod.ref: caller_of(pod) for pod in pods}
    failed: dict[Edge, float] = {}
    for ref, facts in after.items():
        for host, counter, rose, total in _rises(before[ref], facts):
            edge = (names[ref], host)
            if _FAILED_CONNECTS.fullmatch(counter) and rose:
                failed[edge] = failed.get(edge, 0) + rose
            elif _USED.fullmatch(counter) and total:
                failed.setdefault(edge, 0)
    samples = tuple(Sample(f"{caller} -> {callee}", value) for (caller, callee), value in sorted(failed.items()))
    return Measurement(samples, STATS, unseen)


async def retries(world: World, args: Mapping[str, Any]) -> Measurement:
    """Requests that a caller's proxy sent once more, for each edge that has been used at all."""
    pods = await world.meshed(args["namespaces"])
    before, after, unseen = await _looks(world, pods, args)
    names = {pod.ref: caller_of(pod) for pod in pods}
    repeated: dict[Edge, float] = {}
    for ref, facts in after.items():
        for host, counter, rose, total in _rises(before[ref], facts):
            edge = (names[ref], host)
            if counter == _RETRIED:
                repeated[edge] = repeated.get(edge, 0) + rose
            elif _USED.fullmatch(counter) and total:
                repeated.setdefault(edge, 0)
    samples = tuple(Sample(f"{caller} -> {callee}", value) for (caller, callee), value in sorted(repeated.items()))
    return Measurement(samples, STATS, unseen)


async def _looks(
    world: World, pods: Sequence[Pod], args: Mapping[str, Any]
) -> tuple[dict[Ref, ProxyFacts], dict[Ref, ProxyFacts], tuple[str, ...]]:
    """The counters at both ends of the window, of those proxies that answered twice."""
    first = await world.counters(pods)
    await world.clock.sleep(args["window"])
    second = await world.counters(pods)
    before = {ref: facts for ref, facts in first.items() if isinstance(facts, ProxyFacts)}
    after = {ref: facts for ref, facts in second.items() if isinstance(facts, ProxyFacts) and ref in before}
    return before, after, tuple(sorted({*silent(first), *silent(second)}))


def _rises(before: ProxyFacts, after: ProxyFacts) -> Iterator[tuple[str, str, int, int]]:
    """For each counter of a service: host and port, the counter's name, how much it rose, and its value."""
    for name, value in after.counters.items():
        match = _CLUSTER.fullmatch(name)
        if match:
            yield f"{match['host']}:{match['port']}", match["counter"], rise(before, after, name), value


def hosts_called(facts: ProxyFacts) -> frozenset[str] | None:
    """Return the hosts that a proxy has called since it started; None when it keeps no counters of that."""
    counted = [(m, value) for name, value in facts.counters.items() if (m := _CLUSTER.fullmatch(name))]
    if not any(match["counter"] in _CALLS for match, _ in counted):
        return None
    return frozenset(match["host"] for match, value in counted if _USED.fullmatch(match["counter"]) and value)


def caller_of(pod: Pod) -> str:
    """`namespace/workload`, by the name that a person knows the pod's workload by."""
    kind, name = pod.owner
    workload = name.rpartition("-")[0] if kind == "ReplicaSet" else name
    return f"{pod.ref.namespace}/{workload or pod.ref.name}"


READERS = {
    "edges.success": success,
    "edges.connect-failures": connect_failures,
    "edges.retries": retries,
}
