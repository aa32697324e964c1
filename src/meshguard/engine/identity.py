"""Is an object what it was? Pure comparison, blind only to what the API server and controllers keep for themselves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from meshguard.model.change import ABSENT, Change, read, write
from meshguard.model.objects import Ref, Resource, dig
from meshguard.model.plan import Action, Plan
from meshguard.model.snapshot import OpenRun, Snapshot

_KEPT_BY_OTHERS = (
    ("status",),
    ("metadata", "uid"),
    ("metadata", "resourceVersion"),
    ("metadata", "generation"),
    ("metadata", "managedFields"),
    ("metadata", "creationTimestamp"),
    ("metadata", "annotations", "deployment.kubernetes.io/revision"),
    ("metadata", "annotations", "deprecated.daemonset.template.generation"),
)
_ANNOTATIONS = ("metadata", "annotations")
_REPLICAS = ("spec", "replicas")


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that is not what it should be; either side may be ABSENT."""

    object: Ref
    path: tuple[str, ...]
    expected: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.object}: {Change(self.path, self.expected, self.found).describe()}"


def comparable(doc: Mapping[str, Any], *, scaled: bool = False) -> dict[str, Any]:
    """Return the document without the fields that others keep; `scaled` when an autoscaler owns its replicas."""
    out = dict(doc)
    for path in (*_KEPT_BY_OTHERS, *((_REPLICAS,) if scaled else ())):
        if read(out, path) is not ABSENT:
            out = write(out, path, ABSENT)
    if read(out, _ANNOTATIONS) == {}:
        # The controller's own annotation was the only one: before it came there was no mapping at all.
        out = write(out, _ANNOTATIONS, ABSENT)
    return out


def fingerprint(doc: Mapping[str, Any], *, scaled: bool = False) -> str:
    """Return a digest that is equal for documents that `comparable` makes equal."""
    text = json.dumps(comparable(doc, scaled=scaled), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def autoscaled(autoscalers: Iterable[Resource]) -> frozenset[Ref]:
    """Return the workloads whose replicas belong to a HorizontalPodAutoscaler."""
    return frozenset(
        Ref(dig(a.spec, "scaleTargetRef", "kind", default=""), a.ref.namespace, dig(a.spec, "scaleTargetRef", "name"))
        for a in autoscalers
    )


def fingerprints_of(plan: Plan, snapshot: Snapshot) -> dict[str, str]:
    """Return the digests of all objects that a plan is about and that are there before it runs."""
    scaled = autoscaled(snapshot.of_kind("HorizontalPodAutoscaler"))
    kept = {step.target for step in plan.steps if step.action is not Action.RENEW}
    targets = sorted(kept & set(snapshot.resources))
    return {str(ref): fingerprint(snapshot.resources[ref].doc, scaled=ref in scaled) for ref in targets}


def unlike(fingerprints: Mapping[Ref, str], snapshot: Snapshot) -> tuple[Ref, ...]:
    """Return the objects that are not what they were when the digests were made; one that is gone is among them."""
    scaled = autoscaled(snapshot.of_kind("HorizontalPodAutoscaler"))
    return tuple(
        ref
        for ref, digest in sorted(fingerprints.items())
        if (now := snapshot.resources.get(ref)) is None or fingerprint(now.doc, scaled=ref in scaled) != digest
    )


def differences(before: Resource, after: Resource, *, scaled: bool = False) -> tuple[Difference, ...]:
    """Return every field in which two states of an object differ; a list is one field."""
    return tuple(
        Difference(after.ref, path, old, new)
        for path, old, new in _unequal((), comparable(before.doc, scaled=scaled), comparable(after.doc, scaled=scaled))
    )


def not_as_left(ref: Ref, changes: Iterable[Change], found: Resource | None) -> tuple[Difference, ...]:
    """Return the fields that do not hold what the changes have made of them; all, when the object is gone."""
    doc = found.doc if found else {}
    return tuple(
        Difference(ref, change.path, change.after, value)
        for change in changes
        if (value := read(doc, change.path)) != change.after
    )


def not_as_before(ref: Ref, changes: Iterable[Change], found: Resource | None) -> tuple[Difference, ...]:
    """Return the fields that do not hold what was there before the changes."""
    return not_as_left(ref, [change.inverse() for change in changes], found)


def drift(run: OpenRun, found: Mapping[Ref, Resource]) -> tuple[Difference, ...]:
    """Return what a run has made and somebody else has changed since; for `verify RUN`."""
    changed = [d for ref, changes in run.changes.items() for d in not_as_left(ref, changes, found.get(ref))]
    for ref, uid in run.created.items():
        expected = dig(run.manifests.get(ref, {}), "spec", default={})
        now = found.get(ref)
        if now is None or (uid and now.uid != uid):
            changed.append(Difference(ref, ("metadata", "uid"), uid, now.uid if now else ABSENT))
        elif now.spec != expected:
            changed.append(Difference(ref, ("spec",), expected, now.spec))
    return tuple(changed)


def _unequal(path: tuple[str, ...], old: Any, new: Any) -> Iterable[tuple[tuple[str, ...], Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _unequal((*path, key), old.get(key, ABSENT), new.get(key, ABSENT))
    elif old != new:
        yield path, old, new
