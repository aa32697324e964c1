"""The smallest edits after which DestinationRules leave TLS to auto mTLS, and the proof that nothing else moves.

The `tls` block must become *absent*; any other value would only move the breakage. But validation rejects an empty
`trafficPolicy` or port entry, a port entry that goes lets the host level in, and a host level that goes lets a
younger rule's in. So every edit is judged by its outcome: the settings of each subset and port before and after, in
every merged rule that the edited one is a part of, may differ in TLS alone.
Source: Istio `pkg/config/validation/validation.go` (validateTrafficPolicy, validatePortTrafficPolicies).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshguard.mesh.istio_sidecar.destination_rules import DestinationRules, MergedRule
from meshguard.mesh.istio_sidecar.mesh_config import MeshConfig
from meshguard.mesh.istio_sidecar.traffic_policy import (
    MESH_TLS,
    TrafficPolicy,
    endpoint_mark,
    ports_named,
    settings_at,
    tls_mode,
)
from meshguard.model.change import ABSENT, Change, read
from meshguard.model.objects import Ref, Resource, dig
from meshguard.model.snapshot import Snapshot, changed_resource

#: Keeps a level alive that would be empty. Exactly the default: no load balancer at all is UNSPECIFIED as well.
PLACEHOLDER: Mapping[str, Any] = {"loadBalancer": {"simple": "UNSPECIFIED"}}
_ANY_OTHER_PORT = 0


@dataclass(frozen=True)
class Relaxed:
    """What to change, rule by rule, and what cannot be relaxed by TLS alone."""

    changes: Mapping[Ref, tuple[Change, ...]]
    stuck: Mapping[Ref, str] = field(default_factory=dict)
    """Rules for which no such edit exists, and why."""


def relax(snapshot: Snapshot, mesh: MeshConfig, rules: Sequence[Resource]) -> Relaxed:
    """Return the edits that drop ISTIO_MUTUAL from these rules, each with nothing but TLS differing afterwards."""
    before = DestinationRules(snapshot, mesh).merged()
    keep: set[Ref] = set()
    for _ in ("plain", "with the host level kept alive where a younger rule's would move in"):
        changes = {rule.ref: _without_mesh_tls(rule, keep_host_level=rule.ref in keep) for rule in rules}
        moved, stuck = _outcome(before, _after(snapshot, mesh, rules, changes), changes)
        if not moved - keep:
            break
        keep |= moved
    stuck |= dict.fromkeys(moved, "its other settings would change as well")
    return Relaxed({ref: edits for ref, edits in changes.items() if edits and ref not in stuck}, stuck)


def _after(
    snapshot: Snapshot, mesh: MeshConfig, rules: Iterable[Resource], changes: Mapping[Ref, tuple[Change, ...]]
) -> Mapping[tuple[str, ...], MergedRule]:
    edited = snapshot.replace([changed_resource(rule, changes[rule.ref]) for rule in rules])
    return DestinationRules(edited, mesh).merged()


def _outcome(
    before: Mapping[tuple[str, ...], MergedRule],
    after: Mapping[tuple[str, ...], MergedRule],
    edited: Mapping[Ref, object],
) -> tuple[set[Ref], dict[Ref, str]]:
    """Return the rules by which something but TLS would move, and those that would not end at auto mTLS."""
    moved: set[Ref] = set()
    stuck: dict[Ref, str] = {}
    for key, old in before.items():
        concerned = [source for source in old.sources if source.ref in edited]
        new = after[key]
        ports = sorted({_ANY_OTHER_PORT}.union(*(ports_named(source.spec) for source in old.sources)))
        for subset in (None, *old.subsets) if concerned else ():
            for port in ports:
                then, now = _at(old, subset, port), _at(new, subset, port)
                if then.others != now.others:
                    moved |= {source.ref for source in concerned}
                if not _follows(then, now):
                    stuck |= {source.ref: _where(subset, port, now) for source in concerned}
    return moved, stuck


@dataclass(frozen=True)
class _Outcome:
    others: Mapping[str, Any]
    mode: str
    mark: str


def _at(rule: MergedRule, subset: str | None, port: int) -> _Outcome:
    own = None if subset is None else rule.subsets[subset] or {}
    settings = settings_at(rule.traffic_policy, own, port)
    others = {key: value for key, value in settings.items() if key != "tls"}
    if others.get("loadBalancer") == PLACEHOLDER["loadBalancer"]:
        del others["loadBalancer"]
    return _Outcome(others, tls_mode(settings), endpoint_mark(rule.traffic_policy, own, port))


def _follows(then: _Outcome, now: _Outcome) -> bool:
    """Mutual TLS by decree ends at no decree at all, of the cluster and of its endpoints; all else stays."""
    if then.mode == MESH_TLS:
        return not now.mode and not now.mark
    return now.mode == then.mode and now.mark == ("" if then.mark == MESH_TLS else then.mark)


def _where(subset: str | None, port: int, now: _Outcome) -> str:
    place = f"subset {subset}" if subset else "the host level"
    place += f", port {port}" if port else ""
    return f"without its ISTIO_MUTUAL {place} would fall to {now.mode or now.mark}, which another level sets"


def _without_mesh_tls(rule: Resource, *, keep_host_level: bool) -> tuple[Change, ...]:
    before = {part: read(rule.doc, ("spec", part)) for part in ("trafficPolicy", "subsets")}
    after = dict(before)
    top: TrafficPolicy | None = None
    if before["trafficPolicy"] is not ABSENT:
        top = _relaxed(before["trafficPolicy"], lambda candidate, port: settings_at(candidate, None, port))
        if not top and keep_host_level:
            top = PLACEHOLDER
        after["trafficPolicy"] = dict(top) if top else ABSENT
    if before["subsets"] is not ABSENT:
        after["subsets"] = [_relaxed_subset(subset, top or None) for subset in before["subsets"]]
    return tuple(Change(("spec", part), before[part], after[part]) for part in before if before[part] != after[part])


def _relaxed_subset(subset: Mapping[str, Any], top: TrafficPolicy | None) -> dict[str, Any]:
    out = dict(subset)
    if "trafficPolicy" in out:
        out["trafficPolicy"] = _relaxed(out["trafficPolicy"], lambda candidate, port: settings_at(top, candidate, port))
        if not out["trafficPolicy"]:
            del out["trafficPolicy"]
    return out


def _relaxed(policy: TrafficPolicy, effective: Callable[[TrafficPolicy, int], Mapping[str, Any]]) -> dict[str, Any]:
    """Drop mutual TLS from one level; `effective(level, port)` says what the level then comes to at a port."""
    out = _without_tls(policy)
    entries = list(policy.get("portLevelSettings") or ())
    if not entries:
        return out
    kept: list[dict[str, Any]] = []
    for entry in entries:
        silent = _without_tls(entry)
        if set(silent) - {"port"} or entry == silent:
            kept.append(silent)
            continue
        # The entry said nothing but TLS. It may go only where the level behind it says nothing at all.
        behind = effective({**_without_tls(policy), "portLevelSettings": []}, dig(entry, "port", "number"))
        if behind:
            kept.append({**silent, **PLACEHOLDER})
    if kept:
        out["portLevelSettings"] = kept
    else:
        out.pop("portLevelSettings", None)
    return out


def _without_tls(policy: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in policy.items() if key != "tls" or tls_mode(policy) != MESH_TLS}
