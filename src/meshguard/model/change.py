"""A change of one field of one object: what is expected there, what shall be there, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class _Absent(Enum):
    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent.ABSENT
"""The value of a field that is not there; `null` cannot serve, because it is a value of its own."""


class FieldConflict(Exception):
    """A field holds neither what the change expects nor what it wants: somebody else has been here."""

    def __init__(self, path: tuple[str, ...], expected: Any, found: Any) -> None:
        super().__init__(f"{'.'.join(path)} is {found!r}, expected {expected!r}")
        self.path, self.expected, self.found = path, expected, found


@dataclass(frozen=True, slots=True)
class Change:
    """Set the field at `path` from `before` to `after`; ABSENT on either side adds or removes it.

    Paths go through mappings only. A list is one field and is replaced as a whole, so that nobody's
    insertion can move an index under us.
    """

    path: tuple[str, ...]
    before: Any
    after: Any

    def inverse(self) -> Change:
        """The change that undoes this one, and that expects to find what this one left."""
        return Change(self.path, self.after, self.before)

    def describe(self) -> str:
        """`metadata.labels[istio-injection]: 'enabled' -> 'disabled'`, for plans and diffs."""
        head, last = ".".join(self.path[:-1]), self.path[-1]
        where = f"{head}[{last}]" if "/" in last or "-" in last else ".".join(self.path)
        return f"{where}: {_show(self.before)} -> {_show(self.after)}"

    def to_json(self) -> dict[str, Any]:
        """A JSON form in which an absent side is a missing key."""
        out: dict[str, Any] = {"path": list(self.path)}
        if self.before is not ABSENT:
            out["before"] = self.before
        if self.after is not ABSENT:
            out["after"] = self.after
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Change:
        """Read back `to_json`. Raises KeyError when the path is missing."""
        return cls(tuple(data["path"]), data.get("before", ABSENT), data.get("after", ABSENT))


def _show(value: Any) -> str:
    return "(absent)" if value is ABSENT else repr(value)


def read(doc: Any, path: Iterable[str]) -> Any:
    """Return the value at `path`, or ABSENT."""
    for key in path:
        if not isinstance(doc, Mapping) or key not in doc:
            return ABSENT
        doc = doc[key]
    return doc


def write(doc: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return a copy of `doc` with the field set (parents are made) or, for ABSENT, removed."""
    out = dict(doc)
    if len(path) == 1:
        if value is ABSENT:
            out.pop(path[0], None)
        else:
            out[path[0]] = value
        return out
    inner = out.get(path[0])
    if inner is None and value is ABSENT:
        return out
    out[path[0]] = write(inner if isinstance(inner, Mapping) else {}, path[1:], value)
    return out


def apply_changes(doc: Mapping[str, Any], changes: Iterable[Change]) -> dict[str, Any]:
    """Return a copy of `doc` with all changes made; one that is made already is left as it is.

    Raises FieldConflict when a field holds neither the expected nor the wanted value.
    """
    out = dict(doc)
    for change in changes:
        found = read(out, change.path)
        if found == change.after:
            continue
        if found != change.before:
            raise FieldConflict(change.path, change.before, found)
        out = write(out, change.path, change.after)
    return out


def change_at(doc: Mapping[str, Any], path: tuple[str, ...], after: Any) -> Change:
    """Make the change that sets `path` to `after`, beginning at the first parent that is missing.

    Custom resources keep an empty mapping that a removed leaf leaves behind, so the way back must remove the
    parent that the way out has made.
    """
    for depth in range(1, len(path)):
        if read(doc, path[:depth]) is ABSENT:
            value = after
            for key in reversed(path[depth:]):
                value = {key: value}
            return Change(path[:depth], ABSENT, value)
    return Change(path, read(doc, path), after)


def net(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Return what several changes of one object, made one after the other, come to; one that was taken back is gone."""
    out: dict[tuple[str, ...], Change] = {}
    for change in changes:
        first = out.get(change.path, change)
        out[change.path] = Change(change.path, first.before, change.after)
    return tuple(change for change in out.values() if change.before != change.after)
