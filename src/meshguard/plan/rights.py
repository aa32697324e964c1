"""From a mesh's table of rights: what a plan needs, and the least Roles for a purpose."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from meshguard.model.kinds import KINDS
from meshguard.model.objects import Ref
from meshguard.model.plan import Action, Check, Direction, Plan
from meshguard.model.rights import Needed, Place, Purpose, Right, split_resource

_RBAC = "rbac.authorization.k8s.io"
#: What the engine does for a step. It looks before it creates, changes or deletes, and after a lost answer.
_VERBS = {
    Action.CHANGE: ("get", "patch"),
    Action.CREATE: ("get", "create"),
    Action.DELETE: ("get", "delete"),
    Action.RENEW: ("delete",),
}
#: Whose rows a plan may draw on; a restore also takes faults back.
_PURPOSES = {
    Direction.EXIT: (Purpose.EXIT,),
    Direction.RESTORE: (Purpose.RESTORE, Purpose.CHAOS),
    Direction.REJOIN: (Purpose.REJOIN,),
    Direction.REALIGN: (Purpose.REALIGN,),
    Direction.FAULT: (Purpose.CHAOS,),
}
#: What is seen on the proxies, through a port-forward.
_ON_PROXIES = (Check.INBOUND, Check.OUTBOUND, Check.AUTHZ, Check.ENDPOINTS, Check.TRAFFIC, Check.HYPOTHESIS)


def needed_for(plan: Plan, table: Iterable[Right]) -> frozenset[Needed]:
    """Return the rights that executing the plan needs; what only informs is not among them.

    Raises ValueError for a write or a wait that the table does not know: whoever has exactly the Roles of `roles`
    would be refused in the middle.
    """
    purposes = _PURPOSES[plan.direction]
    rights = list(table)
    always = _whatever_the_plan(right for right in rights if purposes[0] in right.purposes)
    needed = {*always, *_of_steps(plan), *_of_waits(plan)}
    known = {(verb, r.resource) for r in rights if not set(purposes).isdisjoint(r.purposes) for verb in r.verbs}
    if unknown := {(verb, resource) for verb, resource, _ in needed} - known:
        raise ValueError(f"not in the table of rights: {', '.join(' '.join(right) for right in sorted(unknown))}")
    return frozenset(needed)


def all_for(purpose: Purpose, table: Iterable[Right]) -> frozenset[Needed]:
    """Return everything that may be needed for a purpose, in every namespace; what only informs is not among it."""
    return frozenset(
        (verb, right.resource, right.place.namespace)
        for right in table
        if purpose in right.purposes and not right.informs
        for verb in right.verbs
    )


def _whatever_the_plan(rights: Iterable[Right]) -> Iterator[Needed]:
    for right in rights:
        for verb in right.verbs:
            if right.place.namespace or (verb == "list" and not right.informs):
                yield verb, right.resource, right.place.namespace


def _of_steps(plan: Plan) -> Iterator[Needed]:
    for step in plan.writes:
        for verb in _VERBS[step.action]:
            yield verb, KINDS[step.target.kind].resource, step.target.namespace


def _of_waits(plan: Plan) -> Iterator[Needed]:
    for awaited in (awaited for phase in plan.phases for wave in phase.waves for awaited in wave.awaits):
        if awaited.check is Check.INJECTION:
            for space in {Ref.parse(text).namespace for text in awaited.subject}:
                yield "create", "pods", space
        if awaited.check in _ON_PROXIES:
            yield "get", "pods/portforward", ""
            yield "create", "pods/portforward", ""


@dataclass(frozen=True)
class Role:
    """Rights that are granted together: a Role or, without a namespace, a ClusterRole."""

    name: str
    namespace: str
    rights: tuple[Right, ...]

    @property
    def rules(self) -> dict[str, tuple[dict[str, Any], tuple[Right, ...]]]:
        """For each resource, in the table's order: its rule as Kubernetes writes it, and the rights behind it."""
        grouped: dict[str, tuple[Right, ...]] = {}
        for right in self.rights:
            grouped[right.resource] = (*grouped.get(right.resource, ()), right)
        return {resource: (_rule(resource, members), members) for resource, members in grouped.items()}

    def head(self) -> dict[str, Any]:
        """The object without its rules."""
        return self._object("")

    def manifest(self) -> dict[str, Any]:
        """The object."""
        return {**self.head(), "rules": [rule for rule, _ in self.rules.values()]}

    def binding(self, subject: Mapping[str, str]) -> dict[str, Any]:
        """The object that gives the role to a user or a group (`{"kind": "User", "name": ...}`)."""
        bound = self._object("Binding")
        reference = {"apiGroup": _RBAC, "kind": self.head()["kind"], "name": self.name}
        return {**bound, "roleRef": reference, "subjects": [{"apiGroup": _RBAC, **subject}]}

    def _object(self, suffix: str) -> dict[str, Any]:
        metadata = {"name": self.name, **({"namespace": self.namespace} if self.namespace else {})}
        kind = ("Role" if self.namespace else "ClusterRole") + suffix
        return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata}


def roles(purpose: Purpose, table: Iterable[Right], namespaces: Collection[str] = ()) -> tuple[Role, ...]:
    """Return the least Roles for a purpose; `namespaces` narrows what is changed in the scope to these.

    The namespace of the records (Place.OWN) must be there, so that nobody needs the right to create one.
    """
    scope = sorted(namespaces) or [""]
    by_namespace: dict[str, list[Right]] = {}
    for right in table:
        if purpose in right.purposes:
            for space in scope if right.place is Place.SCOPE else [right.place.namespace]:
                by_namespace.setdefault(space, []).append(right)
    return tuple(
        Role(f"meshguard-{purpose.value}", space, tuple(by_namespace[space])) for space in sorted(by_namespace)
    )


def _rule(resource: str, rights: Iterable[Right]) -> dict[str, Any]:
    plural, group, subresource = split_resource(resource)
    verbs = list(dict.fromkeys(verb for right in rights for verb in right.verbs))
    return {"apiGroups": [group], "resources": [f"{plural}/{subresource}" if subresource else plural], "verbs": verbs}
