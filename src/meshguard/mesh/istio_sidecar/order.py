"""In which order the workloads of a scope restart: all together, or callers and called one after the other.

Who calls whom is known from ALLOW policies only: a principal that a policy admits is a caller of the servers that the
policy selects. After the relaxation every order keeps traffic alive, so a workload of which nothing is known may be
restarted with the first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from meshguard.mesh.istio_sidecar import authorization
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Order
from meshguard.model.objects import Ref, Resource, Workload, dig


def tiers(scope: Scope, members: Sequence[Workload], order: Order) -> tuple[tuple[Workload, ...], ...]:
    """Return the workloads in groups; each group is restarted after the one before it."""
    if order is Order.TOGETHER or len(members) < 2:
        return (tuple(members),) if members else ()
    rank = _ranks([w.ref for w in members], known_callers(scope, members))
    groups = [tuple(w for w in members if rank[w.ref] == level) for level in sorted(set(rank.values()))]
    return tuple(groups if order is Order.CLIENTS_FIRST else reversed(groups))


def known_callers(scope: Scope, members: Sequence[Workload]) -> Mapping[Ref, frozenset[Ref]]:
    """For each workload those of the others that a policy admits to it by name."""
    by_principal: dict[str, set[Ref]] = defaultdict(set)
    for member in members:
        account = str(dig(member.template, "spec", "serviceAccountName", default="default"))
        identity = authorization.Identity(scope.mesh.trust_domain, member.ref.namespace, account)
        by_principal[identity.principal].add(member.ref)
    admitting = [p for p in scope.snapshot.of_kind("AuthorizationPolicy") if authorization.action(p) == "ALLOW"]
    return {
        server.ref: frozenset(
            caller
            for policy in admitting
            if authorization.selects(policy, server.ref.namespace, server.template_labels, scope.mesh.root_namespace)
            for principal in _principals(policy)
            for caller in by_principal.get(principal, ())
            if caller != server.ref
        )
        for server in members
    }


def _principals(policy: Resource) -> Iterator[str]:
    for rule in authorization.rules(policy):
        for source in rule.get("from") or ():
            yield from dig(source, "source", "principals", default=())


def _ranks(members: Sequence[Ref], callers: Mapping[Ref, frozenset[Ref]]) -> dict[Ref, int]:
    """Return 0 for those that nobody known calls, and for others one more than their callers; circles share a rank."""
    rank = dict.fromkeys(members, 0)
    for _ in members:
        wanted = {ref: max((rank[c] + 1 for c in callers[ref]), default=0) for ref in members}
        if wanted == rank:
            break
        rank = {ref: min(level, len(members) - 1) for ref, level in wanted.items()}
    return rank
