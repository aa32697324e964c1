"""Which edges a plan's accepted findings name: those may fail, for a person has agreed to it in so many words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from meshguard.model.findings import Finding
from meshguard.model.plan import Plan
from meshguard.model.snapshot import Snapshot
from tests.properties.oracle import Edge, Oracle, owner_of

#: Accepted, and yet no edge may fail by it: the policy is edited or goes, and more callers get through than before.
HARMLESS = frozenset({"MG201", "MG203"})
#: A server-first port is interrupted for seconds: while policies are edited, and not a moment longer.
BRIEF = frozenset({"MG204"})
EDITING = ("relax", "tighten")


@dataclass(frozen=True)
class Excepted:
    """Edges that accepted findings name."""

    always: frozenset[Edge]
    while_editing: frozenset[Edge]

    def during(self, phase: str) -> frozenset[Edge]:
        """The edges that may fail in a phase of the plan; "" stands for the time after all of them."""
        return self.always | self.while_editing if phase in EDITING else self.always


def excepted(plan: Plan, snapshot: Snapshot) -> Excepted:
    """Return the edges that accepted findings of the plan name."""
    accepted = [f for f in plan.findings if f.accepted and f.code.id not in HARMLESS]
    return Excepted(
        _edges([f for f in accepted if f.code.id not in BRIEF], snapshot),
        _edges([f for f in accepted if f.code.id in BRIEF], snapshot),
    )


def _edges(findings: Iterable[Finding], snapshot: Snapshot) -> frozenset[Edge]:
    return frozenset(edge for finding in findings for edge in _named_by(finding, snapshot))


def _named_by(finding: Finding, snapshot: Snapshot) -> set[Edge]:
    oracle = Oracle(snapshot)
    names = set(oracle.callers().values())
    found = set()
    for callee, service, _ in oracle.callees():
        servers = oracle.endpoints(service, callee)
        if any(_concerns(finding, pod) for pod in servers):
            found |= {Edge(name, callee) for name in names}
        elif finding.code.id in ("MG301", "MG302"):
            found.add(Edge(f"{finding.object.namespace}/{finding.object.name}", callee))
    return found


def _concerns(finding: Finding, pod: object) -> bool:
    assert isinstance(pod, dict)
    if finding.object.kind != "AuthorizationPolicy":
        return owner_of(pod) == finding.object
    return bool(pod["metadata"]["namespace"] == finding.object.namespace or finding.object.namespace == "istio-system")
