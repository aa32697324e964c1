"""From the state of the fleet to what a person at the shop sees: failures by their cause, and latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshguard.sim.fleet import constants as c
from meshguard.sim.fleet.mtls import Policies, refusing, unmeshed
from meshguard.sim.fleet.parts import Node, Service

CAUSES = ("no-endpoint", "stale-endpoint", "proxy-down", "overload", "mtls")
HOPS = 4
"""A request of a person passes so many services, one after the other. Assumed."""


def hop_seconds(busy: float, backlog_s: float) -> float:
    """P99 of a hop to a node that is so busy, and has so much work waiting; cut by the timeout.

    Queueing theory: 1 / (1 - utilisation) while the queue is in balance; a fluid queue where it is not.
    """
    return min(c.TIMEOUT_S, c.HOP_MS / 1000 / (1 - min(busy, c.BUSIEST)) + backlog_s)


@dataclass(frozen=True)
class Seen:
    """One second of traffic."""

    p99_s: float
    failing: Mapping[str, float]
    """The share of a person's requests that fail, by cause; causes do not overlap."""
    edges: Sequence[tuple[float, float]] = ()
    """For each service the shares of its calls that reach nobody, and that come too late."""

    @property
    def failed(self) -> float:
        """All of them."""
        return sum(self.failing.values())


def look(services: Sequence[Service], nodes: Sequence[Node], now: float, policies: Policies, *, mixed: bool) -> Seen:
    """Judge one moment. `mixed` says whether some pods are outside of the mesh."""
    unreached: list[float] = []
    edges = _edge_failures(services, now, policies, unreached, mixed=mixed)
    pods = sum(len(node.pods) for node in nodes) or 1
    late = [node for node in nodes if node.hop_s >= c.TIMEOUT_S and node.busy > 1]
    edges["overload"] = sum(len(node.pods) * (1 - 1 / node.busy) for node in late) / pods
    p99 = _p99(nodes, pods)
    by_service = tuple((share, edges["overload"]) for share in unreached)
    total = min(1.0, sum(edges.values()))
    if total <= 0:
        return Seen(p99, {}, by_service)
    failing = 1 - (1 - total) ** HOPS
    scale = failing / sum(edges.values())
    return Seen(p99, {cause: share * scale for cause, share in edges.items() if share > 0}, by_service)


def _p99(nodes: Sequence[Node], pods: int) -> float:
    """The slowest hop that one request in a hundred meets, and ordinary ones for the rest of its way."""
    order = sorted((node.hop_s, len(node.pods)) for node in nodes if node.pods)
    if not order:
        return c.TIMEOUT_S
    rare, middle, passed, slow = 0.99 ** (1 / HOPS) * pods, pods / 2, 0, order[-1][0]
    typical = order[0][0]
    for hop, count in order:
        passed += count
        if passed <= middle:
            typical = hop
        if passed >= rare:
            slow = hop
            break
    return min(c.TIMEOUT_S, slow + (HOPS - 1) * typical)


def _edge_failures(
    services: Sequence[Service], now: float, policies: Policies, unreached: list[float], *, mixed: bool
) -> dict[str, float]:
    """The mean over all calls between services, by cause; `unreached` gets each service's own share."""
    total, out = 0, dict.fromkeys(CAUSES, 0.0)
    leaving = {s.number: unmeshed(s) for s in services} if mixed else {}
    strict = {s.number: refusing(s, policies) for s in services} if mixed and policies.anywhere else {}
    for service in services:
        ready = down = 0
        for pod in service.pods.values():
            if pod.ready:
                ready += 1
                down += pod.down_until > now
        total += 1
        if ready == 0:
            out["no-endpoint"] += 1
            unreached.append(1.0)
            continue
        rest = 1.0
        if service.gone:
            stale = service.gone / (service.gone + ready)
            out["stale-endpoint"] += (share := rest * stale ** (1 + c.RETRIES))
            rest -= share
        if down:  # calls to it are tried elsewhere, calls from it have nowhere to go
            out["proxy-down"] += (share := rest * min(1.0, down / ready + (down / ready) ** (1 + c.RETRIES)))
            rest -= share
        unreached.append(1 - rest)
        if strict and service.callees:
            refused = sum(strict[number] for number in service.callees) / len(service.callees)
            out["mtls"] += rest * leaving[service.number] * refused
    return {cause: value / max(1, total) for cause, value in out.items()}
