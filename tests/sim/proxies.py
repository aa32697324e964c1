"""Proxies that have what the cluster says, at once or a while later: what a real Envoy tells, without selectors.

Written from what real proxies were seen to tell (`tests/signals/fixtures`), without meshguard's rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from meshguard.sim.api.cluster import SimulatedCluster
from meshguard.sim.api.store import Entry
from meshguard.sim.pods import Asked, Pod, Responder, Said

ROOT, POLICIES, RULES = (
    "istio-system",
    "peerauthentications.security.istio.io",
    "destinationrules.networking.istio.io",
)
_TLS = {"name": "envoy.transport_sockets.tls", "typed_config": {"require_client_certificate": True}}
_MUTUAL = {"name": "tlsMode-istio", "match": {"tlsMode": "istio"}, "transport_socket": {"name": _TLS["name"]}}
_PLAIN = {"name": "tlsMode-disabled", "match": {}, "transport_socket": {"name": "envoy.transport_sockets.raw_buffer"}}


class Proxies:
    """What the sidecars and istiod of a simulated cluster answer; the proxies are `lag_s` simulated seconds behind."""

    def __init__(self, cluster: SimulatedCluster, lag_s: float = 0.0) -> None:
        self._store, self._clock, self._lag_s = cluster.store, cluster.clock, lag_s
        self._past: list[tuple[float, int]] = [(float("-inf"), self._store.version)]
        self._store.listeners.append(lambda _, event: self._past.append((event.at, event.version)))

    def _all(self, storage: str, namespace: str = "") -> list[Entry]:
        """What the proxies know of a resource."""
        if not self._lag_s:
            return self._store.all(storage, namespace)
        then = self._clock.now() - self._lag_s
        version = next(version for at, version in reversed(self._past) if at <= then)
        entries = self._store.as_of(storage, version)
        return [entries[key] for key in sorted(entries) if namespace in ("", key[0])]

    def responder(self, pod: Pod, port: int) -> Responder | None:
        names = {c["name"] for c in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", ()))}
        if port == 15000 and "istio-proxy" in names:
            return self._envoy(pod)
        if port == 15014 and pod["metadata"].get("labels", {}).get("app") == "istiod":
            return self._istiod
        return None

    async def _istiod(self, asked: Asked) -> Said:
        if asked.path == "/version":
            return Said(b"1.31.0-simulated", content_type="text/plain")
        rows = [
            {"proxy": f"{e.key[1]}.{e.key[0]}", "istio_version": "1.31.0"}
            for e in self._store.all("pods")
            if self.responder(e.doc, 15000)
        ]
        return Said(json.dumps(rows).encode())

    def _envoy(self, pod: Pod) -> Responder:
        async def answer(asked: Asked) -> Said:
            query = asked.query
            if asked.path == "/stats":
                names = (f"cluster.{name};.upstream_cx_total" for name, *_ in self._services())
                wanted = re.compile(query["filter"])
                return _document({"stats": [{"name": name, "value": 0} for name in names if wanted.search(name)]})
            name, wanted = query.get("resource", ""), re.compile(query.get("name_regex", ".*"))
            if name == "dynamic_listeners":
                return _document({"configs": [self._listener(pod)]})
            if name == "dynamic_active_clusters":
                found = [self._cluster(*service) for service in self._services()]
                return _document({"configs": [{"cluster": c} for c in found if wanted.fullmatch(c["name"])]})
            found = [self._endpoints(*service) for service in self._services()]
            return _document(
                {"configs": [{"endpoint_config": e} for e in found if wanted.fullmatch(e["cluster_name"])]}
            )

        return answer

    def mode(self, namespace: str) -> str:
        """The policy of the namespace, else of the mesh, else PERMISSIVE; the oldest one counts."""
        for space in (namespace, ROOT):
            found = [e.doc for e in self._all(POLICIES, space) if not e.doc["spec"].get("selector")]
            found.sort(key=lambda doc: doc["metadata"]["creationTimestamp"])
            mode = next((doc["spec"].get("mtls", {}).get("mode", "UNSET") for doc in found), "UNSET")
            if mode != "UNSET":
                return str(mode)
        return "PERMISSIVE"

    def _listener(self, pod: Pod) -> dict[str, Any]:
        mode = self.mode(pod["metadata"]["namespace"])
        chains = [{"name": "mutual", "filter_chain_match": {"transport_protocol": "tls"}, "transport_socket": _TLS}]
        plain = {"name": "plain", "filter_chain_match": {"transport_protocol": "raw_buffer"}}
        chains = [plain] if mode == "DISABLE" else chains if mode == "STRICT" else [*chains, plain]
        listener = {"listener": {"name": "virtualInbound", "filter_chains": chains, "listener_filters": []}}
        return {"name": "virtualInbound", "active_state": listener}

    def _services(self) -> Iterator[tuple[str, Any, Any]]:
        """Every port of every service: the name of its cluster, the service, the port."""
        for entry in self._all("services"):
            host = f"{entry.key[1]}.{entry.key[0]}.svc.cluster.local"
            for port in entry.doc["spec"].get("ports", ()):
                yield f"outbound|{port['port']}||{host}", entry.doc, port

    def _cluster(self, name: str, service: Any, port: Any) -> dict[str, Any]:
        rules = [e.doc["spec"] for e in self._all(RULES) if e.doc["spec"]["host"] in name]
        mode = next((r.get("trafficPolicy", {}).get("tls", {}).get("mode", "") for r in rules), "")
        matches = {"DISABLE": [], "ISTIO_MUTUAL": [_MUTUAL]}.get(mode, [_MUTUAL, _PLAIN])
        return {"name": name, "type": "EDS", **({"transport_socket_matches": matches} if matches else {})}

    def _endpoints(self, name: str, service: Any, port: Any) -> dict[str, Any]:
        place = (service["metadata"]["namespace"], service["metadata"]["name"])
        found = next((entry for entry in self._all("endpoints", place[0]) if entry.key == place), None)
        out = []
        for subset in found.doc.get("subsets", ()) if found else ():
            numbers = [p["port"] for p in subset.get("ports", ()) if p.get("name", "") == port.get("name", "")]
            for address in subset.get("addresses", ()) if numbers else ():
                target = self._store.get("pods", address["targetRef"]["namespace"], address["targetRef"]["name"])
                meshed = target and self.responder(target.doc, 15000) and self.mode(target.key[0]) != "DISABLE"
                mark = {"envoy.transport_socket_match": {"tlsMode": "istio"}} if meshed else {}
                socket = {"socket_address": {"address": address["ip"], "port_value": numbers[0]}}
                metadata = {"filter_metadata": mark}
                out.append({"endpoint": {"address": socket}, "health_status": "HEALTHY", "metadata": metadata})
        return {"cluster_name": name, "endpoints": [{"lb_endpoints": out}]}


def _document(doc: dict[str, Any]) -> Said:
    return Said(json.dumps(doc).encode())
