"""What a person must be allowed to do, as values: a mesh's table is made of them, and the rights review reads it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

OWN_NAMESPACE = "meshguard-system"
MESH_NAMESPACE = "istio-system"

Needed = tuple[str, str, str]
"""Verb, resource as kubectl names it (`deployments.apps`, `pods/portforward`), namespace ("" for the whole cluster)."""


class Purpose(StrEnum):
    """What the rights are for."""

    EXIT = "exit"
    RESTORE = "restore"
    REJOIN = "rejoin"
    REALIGN = "realign"
    CHAOS = "chaos"
    """Faults and their own way back, in a rehearsal."""


class Place(StrEnum):
    """Where a right is needed."""

    CLUSTER = "cluster"
    """Everywhere: who may call the scope, or is called by it, is known to the plan only."""
    SCOPE = "scope"
    """In the namespaces that leave."""
    MESH = "mesh"
    """Where istiod keeps its settings."""
    OWN = "own"
    """Where the runs are recorded."""

    @property
    def namespace(self) -> str:
        """The namespace that never depends on a plan; "" where there is none."""
        return {Place.MESH: MESH_NAMESPACE, Place.OWN: OWN_NAMESPACE}.get(self, "")


@dataclass(frozen=True)
class Right:
    """Some verbs on a resource, and why they are needed."""

    verbs: tuple[str, ...]
    resource: str
    place: Place
    why: str
    purposes: tuple[Purpose, ...] = tuple(Purpose)
    informs: bool = False
    """Without it the plan is right, but says less (MG703)."""


def split_resource(resource: str) -> tuple[str, str, str]:
    """Split `deployments.apps/scale` into plural, group and subresource."""
    whole, _, subresource = resource.partition("/")
    plural, _, group = whole.partition(".")
    return plural, group, subresource
