"""AuthorizationPolicies: who loses the right to call when callers lose their identity, and the smallest relaxation.

Plaintext has no peer identity. Conditions on it stop matching (ALLOW) or begin to match (negative ones).
`requestPrincipals` comes from a JWT and is not concerned.
Source: Istio docs "Authorization Policy Conditions"; `pilot/pkg/security/authz/model`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshguard.model.change import Change
from meshguard.model.objects import Resource, dig

#: Fields of `from.source` that read the peer's certificate.
IDENTITY_SOURCES = ("principals", "namespaces", "serviceAccounts", "trustDomains")
NEGATIVE_IDENTITY_SOURCES = ("notPrincipals", "notNamespaces", "notServiceAccounts", "notTrustDomains")
#: Keys of `when` that read it.
IDENTITY_CONDITIONS = (
    "source.principal",
    "source.namespace",
    "source.serviceAccount",
    "source.trustDomain",
    "connection.sni",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A peer's identity in the mesh."""

    trust_domain: str
    namespace: str
    service_account: str

    @property
    def principal(self) -> str:
        """As policies write it."""
        return f"{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"


@dataclass(frozen=True)
class LostRule:
    """A rule that stops meaning what it says for callers that leave."""

    policy: Resource
    index: int
    callers: tuple[Identity, ...]
    negative: bool
    """It is a DENY, or it has a negative match: it is never edited, only named."""

    @property
    def name(self) -> str:
        """`NAMESPACE/POLICY#INDEX`, as `--accept-authz-rule` takes it."""
        return f"{self.policy.ref.namespace}/{self.policy.ref.name}#{self.index}"


def action(policy: Resource) -> str:
    """ALLOW when the policy does not say."""
    return str(dig(policy.doc, "spec", "action", default="ALLOW"))


def rules(policy: Resource) -> tuple[Mapping[str, Any], ...]:
    """The policy's rules."""
    return tuple(dig(policy.doc, "spec", "rules", default=[]))


def selects(policy: Resource, namespace: str, labels: Mapping[str, str], root_namespace: str) -> bool:
    """Tell whether the policy is enforced by pods with these labels."""
    if policy.ref.namespace not in (namespace, root_namespace) or dig(policy.doc, "spec", "targetRefs"):
        return False
    wanted: Mapping[str, str] = dig(policy.doc, "spec", "selector", "matchLabels", default={})
    return wanted.items() <= labels.items()


def reads_identity(policy: Resource) -> bool:
    """True when at least one rule of the policy looks at who the caller is."""
    keys = (*IDENTITY_SOURCES, *NEGATIVE_IDENTITY_SOURCES)
    return any(
        any(key in dig(entry, "source", default={}) for entry in rule.get("from", ()) for key in keys)
        or any(condition.get("key") in IDENTITY_CONDITIONS for condition in rule.get("when", ()))
        for rule in rules(policy)
    )


def lost_rules(policy: Resource, leaving: Iterable[Identity]) -> tuple[LostRule, ...]:
    """Return the rules whose meaning changes when these callers lose their identity."""
    callers = tuple(leaving)
    found = []
    for index, rule in enumerate(rules(policy)):
        hit = tuple(c for c in callers if _reads_identity_of(rule, c))
        negative = _is_negative(rule)
        if callers and (negative or hit):
            found.append(LostRule(policy, index, hit or callers, negative or action(policy) != "ALLOW"))
    return tuple(found)


def _is_negative(rule: Mapping[str, Any]) -> bool:
    sources = [dig(entry, "source", default={}) for entry in rule.get("from", ())]
    conditions = [c for c in rule.get("when", ()) if c.get("key") in IDENTITY_CONDITIONS]
    return any(key in source for source in sources for key in NEGATIVE_IDENTITY_SOURCES) or any(
        "notValues" in condition for condition in conditions
    )


def _reads_identity_of(rule: Mapping[str, Any], caller: Identity) -> bool:
    sources = [dig(entry, "source", default={}) for entry in rule.get("from", ())]
    with_identity = [s for s in sources if any(key in s for key in IDENTITY_SOURCES)]
    conditions = [c for c in rule.get("when", ()) if c.get("key") in IDENTITY_CONDITIONS]
    if not with_identity and not conditions:
        return False
    without_identity = [s for s in sources if s not in with_identity]
    if without_identity and not conditions:
        return False  # another entry of the same `from` may let the caller in without an identity
    matched = not with_identity or any(_source_matches(source, caller) for source in with_identity)
    return matched and all(_condition_matches(condition, caller) for condition in conditions)


def _source_matches(source: Mapping[str, Any], caller: Identity) -> bool:
    values = {
        "principals": caller.principal,
        "namespaces": caller.namespace,
        "trustDomains": caller.trust_domain,
    }
    for key, value in values.items():
        if key in source and not any(_glob(pattern, value) for pattern in source[key]):
            return False
    accounts = source.get("serviceAccounts")
    return not accounts or any(
        account in (f"{caller.namespace}/{caller.service_account}", caller.service_account) for account in accounts
    )


def _condition_matches(condition: Mapping[str, Any], caller: Identity) -> bool:
    value = {
        "source.principal": caller.principal,
        "source.namespace": caller.namespace,
        "source.serviceAccount": f"{caller.namespace}/{caller.service_account}",
        "source.trustDomain": caller.trust_domain,
    }.get(condition["key"])
    if value is None:
        return True  # connection.sni: any meshed caller has one, and no plaintext caller
    return any(_glob(pattern, value) for pattern in condition.get("values", ()))


def _glob(pattern: str, value: str) -> bool:
    if pattern == "*":
        return value != ""
    if pattern.startswith("*"):
        return value.endswith(pattern[1:])
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return pattern == value


def without_identity(policy: Resource, indexes: Iterable[int]) -> Change:
    """Return the change that drops the peer-identity conditions of these rules and keeps everything else of them."""
    chosen = set(indexes)
    before = list(rules(policy))
    after = [_without_identity(rule) if i in chosen else rule for i, rule in enumerate(before)]
    return Change(("spec", "rules"), before, after)


def _without_identity(rule: Mapping[str, Any]) -> dict[str, Any]:
    out = dict(rule)
    sources = [
        {k: v for k, v in dig(entry, "source", default={}).items() if k not in IDENTITY_SOURCES}
        for entry in rule.get("from", ())
    ]
    if "from" in out:
        if all(sources):
            out["from"] = [{"source": source} for source in sources]
        else:
            del out["from"]  # one entry asks nothing any more, and entries are alternatives
    if "when" in out:
        kept = [c for c in out["when"] if c.get("key") not in IDENTITY_CONDITIONS]
        if kept:
            out["when"] = kept
        else:
            del out["when"]
    return out
