"""Looks of probes that are no signals: membership, versions, the end of a job. Reads only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from meshguard import app
from meshguard.chaos.settings import target_of
from meshguard.mesh.istio_sidecar.faults import FaultError
from meshguard.model.objects import Pod, Ref, dig
from meshguard.plan.build import check_scope
from meshguard.signals.istiod import control_plane
from meshguard.signals.measure.world import ISTIOD_LABEL

_LOOK_S = 1.0


async def members(namespaces: Sequence[str], configuration: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the three answers of membership for each workload. Raises UnknownScope, ClusterError."""
    async with app.session(target_of(configuration)) as opened:
        snapshot = await opened.snapshot()
        check_scope(snapshot, namespaces, ())
        rows = await app.status(opened, snapshot, namespaces)
    return {
        "workloads": {
            f"{row.namespace}/{row.workload}": {"declared": row.declared, "due": row.due, "actual": row.actual}
            for row in rows
        }
    }


async def versions(configuration: Mapping[str, Any] | None) -> dict[str, Any]:
    """Count connected proxies by version. Raises ClusterError."""
    key, value = ISTIOD_LABEL
    async with app.session(target_of(configuration)) as opened:
        pods = [p for p in await opened.cluster.list("Pod") if isinstance(p, Pod)]
        istiods = [p for p in pods if p.labels.get(key) == value and p.ip and not p.finished]
        seen = await control_plane(opened.tunnels, istiods)
    counted = Counter(proxy.version or "unknown" for proxy in seen.proxies.values())
    return {"versions": dict(counted), "unseen": [f"{ref.name}: {why}" for ref, why in seen.silent.items()]}


async def job(namespace: str, name: str, within: float, configuration: Mapping[str, Any] | None) -> dict[str, Any]:
    """Say how a Job stands, after waiting at most `within` seconds for its end. Raises FaultError, ClusterError."""
    ref = Ref("Job", namespace, f"meshguard-{name}")
    async with app.session(target_of(configuration)) as opened:
        deadline = opened.clock.now() + within
        while True:
            found = await opened.cluster.get(ref)
            if found is None:
                raise FaultError(f"there is no {ref}")
            conditions = dig(found.doc, "status", "conditions", default=[])
            ended = sorted(c["type"] for c in conditions if c.get("status") == "True")
            if ended or opened.clock.now() >= deadline:
                status = dig(found.doc, "status", default={})
                return {
                    "ended": bool(ended),
                    "conditions": ended,
                    **{key: status.get(key, 0) for key in ("active", "succeeded", "failed")},
                }
            await opened.clock.sleep(_LOOK_S)
