"""What speaks against taking a scope out, object by object: one small function for each rule, listed in tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from meshguard.mesh.istio_sidecar.hazards import membership, policies, workloads, world
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents
from meshguard.model.findings import Finding

Rule = Callable[[Scope, Consents], Iterator[Finding]]

HAZARDS: tuple[Rule, ...] = (*world.RULES, *membership.RULES, *policies.RULES, *workloads.RULES)


def hazards(scope: Scope, consents: Consents) -> tuple[Finding, ...]:
    """Return everything that speaks against taking the scope out, in the order of the tables."""
    return tuple(finding for rule in HAZARDS for finding in rule(scope, consents))
