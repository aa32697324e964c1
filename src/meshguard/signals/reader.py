"""The Signals port for Istio sidecars: each proxy is asked for its own configuration."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshguard.model.objects import Pod, Ref
from meshguard.model.proxy import Connected, ProxyFacts, ProxyUnreachable
from meshguard.ports import ClusterError, NobodyThere
from meshguard.signals import admin
from meshguard.signals.authz import authz_rules
from meshguard.signals.http1 import HttpConnection, HttpError
from meshguard.signals.inbound import inbound_listener, inbound_ports
from meshguard.signals.istiod import control_plane
from meshguard.signals.portforward import NobodyListens, PortForwardError, Tunnels, port_stream
from meshguard.signals.turns import Turns
from meshguard.signals.upstream import cluster_tls, cluster_types, endpoints

PARTS = frozenset({"inbound", "clusters", "endpoints", "authz", "counters"})


@dataclass
class Cost:
    """What reading proxies has cost so far."""

    proxies: int = 0
    bytes: int = 0
    seconds: float = 0.0
    """Time of all proxies added up, as if they were read one after the other."""


class EnvoySignals:
    """Reads Envoy's admin interface through port-forwards, so many proxies at a time as can answer (see Turns)."""

    def __init__(self, tunnels: Tunnels, *, concurrency: int = 16, deadline_s: float = 5.0) -> None:
        self._tunnels = tunnels
        self._turns = Turns(concurrency, deadline_s, time.monotonic)
        self._deadline_s = deadline_s
        self.cost = Cost()

    async def proxies(
        self, pods: Sequence[Pod], parts: Collection[str], *, hosts: Collection[str] = ()
    ) -> Mapping[Ref, ProxyFacts | ProxyUnreachable]:
        """Read these parts (`inbound`, `clusters`, `endpoints`, `authz`, `counters`) of each pod's proxy.

        `hosts` narrows clusters and endpoints to these services. A proxy that does not answer completely within
        the deadline is ProxyUnreachable. A node on which nobody takes port-forwards is not asked again for each of its
        pods. Raises ValueError for a part that does not exist.
        """
        if unknown := set(parts) - PARTS:
            raise ValueError(f"no such part of a proxy: {', '.join(sorted(unknown))}")
        deserted: dict[str, str] = {}

        async def one(pod: Pod) -> ProxyFacts | ProxyUnreachable:
            async with self._turns.turn():
                if pod.node in deserted:
                    return ProxyUnreachable(pod.ref, f"as all of node {pod.node}: {deserted[pod.node]}", True)
                try:
                    return await self._one(pod.ref, frozenset(parts), hosts)
                except NobodyThere as error:
                    if pod.node:
                        deserted[pod.node] = str(error)
                    return ProxyUnreachable(pod.ref, str(error), True)

        answers = await asyncio.gather(*(one(pod) for pod in pods))
        return {answer.pod: answer for answer in answers}

    async def connected(self, istiods: Sequence[Pod]) -> Connected:
        """Ask each of these pods which proxies are connected to it. Raises nothing: silence is an answer."""
        plane = await control_plane(self._tunnels, istiods, deadline_s=self._deadline_s)
        answered = frozenset(pod.ref for pod in istiods) - plane.silent.keys()
        return Connected(frozenset(plane.proxies), answered, plane.silent)

    async def _one(self, pod: Ref, parts: frozenset[str], hosts: Collection[str]) -> ProxyFacts | ProxyUnreachable:
        """Ask one proxy. Raises NobodyThere where its node takes no port-forwards."""
        started = asyncio.get_running_loop().time()
        try:
            async with (
                asyncio.timeout(self._deadline_s),
                port_stream(self._tunnels, pod, admin.ADMIN_PORT) as stream,
            ):
                connection = HttpConnection(stream)
                facts = await _read(connection, pod, parts, hosts)
                self.cost.bytes += connection.received
                self._turns.answered()
                return facts
        except TimeoutError:
            self._turns.late()
            return ProxyUnreachable(pod, f"its proxy gave no complete answer within {self._deadline_s:.0f} s")
        except NobodyThere:
            raise
        except NobodyListens as error:
            return ProxyUnreachable(pod, str(error), True)
        except (ClusterError, PortForwardError, HttpError, ValueError) as error:
            return ProxyUnreachable(pod, str(error))
        finally:
            self.cost.proxies += 1
            self.cost.seconds += asyncio.get_running_loop().time() - started


async def _read(connection: HttpConnection, pod: Ref, parts: frozenset[str], hosts: Collection[str]) -> ProxyFacts:
    async def document(path: str) -> Mapping[str, Any]:
        return json.loads(await connection.get(path))  # type: ignore[no-any-return]

    facts: dict[str, Any] = {}
    if parts & {"inbound", "authz"}:
        listener = inbound_listener(await document(admin.inbound_path()))
        if "inbound" in parts:
            facts["inbound"] = inbound_ports(listener)
        if "authz" in parts:
            facts["authz"] = authz_rules(listener)
    if parts & {"clusters", "endpoints"}:
        dump = await document(admin.clusters_path(hosts, types_only="clusters" not in parts))
        if "clusters" in parts:
            facts["clusters"] = cluster_tls(dump)
        if "endpoints" in parts:
            facts["endpoints"] = endpoints(await document(admin.endpoints_path(hosts)), cluster_types(dump))
    if "counters" in parts:
        stats = await document(admin.counters_path(hosts))
        facts["counters"] = {row["name"]: int(row["value"]) for row in stats.get("stats") or () if "value" in row}
    return ProxyFacts(pod, **facts)
