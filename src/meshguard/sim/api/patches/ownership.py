"""Who owns which fields, and server-side apply. Source: `k8s.io/apimachinery/pkg/util/managedfields`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from meshguard.sim.api.patches.paths import (
    MISSING,
    Path,
    Paths,
    from_json,
    inside,
    leaves,
    merged,
    to_json,
    value_at,
    without,
)
from meshguard.sim.api.resources import Resource
from meshguard.sim.api.schema import Shape, Type
from meshguard.sim.api.status import ApiError, Doc

_OWN = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation", "managedFields")
_NEVER_OWNED = {("f:apiVersion",), ("f:kind",), ("f:metadata",), *(("f:metadata", f"f:{name}") for name in _OWN)}


@dataclass(frozen=True, slots=True)
class Manager:
    """Somebody who owns fields."""

    name: str
    operation: str
    """`Apply` or `Update`."""
    api_version: str
    paths: Paths
    time: str
    subresource: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """Writes of the same identity go into the same entry."""
        return self.name, self.operation, self.subresource

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Manager:
        """Read an entry of `managedFields`."""
        paths = frozenset(from_json(entry.get("fieldsV1") or {}))
        return cls(
            entry.get("manager", ""),
            entry.get("operation", ""),
            entry.get("apiVersion", ""),
            paths,
            entry.get("time", ""),
            entry.get("subresource", ""),
        )

    def entry(self) -> Doc:
        """Write an entry of `managedFields`."""
        out: Doc = {
            "manager": self.name,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": to_json(self.paths),
        }
        return {**out, "subresource": self.subresource} if self.subresource else out


def managers(doc: Doc) -> list[Manager]:
    """Everybody who owns fields of an object."""
    return [Manager.of(entry) for entry in doc["metadata"].get("managedFields") or ()]


def with_managers(doc: Doc, found: Sequence[Manager]) -> Doc:
    """Return the object with these owners."""
    metadata = {key: value for key, value in doc["metadata"].items() if key != "managedFields"}
    entries = [manager.entry() for manager in found if manager.paths]
    return {**doc, "metadata": {**metadata, **({"managedFields": entries} if entries else {})}}


def owned(of: Type, doc: Doc, *, maps: bool = False) -> Paths:
    """The fields that somebody owns who writes the whole document; whoever edits also owns the maps that he makes."""
    return frozenset(
        path for path in leaves(of, doc, maps=maps) if path not in _NEVER_OWNED and path[:2] not in _NEVER_OWNED
    )


def track(resource: Resource, old: Doc | None, new: Doc, name: str, time: str, subresource: str = "") -> Doc:
    """Return the object with whoever wrote it as the owner of what he changed."""
    of = resource.type
    after = owned(of, new, maps=True)
    before = owned(of, old, maps=True) if old else frozenset[Path]()
    changed = frozenset(p for p in after if old is None or p not in before or _differs(of, old, new, p))
    gone = before - after
    if old is not None and not changed and not gone:
        return with_managers(new, managers(old)) if "managedFields" not in new["metadata"] else new
    writer = Manager(name, "Update", resource.api_version, changed, time, subresource)
    known = managers(old) if old else []
    out = []
    for manager in known:
        if manager.identity == writer.identity:
            writer = replace(writer, paths=(manager.paths | changed) - gone)
        else:
            out.append(replace(manager, paths=manager.paths - changed - gone))
    return with_managers(new, [*out, writer])


def _differs(of: Type, old: Doc, new: Doc, path: Path) -> bool:
    return not _is_container(of, path) and value_at(of, old, path) != value_at(of, new, path)


def apply(resource: Resource, live: Doc, config: Doc, name: str, time: str, *, force: bool) -> Doc:
    """Return what server-side apply makes of an object; `live` and `config` have no `apiVersion` and `kind`.

    Raises ApiError (409) when another manager owns a field that would change, unless forced.
    """
    of = resource.type
    wanted = owned(of, config)
    known = managers(live)
    mine = next((m for m in known if (m.name, m.operation) == (name, "Apply")), None)
    others = [manager for manager in known if manager is not mine]
    result = merged(of, live, config)
    clashes = {manager.identity: _clashes(of, live, result, manager) for manager in others}
    if not force and any(clashes.values()):
        raise _conflict([(manager, clashes[manager.identity]) for manager in others if clashes[manager.identity]])
    left = [replace(manager, paths=manager.paths - clashes[manager.identity]) for manager in others]
    kept = frozenset[Path]().union(*(manager.paths for manager in left))
    for path in sorted((mine.paths if mine else frozenset()) - wanted):
        if path not in kept and not any(other[: len(path)] == path for other in (*kept, *wanted)):
            result = without(of, result, path)
    same = mine is not None and mine.paths == wanted
    writer = Manager(name, "Apply", resource.api_version, wanted, mine.time if same and mine else time)
    return with_managers(result, [*left, writer])


def _clashes(of: Type, live: Doc, result: Doc, manager: Manager) -> Paths:
    """The fields of a manager that would change under him."""
    return frozenset(
        path
        for path in manager.paths
        if not _is_container(of, path)
        and (now := value_at(of, live, path)) is not MISSING
        and now != value_at(of, result, path)
    )


def _is_container(of: Type, path: Path) -> bool:
    """A map, or an element of a list, is owned by everybody who names it; only what stands in it can clash."""
    for step in path:
        of = inside(of, step[2:]) if step.startswith("f:") else of.part
    return path[-1].startswith("k:") or (of.shape is Shape.MAP and not of.atomic)


def _conflict(clashing: Sequence[tuple[Manager, Paths]]) -> ApiError:
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {_words(manager)}", "field": _dotted(path)}
        for manager, paths in clashing
        for path in sorted(paths)
    ]
    count = len(causes)
    if len(clashing) == 1:
        fields = sorted(clashing[0][1])
        shown = f": {_dotted(fields[0])}" if len(fields) == 1 else ":\n" + "\n".join(f"- {_dotted(p)}" for p in fields)
        text = f"conflict{'s' if count > 1 else ''} with {_words(clashing[0][0])}{shown}"
    else:
        parts = [
            f"conflicts with {_words(manager)}:\n" + "\n".join(f"- {_dotted(path)}" for path in sorted(paths))
            for manager, paths in clashing
        ]
        text = "\n".join(parts)
    plural = "s" if count > 1 else ""
    message = f"Apply failed with {count} conflict{plural}: {text}"
    return ApiError(409, "Conflict", message, {"causes": causes})


def _words(manager: Manager) -> str:
    sub = f' with subresource "{manager.subresource}"' if manager.subresource else ""
    using = f" using {manager.api_version}" if manager.operation == "Update" else ""
    return f'"{manager.name}"{sub}{using}'


def _dotted(path: Path) -> str:
    out = ""
    for step in path:
        if step.startswith("f:"):
            out += f".{step[2:]}"
        elif step.startswith("k:"):
            keys = json.loads(step[2:])
            out += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in keys.items()) + "]"
        else:
            out += f"[={step[2:]}]"
    return out
