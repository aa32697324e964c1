"""What speaks against taking a scope out, object by object: one small function for each rule, listed in tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from meshguard.mesh.istio_sidecar.hazards import (
    capacity,
    control_plane,
    listeners,
    membership,
    policies,
    readers,
    workloads,
    world,
)
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents
from meshguard.model.findings import Finding

Rule = Callable[[Scope, Consents], Iterator[Finding]]

#: What a way out has to fear.
HAZARDS: tuple[Rule, ...] = (
    *control_plane.RULES,
    *world.RULES,
    *readers.RULES,
    *membership.RULES,
    *policies.RULES,
    *listeners.RULES,
    *workloads.RULES,
    *workloads.EXIT_RULES,
    *capacity.RULES,
)
#: What any restart has to fear, also one that leaves nobody out.
HAZARDS_OF_RESTART: tuple[Rule, ...] = (
    control_plane.is_down,
    control_plane.unsupported,
    control_plane.skew,
    world.gitops,
    world.blind,
    *workloads.RULES,
    *capacity.RULES,
)


def hazards(scope: Scope, consents: Consents) -> tuple[Finding, ...]:
    """Return everything that speaks against taking the scope out, in the order of the tables."""
    return _found(HAZARDS, scope, consents)


def hazards_of_restart(scope: Scope, consents: Consents) -> tuple[Finding, ...]:
    """Return everything that speaks against restarting the scope's workloads."""
    return _found(HAZARDS_OF_RESTART, scope, consents)


def _found(rules: Iterable[Rule], scope: Scope, consents: Consents) -> tuple[Finding, ...]:
    return tuple(finding for rule in rules for finding in rule(scope, consents))
