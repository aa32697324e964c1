"""A JSON Patch made of Changes does what the Changes say, and refuses when the object is not what was expected."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshguard.cluster.patching import json_patch
from meshguard.model.change import ABSENT, Change, FieldConflict, apply_changes, change_at, read

KEYS = st.sampled_from(["a", "b/c", "d~e"])
LEAVES = st.one_of(st.text("xy", max_size=2), st.booleans(), st.lists(st.text("xy", max_size=1), max_size=2))
DOCUMENTS = st.dictionaries(
    KEYS, st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3)), max_size=3
)


class TestFailed(Exception):
    """A `test` operation did not hold."""

    __test__ = False


def apply_patch(doc: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """Apply a patch as the API server's library does: `test` for null holds where the last key is missing."""
    doc = copy.deepcopy(doc)
    for operation in operations:
        *parents, last = [key.replace("~1", "/").replace("~0", "~") for key in operation["path"].split("/")[1:]]
        holder = doc
        for key in parents:
            holder = holder[key]
        if operation["op"] == "test":
            if holder.get(last) != operation["value"]:
                raise TestFailed(operation["path"])
        elif operation["op"] == "add":
            holder[last] = copy.deepcopy(operation["value"])
        else:
            del holder[last]
    return doc


def paths_of(doc: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [prefix] if prefix else []
    if isinstance(doc, dict):
        for key, value in doc.items():
            found += paths_of(value, (*prefix, key))
    return found


@st.composite
def documents_and_changes(draw: st.DrawFn) -> tuple[dict[str, Any], list[Change]]:
    original = draw(DOCUMENTS)
    doc, changes = original, []
    for _ in range(draw(st.integers(1, 3))):
        known = paths_of(doc)
        fresh = st.lists(KEYS, min_size=1, max_size=3).map(tuple)
        path = draw(st.one_of(st.sampled_from(known), fresh) if known else fresh)
        if any(
            not isinstance(read(doc, path[:depth]), dict)
            for depth in range(1, len(path))
            if read(doc, path[:depth]) is not ABSENT
        ):
            continue
        change = Change(path, read(doc, path), draw(st.one_of(LEAVES, st.just(ABSENT))))
        changes.append(change)
        doc = apply_changes(doc, [change])
    return original, changes


@settings(deadline=None)
@given(documents_and_changes())
def test_the_patch_does_what_the_changes_say(case: tuple[dict[str, Any], list[Change]]) -> None:
    doc, changes = case
    operations, changed = json_patch(doc, changes)
    patched = apply_patch(doc, operations)
    assert patched == apply_changes(doc, changes)
    if not changed:
        assert patched == doc


@settings(deadline=None)
@given(documents_and_changes(), st.data())
def test_the_patch_refuses_an_object_that_somebody_else_has_changed(
    case: tuple[dict[str, Any], list[Change]], data: st.DataObject
) -> None:
    doc, changes = case
    if not changes:
        return
    operations, _ = json_patch(doc, changes)
    change = changes[0]
    theirs = apply_changes(doc, [Change(change.path, change.before, data.draw(st.just("somebody else's")))])
    with pytest.raises((TestFailed, KeyError)):
        apply_patch(theirs, operations)


def test_missing_parents_are_made_and_guarded() -> None:
    operations, _ = json_patch({"metadata": {"uid": "u"}}, [Change(("metadata", "labels", "a/b"), ABSENT, "1")], "u")
    assert operations == [
        {"op": "test", "path": "/metadata/uid", "value": "u"},
        {"op": "test", "path": "/metadata/labels", "value": None},
        {"op": "add", "path": "/metadata/labels", "value": {}},
        {"op": "add", "path": "/metadata/labels/a~1b", "value": "1"},
    ]


def test_a_field_that_is_as_wanted_is_tested_and_left() -> None:
    operations, changed = json_patch(
        {"a": "new", "b": "old"}, [Change(("a",), "old", "new"), Change(("b",), "old", "new")]
    )
    assert changed
    assert operations == [
        {"op": "test", "path": "/a", "value": "new"},
        {"op": "test", "path": "/b", "value": "old"},
        {"op": "add", "path": "/b", "value": "new"},
    ]


def test_a_field_with_a_third_value_is_a_conflict() -> None:
    with pytest.raises(FieldConflict):
        json_patch({"a": "theirs"}, [Change(("a",), "old", "new")])


def test_the_way_back_of_a_made_parent_removes_it() -> None:
    doc: dict[str, Any] = {"spec": {"host": "x"}}
    change = change_at(doc, ("spec", "mtls", "mode"), "PERMISSIVE")
    out = apply_patch(doc, json_patch(doc, [change])[0])
    assert out == {"spec": {"host": "x", "mtls": {"mode": "PERMISSIVE"}}}
    assert apply_patch(out, json_patch(out, [change.inverse()])[0]) == doc
