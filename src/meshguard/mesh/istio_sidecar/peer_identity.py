"""Does a rule match a caller, with its identity and without: the conditions that read the peer's certificate.

Plaintext has no certificate: a positive condition on it stops matching, a negative one begins to. Everything else of a
rule (operations, IP blocks, headers, a JWT's `requestPrincipals`) is as true after as before, so it is left open.
Source: Istio `pilot/pkg/security/authz/model` (model.go, generator.go), `pilot/pkg/security/trustdomain/bundle.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshguard.model.objects import dig

Rule = Mapping[str, Any]
Source = Mapping[str, Any]

#: Every trust domain that this one names is the mesh's own, whatever that is called.
_LOCAL_TRUST_DOMAIN = "cluster.local"
CONNECTION_SNI = "connection.sni"


@dataclass(frozen=True, slots=True)
class Identity:
    """A peer's identity in the mesh."""

    trust_domain: str
    namespace: str
    service_account: str
    aliases: tuple[str, ...] = ()
    """Other names of the trust domain."""

    @property
    def principal(self) -> str:
        """As policies write it."""
        return f"{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"


Matches = Callable[[str, Identity, str], bool]
"""(pattern, caller, namespace of the policy) -> does it match?"""


def _principal(pattern: str, caller: Identity, _: str) -> bool:
    domain, slash, rest = pattern.partition("/")
    own = (caller.trust_domain, *caller.aliases)
    if slash and domain in (*own, _LOCAL_TRUST_DOMAIN):
        pattern = f"{caller.trust_domain}/{rest}"
    return glob(pattern, caller.principal)


def _service_account(pattern: str, caller: Identity, policy_namespace: str) -> bool:
    namespace, slash, name = pattern.partition("/")
    wanted = (namespace, name) if slash else (policy_namespace, pattern)
    return wanted == (caller.namespace, caller.service_account)


def _trust_domain(pattern: str, caller: Identity, _: str) -> bool:
    return pattern in caller.aliases or glob(pattern, caller.trust_domain)


#: Field of `from.source` (its negative form begins with `not`), key of `when`, and how a value matches.
_TABLE: tuple[tuple[str, str, Matches], ...] = (
    ("principals", "source.principal", _principal),
    ("namespaces", "source.namespace", lambda pattern, caller, _: glob(pattern, caller.namespace)),
    ("serviceAccounts", "source.serviceAccount", _service_account),
    ("trustDomains", "source.trustDomain", _trust_domain),
    # Callers in the mesh send their own SNI, of which nothing can be said here; plaintext has none.
    ("", CONNECTION_SNI, lambda *_: True),
)
_BY_FIELD = {field: matches for field, _, matches in _TABLE if field}
_BY_KEY = {key: matches for _, key, matches in _TABLE}
POSITIVE_FIELDS = tuple(_BY_FIELD)
_NEGATIVE_OF = {f"not{field[0].upper()}{field[1:]}": field for field in _BY_FIELD}
IDENTITY_KEYS = tuple(_BY_KEY)


def glob(pattern: str, value: str) -> bool:
    """Match as policies do: exact, `prefix*`, `*suffix`, or `*` for anything that is there."""
    if pattern == "*":
        return value != ""
    if pattern.startswith("*"):
        return value.endswith(pattern[1:])
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return pattern == value


def sources(rule: Rule) -> list[Source]:
    """The alternatives of `from`; a rule without any has one that asks nothing."""
    return [dig(entry, "source", default={}) for entry in rule.get("from", ())] or [{}]


def conditions(rule: Rule) -> list[Mapping[str, Any]]:
    """The conditions of `when` that read the peer's identity."""
    return [condition for condition in rule.get("when", ()) if condition.get("key") in _BY_KEY]


def reads_identity(rule: Rule) -> bool:
    """True when the rule looks at who the caller is, in either sense."""
    return bool(conditions(rule)) or any(
        key in source for source in sources(rule) for key in (*_BY_FIELD, *_NEGATIVE_OF)
    )


def is_negative(rule: Rule) -> bool:
    """True when the rule looks at who the caller is *not*."""
    return any("notValues" in condition for condition in conditions(rule)) or any(
        key in source for source in sources(rule) for key in _NEGATIVE_OF
    )


def matching(rule: Rule, caller: Identity | None, policy_namespace: str) -> frozenset[int]:
    """Which alternatives of `from` can match the caller; None is one without an identity."""
    if not all(_condition_holds(condition, caller, policy_namespace) for condition in conditions(rule)):
        return frozenset()
    return frozenset(
        index for index, source in enumerate(sources(rule)) if _source_holds(source, caller, policy_namespace)
    )


def _source_holds(source: Source, caller: Identity | None, policy_namespace: str) -> bool:
    asked = [(field, values, True) for field, values in source.items() if field in _BY_FIELD]
    asked += [(_NEGATIVE_OF[field], values, False) for field, values in source.items() if field in _NEGATIVE_OF]
    return all(_any(_BY_FIELD[field], values, caller, policy_namespace) is wanted for field, values, wanted in asked)


def _condition_holds(condition: Mapping[str, Any], caller: Identity | None, policy_namespace: str) -> bool:
    matches = _BY_KEY[condition["key"]]
    values, not_values = condition.get("values"), condition.get("notValues")
    if caller is not None and condition["key"] == CONNECTION_SNI:
        return True
    return (not values or _any(matches, values, caller, policy_namespace)) and (
        not not_values or not _any(matches, not_values, caller, policy_namespace)
    )


def _any(matches: Matches, patterns: Iterable[str], caller: Identity | None, policy_namespace: str) -> bool:
    return caller is not None and any(matches(pattern, caller, policy_namespace) for pattern in patterns)


def uncovered(rule: Rule, some: frozenset[int], steady: frozenset[int]) -> frozenset[int]:
    """Those of `some` alternatives for which no `steady` one asks the same or less of everything but identity."""
    others = [
        {key: value for key, value in source.items() if key not in (*_BY_FIELD, *_NEGATIVE_OF)}
        for source in sources(rule)
    ]
    return frozenset(i for i in some if not any(_implies(others[i], others[j]) for j in steady))


def _implies(strict: Mapping[str, Any], loose: Mapping[str, Any]) -> bool:
    return all(key in strict and strict[key] == value for key, value in loose.items())


def without_identity(rule: Rule, alternatives: frozenset[int]) -> dict[str, Any]:
    """Return the rule without the positive identity conditions of these alternatives; all else stays."""
    out = dict(rule)
    if "from" in out:
        kept = [
            {k: v for k, v in source.items() if k not in _BY_FIELD} if index in alternatives else dict(source)
            for index, source in enumerate(sources(rule))
        ]
        if all(kept):
            out["from"] = [{"source": source} for source in kept]
        else:
            del out["from"]  # one alternative asks nothing any more, so nothing is asked
    if "when" in out:
        kept_conditions = [c for c in map(_without_values, out["when"]) if c is not None]
        if kept_conditions:
            out["when"] = kept_conditions
        else:
            del out["when"]
    return out


def _without_values(condition: Mapping[str, Any]) -> dict[str, Any] | None:
    if condition.get("key") not in _BY_KEY:
        return dict(condition)
    left = {key: value for key, value in condition.items() if key != "values"}
    return left if "notValues" in left else None
