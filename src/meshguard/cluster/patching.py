"""From Changes to a JSON Patch whose every operation is guarded by a `test`, so that nobody's edit is overwritten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshguard.model.change import ABSENT, Change, FieldConflict, read, write

Operation = dict[str, Any]
Patch = list[Operation]


def json_patch(doc: Mapping[str, Any], changes: Iterable[Change], uid: str = "") -> tuple[Patch, bool]:
    """Return the operations that make `changes` on an object that looks like `doc`, and whether they change anything.

    `doc` decides which parents have to be made; the `test` operations make the server refuse when the object
    has another shape, other values, or (with `uid`) is another object. A field that has the wanted value is
    tested only. The server answers a `test` for null on a missing field, but not below a missing parent.
    Raises FieldConflict when `doc` holds neither the expected nor the wanted value.
    """
    operations: Patch = [_op("test", ("metadata", "uid"), uid)] if uid else []
    changed = False
    for change in changes:
        found = read(doc, change.path)
        if found not in (change.before, change.after):
            raise FieldConflict(change.path, change.before, found)
        parent = _deepest_parent(doc, change.path)
        tested = change.path[: len(parent) + 1]
        operations.append(_op("test", tested, None if found is ABSENT else found))
        if found == change.after:
            continue
        changed = True
        if change.after is ABSENT:
            operations.append(_op("remove", change.path))
        else:
            for depth in range(len(parent) + 1, len(change.path)):
                operations.append(_op("add", change.path[:depth], {}))
            operations.append(_op("add", change.path, change.after))
        doc = write(doc, change.path, change.after)
    return operations, changed


def _deepest_parent(doc: Mapping[str, Any], path: tuple[str, ...]) -> tuple[str, ...]:
    """The longest part of the path, leaf excluded, that is there."""
    for depth in range(len(path) - 1, 0, -1):
        if read(doc, path[:depth]) is not ABSENT:
            return path[:depth]
    return ()


def _op(operation: str, path: tuple[str, ...], *value: Any) -> Operation:
    pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)
    return {"op": operation, "path": pointer, **({"value": value[0]} if value else {})}
