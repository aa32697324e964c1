"""The order of admission: all that may change the object first, then all that may only refuse it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from meshguard.sim.api.identity import User
from meshguard.sim.api.resources import Resource
from meshguard.sim.api.status import Doc


class Operation(Enum):
    """What is done, in the words of a webhook's rules."""

    CREATE = "CREATE"
    UPDATE = "UPDATE"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class Attributes:
    """A write, as admission sees it."""

    operation: Operation
    resource: Resource
    subresource: str
    namespace: str
    name: str
    doc: Doc
    old: Doc | None
    user: User
    dry_run: bool

    def with_object(self, doc: Doc) -> Attributes:
        """The same write with another object."""
        return replace(self, doc=doc)


class Plugin(Protocol):
    """One step of admission."""

    def mutate(self, attributes: Attributes) -> Doc:
        """Return the object, changed or not. Raises ApiError."""
        ...

    def validate(self, attributes: Attributes) -> None:
        """Refuse the write by raising ApiError, or do nothing."""
        ...


class Chain:
    """All steps, in order."""

    def __init__(self, plugins: Sequence[Plugin] = ()) -> None:
        self.plugins = list(plugins)

    def mutate(self, attributes: Attributes) -> Doc:
        """Let every plugin change the object."""
        for plugin in self.plugins:
            attributes = attributes.with_object(plugin.mutate(attributes))
        return attributes.doc

    def validate(self, attributes: Attributes) -> None:
        """Let every plugin refuse the write."""
        for plugin in self.plugins:
            plugin.validate(attributes)
