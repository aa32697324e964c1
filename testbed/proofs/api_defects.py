"""Defects that are seeded into the stand-in, one at a time: the comparison must see each of them.

Many stand beside a rule of `api_normal`: what is made comparable there must not hide what is wrong here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

from meshguard.sim.api import (
    authorization,
    codec,
    defaults,
    deletion,
    objects,
    reading,
    selectors,
    strategies,
    structural,
    typed,
    writing,
)
from meshguard.sim.api.admission import lifecycle
from meshguard.sim.api.controllers import deployments
from meshguard.sim.api.patches import json_patch, merge_patch, ownership, strategic
from meshguard.sim.api.tables import columns

Defect = Callable[[], Any]


def _instead(owner: Any, name: str, new: Any) -> Defect:
    """Something else stands in its place."""
    return lambda: mock.patch.object(owner, name, new)


def _nothing(*_: Any, **__: Any) -> None:
    """Does nothing."""


def _lenient_test(doc: Any, path: Any, operation: Mapping[str, Any]) -> Any:
    """Tests for null hold below missing parents, too."""
    found = doc
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    if found != operation.get("value"):
        raise json_patch._Fails("test failed")
    return doc


def _merge_that_keeps_null(doc: Any, patch: Any) -> Any:
    return {**doc, **patch} if isinstance(doc, dict) and isinstance(patch, Mapping) else patch


def _covers_any_name(rule: Mapping[str, Any], action: Any) -> bool:
    return bool(_COVERS({**rule, "resourceNames": []}, action))


_COVERS = authorization._covers


def _latest(objects_: Any, resource: Any, version: int) -> list[Any]:
    """A page of now, whatever the list began with."""
    found: list[Any] = objects_.store.all(resource.storage)
    return found


def _absent_is_unequal_to_nothing(part: str, whole: str) -> Any:
    test = _REQUIREMENT(part, whole)
    key = part.partition("!=")[0]
    return (lambda labels: key in labels and test(labels)) if "!=" in part else test


_REQUIREMENT = selectors._requirement


_MISCOUNTING = columns.Printer(
    columns.PRINTERS["configmaps"].columns, lambda doc, now: [doc["metadata"]["name"], 7, "1s"]
)


@contextmanager
def _kept_dry_runs() -> Iterator[None]:
    """Dry runs are kept like any other write."""
    found = objects.Write

    def write(*given: Any, **named: Any) -> Any:
        return found(*given, **{**named, "dry_run": False})

    def how(request: Any) -> Any:
        return write(request.user, manager="proof")

    with mock.patch.object(writing, "how", how):
        yield


DEFECTS: Mapping[str, Defect] = {
    "pods have no defaults": lambda: mock.patch.dict(defaults.DEFAULTS, {"PodSpec": _nothing}),
    "images of no tag are pulled only once": _instead(defaults, "_pull_policy", lambda image: "IfNotPresent"),
    "quantities stay as they are written": _instead(typed, "canonical", str),
    "empty maps stay": _instead(typed, "_omitted", lambda field, value: False),
    "the generation stands still": _instead(strategies, "_body", lambda doc: {}),
    "the status is the client's": _instead(strategies, "has_status", lambda resource: False),
    "stale versions are taken": _instead(objects.Objects, "_check_versions", _nothing),
    "everything may change": _instead(codec, "UPDATES", {}),
    "structs are not looked at": _instead(codec, "struct_errors", lambda *_: ()),
    "names are not looked at": _instead(codec, "metadata_errors", lambda *_: ()),
    "objects are not looked at as a whole": _instead(codec, "OBJECTS", {}),
    "custom resources are not pruned": _instead(structural, "prune", lambda schema, value, path, unknown: value),
    "custom resources are not looked at": _instead(structural, "validate", lambda *_: iter(())),
    "nobody is told of unknown fields": _instead(codec, "strict_error", lambda *_: ""),
    "tests of JSON patches always hold": _instead(json_patch, "_tested", lambda doc, path, operation: doc),
    "tests for null reach below nothing": _instead(json_patch, "_tested", _lenient_test),
    "merge patches do not go deep": _instead(merge_patch, "apply", _merge_that_keeps_null),
    "strategic patches replace lists": _instead(strategic, "_list", lambda field, old, patch, order: list(patch)),
    "apply meets no conflict": _instead(ownership, "_clashes", lambda *_: frozenset()),
    "apply takes nothing back": _instead(ownership, "without", lambda of, doc, path: doc),
    "edits own nothing": _instead(objects, "track", lambda resource, old, new, *_: new),
    "finalizers do not hold": _instead(deletion, "_finalizers", lambda *_: []),
    "preconditions do not hold": _instead(deletion, "_check", _nothing),
    "roles hold for all names": _instead(authorization, "_covers", _covers_any_name),
    "subresources need no right of their own": _instead(authorization.Action, "full_resource", "pods"),
    "pages show different moments": _instead(reading, "_as_of", _latest),
    "no label is unequal to nothing": _instead(selectors, "_requirement", _absent_is_unequal_to_nothing),
    "any namespace will do": _instead(lifecycle.NamespaceLifecycle, "_check", _nothing),
    "dry runs are kept": _kept_dry_runs,
    "tables count wrongly": lambda: mock.patch.dict(columns.PRINTERS, {"configmaps": _MISCOUNTING}),
    "revisions are not written down": _instead(deployments.Deployments, "_set_revision", _nothing),
    "old pods are never taken away": _instead(deployments.Deployments, "_scale_down", _nothing),
}
