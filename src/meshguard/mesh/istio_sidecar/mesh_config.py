"""The mesh-wide settings that change a rule."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meshguard.model.objects import Ref, dig
from meshguard.model.snapshot import Snapshot

DEFAULT_ROOT_NAMESPACE = "istio-system"
DEFAULT_DRAIN_S = 45.0
#: In `exportTo`: every namespace, and the policy's own.
PUBLIC, PRIVATE = "*", "."
_DURATION = re.compile(r"(?:(?P<h>[\d.]+)h)?(?:(?P<m>[\d.]+)m(?!s))?(?:(?P<s>[\d.]+)s)?(?:(?P<ms>[\d.]+)ms)?")


@dataclass(frozen=True, slots=True)
class MeshConfig:
    """What meshguard reads of Istio's MeshConfig."""

    root_namespace: str = DEFAULT_ROOT_NAMESPACE
    trust_domain: str = "cluster.local"
    auto_mtls: bool = True
    drain_s: float = DEFAULT_DRAIN_S
    """How long a changed filter chain lets its old connections live."""
    discovery_selectors: tuple[Mapping[str, Any], ...] = ()
    trust_domain_aliases: tuple[str, ...] = ()
    service_export_to: frozenset[str] = frozenset({PUBLIC})
    """Who sees a service that does not say."""
    destination_rule_export_to: frozenset[str] = frozenset({PUBLIC})
    """Who sees a DestinationRule that does not say."""
    registry_only: bool = False
    """Proxies let nothing out that the mesh does not know."""
    dns_capture: bool = False
    """Proxies answer DNS, so that ServiceEntry hosts without an address get one."""


def mesh_config(snapshot: Snapshot) -> MeshConfig:
    """Read the default revision's mesh configuration; Istio's own defaults where it is silent."""
    config_map = snapshot.resources.get(Ref("ConfigMap", DEFAULT_ROOT_NAMESPACE, "istio"))
    mesh = dig(config_map.doc, "mesh", default={}) if config_map else {}
    return MeshConfig(
        dig(mesh, "rootNamespace", default=DEFAULT_ROOT_NAMESPACE),
        dig(mesh, "trustDomain", default="cluster.local"),
        bool(mesh.get("enableAutoMtls", True)),
        seconds(str(dig(mesh, "defaultConfig", "drainDuration", default=f"{DEFAULT_DRAIN_S}s"))),
        tuple(dig(mesh, "discoverySelectors", default=())),
        tuple(dig(mesh, "trustDomainAliases", default=())),
        frozenset(dig(mesh, "defaultServiceExportTo", default=[PUBLIC])),
        frozenset(dig(mesh, "defaultDestinationRuleExportTo", default=[PUBLIC])),
        dig(mesh, "outboundTrafficPolicy", "mode") == "REGISTRY_ONLY",
        str(dig(mesh, "defaultConfig", "proxyMetadata", "ISTIO_META_DNS_CAPTURE", default="")).lower() == "true",
    )


def seconds(duration: str) -> float:
    """Read a Go or protobuf duration: `45s`, `1m30s`, `500ms`. Raises ValueError for anything else."""
    match = _DURATION.fullmatch(duration)
    if not match or not duration:
        raise ValueError(f"not a duration: {duration!r}")
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(float(value) * units[unit] for unit, value in match.groupdict().items() if value)
