"""Generates policy sets: PeerAuthentications, DestinationRules and Sidecars of one round, from a seed.

From round to round some policies stay and others go, so that age and name disagree. The mesh-wide policy is the
testbed's own, STRICT, and is never touched; neither is anything in the root namespace.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from testbed.proofs.policy_stage import (
    MARKER_HOST,
    MARKER_NAMESPACE,
    NAMES,
    NAMESPACES,
    PORTS,
    namespace_of,
)

Manifest = dict[str, Any]
Key = tuple[str, str, str]
MODES = ("UNSET", "DISABLE", "PERMISSIVE", "STRICT")
_STAYS = 0.45
_UNSERVED_PORT = 7070


def key_of(manifest: Mapping[str, Any]) -> Key:
    """Kind, namespace and name."""
    return manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]


class PolicySets:
    """The policies of one round after the other; the same seed gives the same rounds."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.now: dict[Key, Manifest] = {}

    def next_round(self) -> dict[Key, Manifest]:
        """Draw the next round: all policies that shall exist."""
        staying = {key: m for key, m in self.now.items() if self._chance(_STAYS)}
        drawn = {key_of(m): m for name in NAMES for m in self._of_server(name)}
        self.now = {**drawn, **staying}
        return self.now

    def _of_server(self, name: str) -> Iterator[Manifest]:
        namespace = namespace_of(name)
        for label in self._some("default", "a-level", "z-level", chance=0.4):
            yield self._peer(namespace, label, {"mtls": {"mode": self._pick(*MODES)}})
        for label in self._some("work-a", "work-m", "work-z", chance=0.35):
            yield self._peer(namespace, label, self._workload_level(name))
        for place in self._some("own", "own-b", chance=0.5):
            yield self._rule(namespace, place, name)
        for number in range(self._random.randrange(3)):
            yield self._rule(self._pick(*NAMESPACES), f"about-{name}-{number}", name)
        if self._chance(0.4):
            yield self._sidecar(namespace, name)

    def _workload_level(self, name: str) -> dict[str, Any]:
        selector = self._pick({"app": name}, {"app": name, "role": "proxied"}, {"role": "bare"}, {"app": "other"})
        spec: dict[str, Any] = {"selector": {"matchLabels": selector}}
        if self._chance(0.7):
            spec["mtls"] = {"mode": self._pick(*MODES)}
        levels = {str(port): {"mode": self._pick(*MODES)} for port in (*PORTS, _UNSERVED_PORT) if self._chance(0.35)}
        if levels:
            spec["portLevelMtls"] = levels
        return spec

    def _rule(self, namespace: str, label: str, name: str) -> Manifest:
        spec: dict[str, Any] = {"host": self._host(name)}
        if self._chance(0.75):
            spec["trafficPolicy"] = self._level()
        subsets = [self._subset(word) for word in self._some("one", "two", chance=0.4)]
        if subsets:
            spec["subsets"] = subsets
        if self._chance(0.15):
            spec["workloadSelector"] = {"matchLabels": self._pick({"role": "proxied"}, {"role": "bare"})}
        else:
            chosen = self._pick([], [], ["*"], ["."], [self._pick(*NAMESPACES)], list(NAMESPACES[:3]))
            if chosen:
                spec["exportTo"] = chosen
        return _manifest("networking.istio.io/v1", "DestinationRule", namespace, label, spec)

    def _host(self, name: str) -> str:
        domain = f"{namespace_of(name)}.svc.cluster.local"
        full = f"{name}.{domain}"
        others = (name, f"*.{domain}", f"*-each.{domain}", f"{name}-each.{domain}", f"{name}.{namespace_of(name)}")
        entries = (f"{name}.inside.example", "*.inside.example", f"{name}.outside.example")
        return str(self._pick(full, full, full, *others, *entries, "*.local"))

    def _subset(self, word: str) -> dict[str, Any]:
        subset: dict[str, Any] = {"name": word, "labels": {"role": "proxied"}}
        if self._chance(0.7):
            subset["trafficPolicy"] = self._level()
        return subset

    def _level(self) -> dict[str, Any]:
        level = self._settings()
        entries = [{"port": {"number": port}, **self._settings()} for port in PORTS if self._chance(0.3)]
        if entries:
            level["portLevelSettings"] = entries
        if self._chance(0.08):
            level["loadBalancer"] = {"simple": "PASSTHROUGH"}
        return level

    def _settings(self) -> dict[str, Any]:
        tls = self._pick(None, None, {"mode": "DISABLE"}, {"mode": "ISTIO_MUTUAL"}, {"mode": "ISTIO_MUTUAL"}, _SIMPLE)
        pool = {"connectionPool": {"tcp": {"maxConnections": self._random.randrange(1, 99)}}}
        settings: dict[str, Any] = {} if tls is None else {"tls": tls}
        if tls is None or self._chance(0.3):
            settings |= self._pick(pool, {"loadBalancer": {"simple": "UNSPECIFIED"}})
        return settings

    def _peer(self, namespace: str, label: str, spec: dict[str, Any]) -> Manifest:
        return _manifest("security.istio.io/v1", "PeerAuthentication", namespace, label, spec)

    def _sidecar(self, namespace: str, name: str) -> Manifest:
        seen = [f"{other}/*" for other in NAMESPACES if self._chance(0.6)]
        hosts = [f"{MARKER_NAMESPACE}/*", *seen, *self._pick([], [f"*/{name}.inside.example"], ["./*"])]
        spec: dict[str, Any] = {"egress": [{"hosts": sorted(set(hosts))}]}
        if self._chance(0.3):
            spec["workloadSelector"] = {"labels": self._pick({"role": "proxied"}, {"role": "bare"})}
        return _manifest("networking.istio.io/v1", "Sidecar", namespace, self._pick("narrow", "own"), spec)

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _some(self, *words: str, chance: float) -> list[str]:
        return [word for word in words if self._chance(chance)]

    def _pick(self, *choices: Any) -> Any:
        return self._random.choice(choices)


_SIMPLE = {"mode": "SIMPLE", "insecureSkipVerify": True}


def markers(number: int) -> list[Manifest]:
    """What makes every proxy build all its clusters anew, and shows that it has: a subset that no other round has.

    The rule is in each caller's namespace, for there an exact host wins over everything. The policy selects nobody;
    it is there because istiod sends a proxy only those clusters that changed rules concern, and by that may leave
    another as it was: a new rule that is not exported to a caller can take an older, less specific one away from it,
    and the caller's proxy does not hear of it before something else makes istiod build everything.
    """
    subsets = [{"name": subset_of(number), "labels": {"app": "nobody"}}]
    rule = {"host": MARKER_HOST, "subsets": subsets, "exportTo": ["."]}
    policy = {"selector": {"matchLabels": {"app": "nobody"}}}
    return [
        made
        for namespace in NAMESPACES
        for made in (
            _manifest("networking.istio.io/v1", "DestinationRule", namespace, subset_of(number), rule),
            _manifest("security.istio.io/v1", "PeerAuthentication", namespace, subset_of(number), policy),
        )
    ]


def subset_of(number: int) -> str:
    """The name of a round's marker."""
    return f"round-{number}"


def _manifest(api_version: str, kind: str, namespace: str, name: str, spec: dict[str, Any]) -> Manifest:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}
