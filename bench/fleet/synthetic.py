"""Planning alone, on fleets that no cluster here could carry: a snapshot is multiplied in memory."""

from __future__ import annotations

import gc
import pickle
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from meshguard import app
from meshguard.config import Config
from meshguard.mesh.protocol import Consents, LeaveRequest
from meshguard.model.objects import Resource
from meshguard.model.scopes import Asked
from meshguard.model.snapshot import Snapshot, resource_of
from meshguard.plan.build import plan_exit
from meshguard.plan.scopes import resolve

_PREFIX = "fleet-"


def planning_s(snapshot: Snapshot, times: int) -> tuple[int, float]:
    """Return how many pods so many fleets have, and how long the plan for all of them takes (processor seconds)."""
    grown = replace(snapshot, resources={r.ref: r for r in _multiplied(snapshot, times)}, open_runs=())
    target = app.Target(config=Config.model_validate({"maxNamespaces": 1_000_000, "maxWorkloads": 1_000_000}))
    mesh, settings = app.mesh_of(grown), target.settings
    gc.collect()
    gc.freeze()  # what was read is not looked through again and again, as little as in a command of its own
    began = time.process_time()
    scope = resolve(grown, mesh, Asked(whole_mesh=True, cap="100%"), settings)
    plan = plan_exit(grown, mesh, LeaveRequest(scope.namespaces, Consents(), settings, scope.selection))
    seconds = time.process_time() - began
    gc.unfreeze()
    if not plan.writes:
        raise RuntimeError("the multiplied fleet has nothing to leave")
    return len(grown.pods), seconds


def _multiplied(snapshot: Snapshot, times: int) -> Iterator[Resource]:
    for resource in snapshot.resources.values():
        space = resource.ref.namespace or (resource.ref.name if resource.ref.kind == "Namespace" else "")
        if not space.startswith(_PREFIX) and resource.ref.kind != "Node":
            yield resource
            continue
        for number in range(times):
            yield resource_of(_renamed(resource, number), resource.ref.kind)


def _renamed(resource: Resource, number: int) -> Mapping[str, Any]:
    doc: dict[str, Any] = pickle.loads(pickle.dumps(dict(resource.doc)))
    metadata = doc["metadata"]
    key = "namespace" if resource.ref.namespace else "name"
    metadata[key] = f"{metadata[key]}-{number}"
    metadata["uid"] = f"{metadata.get('uid', '')}-{number}"
    return doc
