"""AuthorizationPolicies: what each rule means for callers that lose their identity, and the smallest relaxation.

Judged rule by rule and caller by caller: does the rule match it with its identity, does it match it without?
Source: Istio docs, "Authorization Policy" and "Dry-run"; `pilot/pkg/security/authz/builder`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from meshguard.mesh.istio_sidecar import peer_identity
from meshguard.mesh.istio_sidecar.peer_identity import Identity
from meshguard.model.change import Change
from meshguard.model.objects import Resource, dig

__all__ = ["Identity", "LostRule", "Meaning", "lost_rules", "reads_identity", "selects", "without_identity"]

DRY_RUN_ANNOTATION = "istio.io/dry-run"


class Meaning(StrEnum):
    """What becomes of the callers, in a person's words."""

    REFUSED = "are refused: the rule that admits them by identity matches no longer"
    ADMITTED = "are admitted: the rule leaves out callers by identity, and theirs is gone"
    LET_IN = "are let in: the rule that denies them by identity matches no longer"
    DENIED = "are denied: the rule spares callers by identity, and theirs is gone"
    UNASKED = "pass without the external authorizer: the rule that sends them there matches no longer"
    ASKED = "go through the external authorizer: the rule spares callers by identity, and theirs is gone"
    UNSEEN = "are audited or dry-run otherwise than now; no request fares differently"


#: (action) -> what it means when a rule stops matching, and when it begins to.
_CONSEQUENCES: Mapping[str, tuple[Meaning, Meaning]] = {
    "ALLOW": (Meaning.REFUSED, Meaning.ADMITTED),
    "DENY": (Meaning.LET_IN, Meaning.DENIED),
    "CUSTOM": (Meaning.UNASKED, Meaning.ASKED),
    "AUDIT": (Meaning.UNSEEN, Meaning.UNSEEN),
}


@dataclass(frozen=True)
class LostRule:
    """A rule that stops meaning what it says for callers that leave."""

    policy: Resource
    index: int
    callers: tuple[Identity, ...]
    meaning: Meaning
    alternatives: frozenset[int] = frozenset()
    """Which alternatives of `from` match the callers no longer."""

    @property
    def name(self) -> str:
        """`NAMESPACE/POLICY#INDEX`, as `--accept-authz-rule` takes it."""
        return f"{self.policy.ref.namespace}/{self.policy.ref.name}#{self.index}"

    @property
    def widens(self) -> bool:
        """True when dropping its identity conditions heals it; all other rules are named, never edited."""
        return self.meaning is Meaning.REFUSED and not peer_identity.is_negative(rules(self.policy)[self.index])

    @property
    def harmless(self) -> bool:
        """True when no request fares differently."""
        return self.meaning is Meaning.UNSEEN


def action(policy: Resource) -> str:
    """ALLOW when the policy does not say."""
    return str(dig(policy.doc, "spec", "action", default="ALLOW"))


def is_dry_run(policy: Resource) -> bool:
    """True when the policy is only logged."""
    return policy.annotations.get(DRY_RUN_ANNOTATION) == "true"


def rules(policy: Resource) -> tuple[Mapping[str, Any], ...]:
    """The policy's rules."""
    return tuple(dig(policy.doc, "spec", "rules", default=[]))


def selects(policy: Resource, namespace: str, labels: Mapping[str, str], root_namespace: str) -> bool:
    """Tell whether sidecars of pods with these labels enforce the policy; one with `targetRefs` is for gateways."""
    if policy.ref.namespace not in (namespace, root_namespace):
        return False
    if dig(policy.doc, "spec", "targetRefs") or dig(policy.doc, "spec", "targetRef"):
        return False
    wanted: Mapping[str, str] = dig(policy.doc, "spec", "selector", "matchLabels", default={})
    return wanted.items() <= labels.items()


def reads_identity(policy: Resource) -> frozenset[int]:
    """The indexes of the rules that look at who the caller is."""
    return frozenset(index for index, rule in enumerate(rules(policy)) if peer_identity.reads_identity(rule))


def lost_rules(policy: Resource, leaving: Iterable[Identity]) -> tuple[LostRule, ...]:
    """Return the rules whose meaning changes when these callers lose their identity, each with whom it concerns."""
    found = []
    callers = tuple(leaving)
    stops, begins = _CONSEQUENCES["AUDIT"] if is_dry_run(policy) else _CONSEQUENCES[action(policy)]
    for index, rule in enumerate(rules(policy)):
        lost: dict[Identity, frozenset[int]] = {}
        gained: list[Identity] = []
        after = peer_identity.matching(rule, None, policy.ref.namespace)
        for caller in callers:
            before = peer_identity.matching(rule, caller, policy.ref.namespace)
            steady = before & after
            if gone := peer_identity.uncovered(rule, before - after, steady):
                lost[caller] = gone
            if peer_identity.uncovered(rule, after - before, steady):
                gained.append(caller)
        if lost:
            found.append(LostRule(policy, index, tuple(lost), stops, frozenset().union(*lost.values())))
        if gained:
            found.append(LostRule(policy, index, tuple(gained), begins))
    return tuple(found)


def without_identity(policy: Resource, lost: Iterable[LostRule]) -> Change:
    """Return the change that drops the conditions by which these rules lose callers, and keeps everything else."""
    chosen = {rule.index: rule.alternatives for rule in lost}
    before = list(rules(policy))
    after = [peer_identity.without_identity(rule, chosen[i]) if i in chosen else rule for i, rule in enumerate(before)]
    return Change(("spec", "rules"), before, after)
