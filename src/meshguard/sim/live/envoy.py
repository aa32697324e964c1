"""What the Envoys of the fleet answer on their admin port, in the form of Envoy's own documents."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from meshguard.sim.fleet.parts import Pod
from meshguard.sim.live.configuration import Configuration
from meshguard.sim.live.counters import Counters
from meshguard.sim.pods import Asked, Said

_ADMIN = "type.googleapis.com/envoy.admin.v3"
_MIB = 2**20


def answer(
    asked: Asked, pod: Pod, doc: Mapping[str, Any], has: Configuration | None, counters: Counters, now: str
) -> Said:
    """Answer one request to the admin port of a pod's proxy; `has` is None before its first configuration."""
    match asked.path:
        case "/config_dump":
            return _json({"configs": _dump(asked, doc, has)})
        case "/stats":
            return _json({"stats": _stats(asked, pod, counters)})
        case "/stats/prometheus":
            return Said(b"", content_type="text/plain")  # no metrics provider, as on the testbed
        case "/memory":
            used = str(int(pod.proxy_mib * _MIB))
            return _json({"allocated": used, "heap_size": used, "total_physical_bytes": used})
        case "/certs":
            return _json({"certificates": [_certificate(pod, doc, now)]})
        case "/server_info":
            version = f"{pod.version[0]}.{pod.version[1]}.0"
            return _json({"state": "LIVE", "version": f"sim/{version}/Clean/RELEASE/BoringSSL"})
        case "/ready":
            return Said(b"LIVE\n", content_type="text/plain")
    return Said(
        b"invalid path. admin commands are: config_dump, stats, memory, certs, server_info, ready\n", 404, "text/plain"
    )


def _json(document: Any) -> Said:
    return Said(json.dumps(document, separators=(",", ":")).encode())


def _dump(asked: Asked, doc: Mapping[str, Any], has: Configuration | None) -> list[Any]:
    if has is None:
        return []
    wanted = re.compile(asked.query.get("name_regex", ".*"))
    match asked.query.get("resource"):
        case "dynamic_listeners":
            listener = has.inbound(dict(doc))
            entry = {"@type": f"{_ADMIN}.ListenersConfigDump.DynamicListener", "name": listener["name"]}
            return [{**entry, "active_state": {"listener": listener}}] if wanted.fullmatch(listener["name"]) else []
        case "dynamic_active_clusters":
            kind = f"{_ADMIN}.ClustersConfigDump.DynamicCluster"
            return [{"@type": kind, "cluster": found} for name, found in has.clusters if wanted.fullmatch(name)]
        case "dynamic_endpoint_configs":
            kind = f"{_ADMIN}.EndpointsConfigDump.DynamicEndpointConfig"
            return [
                {"@type": kind, "endpoint_config": found} for name, found in has.assignments if wanted.fullmatch(name)
            ]
    return []


def _stats(asked: Asked, pod: Pod, counters: Counters) -> list[dict[str, Any]]:
    wanted = re.compile(asked.query.get("filter", ""))
    return [{"name": name, "value": value} for name, value in counters.of(pod).items() if wanted.search(name)]


def _certificate(pod: Pod, doc: Mapping[str, Any], now: str) -> dict[str, Any]:
    account = doc["spec"].get("serviceAccountName", "default")
    name = f"spiffe://cluster.local/ns/{pod.service.namespace}/sa/{account}"
    ends = datetime.fromisoformat(now) + timedelta(hours=20)
    return {"cert_chain": [{"subject_alt_names": [{"uri": name}], "expiration_time": ends.isoformat()}]}
