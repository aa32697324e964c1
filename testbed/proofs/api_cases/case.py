"""What a case is: some requests, one after the other; every answer is compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass(frozen=True)
class Step:
    """One request. `{ns}` in it stands for the case's namespace, `{version}` and `{continue}` for those seen last."""

    method: str
    path: str
    body: Any = None
    kind: str = "application/json"
    accept: str = "application/json"
    query: Mapping[str, str] = field(default_factory=dict)
    person: str = "admin"
    headers: tuple[tuple[str, str], ...] = ()
    watches: bool = False
    """Collect the events since the version seen last."""
    until: Mapping[str, Any] = field(default_factory=dict)
    """Ask again until these fields have these values, and only then compare."""
    silent: bool = False
    """Do not compare: it only prepares."""

    def by(self, person: str) -> Step:
        """The same request by somebody else."""
        return replace(self, person=person)

    def quietly(self) -> Step:
        """The same request, not compared."""
        return replace(self, silent=True)


@dataclass(frozen=True)
class Command:
    """One call of kubectl, whose output is compared."""

    arguments: tuple[str, ...]
    text: str = ""


@dataclass(frozen=True)
class Case:
    """A case by its name."""

    name: str
    steps: tuple[Step | Command, ...]
    settled: bool = False
    """Compare also what controllers write into the objects: the case waits for them."""


def settled(name: str, *steps: Step | Command) -> Case:
    """Make a case that waits for the controllers."""
    return Case(name, steps, settled=True)


def case(name: str, *steps: Step | Command) -> Case:
    """Make a case."""
    return Case(name, steps)


def get(path: str, accept: str = "application/json", **query: str) -> Step:
    """GET; a trailing underscore of a parameter is left out."""
    return Step("GET", path, accept=accept, query=_named(query))


def post(path: str, body: Any, **query: str) -> Step:
    """POST."""
    return Step("POST", path, body, query=_named(query))


def put(path: str, body: Any, **query: str) -> Step:
    """PUT."""
    return Step("PUT", path, body, query=_named(query))


def patch(path: str, body: Any, kind: str = MERGE_PATCH, **query: str) -> Step:
    """PATCH."""
    return Step("PATCH", path, body, kind, query=_named(query))


def apply(path: str, body: Any, manager: str, **query: str) -> Step:
    """PATCH by server-side apply."""
    return Step("PATCH", path, body, APPLY, query={"fieldManager": manager, **_named(query)})


def delete(path: str, body: Any = None, **query: str) -> Step:
    """DELETE."""
    return Step("DELETE", path, body, query=_named(query))


def watch(path: str, **query: str) -> Step:
    """The events since the version seen last."""
    return Step("GET", path, query=_named(query), watches=True)


def wait(path: str, **fields: Any) -> Step:
    """GET until fields (`status__readyReplicas`) have these values."""
    return Step("GET", path, until={name.replace("__", "."): value for name, value in fields.items()})


def kubectl(*arguments: str, text: str = "") -> Command:
    """Call kubectl."""
    return Command(arguments, text)


def _named(query: Mapping[str, str]) -> dict[str, str]:
    return {name.rstrip("_"): value for name, value in query.items()}
