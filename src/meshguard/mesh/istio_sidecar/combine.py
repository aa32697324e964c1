"""One write for each object: what several rules want of the same policy is put together before it becomes a step.

The steps of a wave are made at the same time, each guarded by the values that the snapshot had, so two steps that
touch one field would refuse each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from meshguard.mesh.istio_sidecar.edits import Edit
from meshguard.model.change import ABSENT, Change, change_at, read
from meshguard.model.objects import Doc, Ref
from meshguard.model.snapshot import Snapshot

Path = tuple[str, ...]


def combined(snapshot: Snapshot, edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """Return the edits with those of one object made one; where two want the same field, the later one counts."""
    by_target: dict[Ref, list[Edit]] = {}
    for edit in edits:
        by_target.setdefault(edit.target, []).append(edit)
    return tuple(_one(snapshot, members) for members in by_target.values())


def _one(snapshot: Snapshot, edits: list[Edit]) -> Edit:
    first = edits[0]
    if len(edits) == 1 or first.manifest is not None:
        return first
    wanted: dict[Path, Any] = {}
    for edit in edits:
        for change in edit.changes:
            wanted |= _leaves(change)
    return replace(
        first,
        sentence="; ".join(edit.sentence for edit in edits),
        why="; ".join(edit.why for edit in edits),
        changes=tuple(_changes(snapshot.resources[first.target].doc, wanted)),
    )


def _leaves(change: Change) -> dict[Path, Any]:
    """The fields that a change sets; what begins at a missing parent is taken apart, for others may go there too."""
    if change.before is not ABSENT:
        return {change.path: change.after}
    return dict(_fields(change.path, change.after))


def _fields(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _fields((*path, key), inner)
    else:
        yield path, value


def _changes(doc: Doc, wanted: Mapping[Path, Any]) -> Iterator[Change]:
    made: dict[Path, Any] = {}
    for path, value in wanted.items():
        change = change_at(doc, path, value)
        made[change.path] = _merged(made.get(change.path), change.after)
    for path, value in made.items():
        yield Change(path, read(doc, path), value)


def _merged(known: Any, more: Any) -> Any:
    if isinstance(known, Mapping) and isinstance(more, Mapping):
        return {**known, **{key: _merged(known.get(key), value) for key, value in more.items()}}
    return more
