"""Which DestinationRule holds for a caller and a host: visibility, precedence and merging, by Istio's own rules.

The caller's namespace comes first, then the service's, then the root namespace; in each the most specific host wins.
Rules for the same host in the same namespace merge: the oldest one's host level counts, subsets are added, nothing
is overwritten. Rules with a workload selector come before the others and never leave their namespace.
Source: Istio `pilot/pkg/model/push_context.go` (setDestinationRules, destinationRule), `destination_rule.go`
(mergeDestinationRule), `sidecar.go` (SidecarScope.DestinationRule), `config.go` (MostSpecificHostMatch).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from meshguard.mesh.istio_sidecar import hosts
from meshguard.mesh.istio_sidecar.mesh_config import PRIVATE, PUBLIC, MeshConfig
from meshguard.mesh.istio_sidecar.traffic_policy import MESH_TLS, TrafficPolicy, modes_named
from meshguard.model.objects import Ref, Resource, dig
from meshguard.model.snapshot import Snapshot


def rule_host(rule: Resource) -> str:
    """The full host (or wildcard) that the rule is for."""
    return hosts.resolve(str(dig(rule.doc, "spec", "host", default="")), rule.ref.namespace)


def demands_mesh_tls(rule: Resource) -> bool:
    """True when the rule sets ISTIO_MUTUAL at host, port or subset level."""
    return MESH_TLS in modes_named(rule.spec)


@dataclass(frozen=True)
class MergedRule:
    """What the rules for one host in one namespace say together."""

    sources: tuple[Resource, ...]
    export_to: frozenset[str]
    selector: Mapping[str, str] | None
    traffic_policy: TrafficPolicy | None
    policy_of: Ref | None
    """The rule that the host level comes from."""
    subsets: Mapping[str, TrafficPolicy | None]
    subset_of: Mapping[str, Ref]
    """For each subset the rule that it comes from."""

    @property
    def namespace(self) -> str:
        """Where the rules live."""
        return self.sources[0].ref.namespace

    def in_effect(self) -> tuple[Resource, ...]:
        """The rules of which something holds: the host level, or at least one subset."""
        told = {self.policy_of, *self.subset_of.values()}
        return tuple(source for source in self.sources if source.ref in told)

    def merged_with(self, rule: Resource) -> MergedRule:
        """Return what holds together with a younger rule, which only adds what is missing."""
        policy, policy_of = self.traffic_policy, self.policy_of
        if policy is None and "trafficPolicy" in rule.spec:
            policy, policy_of = rule.spec["trafficPolicy"], rule.ref
        subsets, subset_of = dict(self.subsets), dict(self.subset_of)
        for subset in dig(rule.doc, "spec", "subsets", default=[]):
            if subset["name"] not in subsets:
                subsets[subset["name"]] = subset.get("trafficPolicy")
                subset_of[subset["name"]] = rule.ref
        return MergedRule((*self.sources, rule), self.export_to, self.selector, policy, policy_of, subsets, subset_of)


def _alone(rule: Resource) -> MergedRule:
    subsets = dig(rule.doc, "spec", "subsets", default=[])
    return MergedRule(
        (rule,),
        _export_to(rule),
        _selector(rule),
        rule.spec.get("trafficPolicy"),
        rule.ref if "trafficPolicy" in rule.spec else None,
        {subset["name"]: subset.get("trafficPolicy") for subset in subsets},
        {subset["name"]: rule.ref for subset in subsets},
    )


def _selector(rule: Resource) -> Mapping[str, str] | None:
    selector = rule.spec.get("workloadSelector")
    return None if selector is None else dig(selector, "matchLabels", default={})


def _export_to(rule: Resource) -> frozenset[str]:
    if _selector(rule) is not None:
        return frozenset({PRIVATE})  # a rule for chosen workloads never leaves its namespace
    return frozenset(dig(rule.doc, "spec", "exportTo", default=[]))


@dataclass
class _Shelf:
    """The rules of one namespace, by host, merged as they come."""

    by_host: dict[str, list[MergedRule]] = field(default_factory=dict)

    def add(self, rule: Resource) -> None:
        host, selector, export_to = rule_host(rule), _selector(rule), _export_to(rule)
        members = self.by_host.setdefault(host, [])
        separate = True
        for position, known in enumerate(members):
            if export_to == known.export_to:
                separate = False
            elif known.export_to and export_to >= known.export_to:
                separate = True
            else:
                separate = True
                continue
            if known.selector is not None and selector is not None and known.selector != selector:
                separate = True
                continue
            if (known.selector is None and selector is None) or (known.selector is not None and selector is not None):
                separate = False
            members[position] = known.merged_with(rule)
        if separate:
            members.append(_alone(rule))

    def most_specific(self, host: str) -> list[MergedRule] | None:
        if host in self.by_host:
            return self.by_host[host]
        wild = [h for h in self.by_host if h.startswith("*") and hosts.covers(h, host)]
        return self.by_host[max(wild, key=len)] if wild else None


class DestinationRules:
    """All DestinationRules of a cluster, ready to be asked."""

    def __init__(self, snapshot: Snapshot, mesh: MeshConfig) -> None:
        self._root = mesh.root_namespace
        self._local: dict[str, _Shelf] = defaultdict(_Shelf)
        self._exported: dict[str, _Shelf] = defaultdict(_Shelf)
        self._root_private = _Shelf()
        for rule in sorted(snapshot.of_kind("DestinationRule"), key=_oldest_first):
            export_to, own = _export_to(rule), rule.ref.namespace
            if not export_to or export_to & {PUBLIC, PRIVATE, own}:
                self._local[own].add(rule)
            by_default = not export_to and PRIVATE in mesh.destination_rule_export_to
            if not by_default and export_to not in ({PRIVATE}, {own}):
                self._exported[own].add(rule)
            elif own == self._root:
                self._root_private.add(rule)

    def merged(self) -> dict[tuple[str, ...], MergedRule]:
        """Return every merged rule, by where it holds; edits that leave host and visibility alone leave the keys."""
        shelves = {
            **{("local", namespace): shelf for namespace, shelf in self._local.items()},
            **{("exported", namespace): shelf for namespace, shelf in self._exported.items()},
            ("root", self._root): self._root_private,
        }
        return {
            (*place, host, str(position)): rule
            for place, shelf in shelves.items()
            for host, members in shelf.by_host.items()
            for position, rule in enumerate(members)
        }

    def for_client(self, namespace: str, labels: Mapping[str, str], host: hosts.MeshHost) -> MergedRule | None:
        """Return the merged rule that a proxy in `namespace` with these pod labels applies to the host."""
        chosen: MergedRule | None = None
        for rule in self._candidates(namespace, host):
            if rule.selector is None:
                chosen = rule
            elif rule.namespace == namespace and rule.selector.items() <= labels.items():
                return rule
        return chosen

    def of_namespace(self, namespace: str, host: str) -> bool:
        """Tell whether a rule of this namespace holds for the host, for its own callers or for others."""
        shelves = (self._local.get(namespace, _Shelf()), self._exported.get(namespace, _Shelf()))
        return any(shelf.most_specific(host) for shelf in shelves)

    def _candidates(self, namespace: str, host: hosts.MeshHost) -> list[MergedRule]:
        own = self._root_private if namespace == self._root else self._local.get(namespace, _Shelf())
        found = own.most_specific(host.name)
        if found is not None:
            return found
        return self._from(host.namespace, host.name, namespace) or self._from(self._root, host.name, namespace)

    def _from(self, owner: str, host: str, client: str) -> list[MergedRule]:
        found = self._exported.get(owner, _Shelf()).most_specific(host) or []
        return [r for r in found if not r.export_to or r.export_to & {PUBLIC, client}]


def _oldest_first(rule: Resource) -> tuple[bool, str, str, str]:
    return (_selector(rule) is None, rule.created, rule.ref.name, rule.ref.namespace)
