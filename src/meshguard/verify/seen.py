"""What the data plane itself says of each workload, to stand beside what its labels and policies say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from meshguard.mesh.istio_sidecar import membership, proofs
from meshguard.mesh.istio_sidecar.control_plane import silent_pods
from meshguard.mesh.protocol import WorkloadStatus
from meshguard.model.objects import Pod
from meshguard.model.proxy import InboundPort, ProxyFacts
from meshguard.model.snapshot import Snapshot
from meshguard.ports import Signals
from meshguard.signals.istiod import ControlPlane, control_plane, versions
from meshguard.signals.portforward import Tunnels
from meshguard.verify.unreachable import istiods_of


async def as_seen(
    rows: Sequence[WorkloadStatus], snapshot: Snapshot, signals: Signals, tunnels: Tunnels
) -> tuple[WorkloadStatus, ...]:
    """Replace what was computed by what one proxy of each workload has, where it answers; `source` says which."""
    chosen = {row: pod for row in rows if (pod := _one_proxy(snapshot, row)) is not None}
    istiods = [pod for pod in istiods_of(snapshot) if pod.ready]
    facts, plane = await asyncio.gather(
        signals.proxies(list(chosen.values()), ["inbound"]), control_plane(tunnels, istiods)
    )
    return tuple(_seen(row, chosen[row], facts.get(chosen[row].ref), plane) if row in chosen else row for row in rows)


async def with_told_versions(snapshot: Snapshot, tunnels: Tunnels) -> Snapshot:
    """Let istiods say which version they are where nothing in the cluster names it; without such, ask nobody."""
    pods = silent_pods(snapshot)
    return replace(snapshot, told_versions=await versions(tunnels, pods)) if pods else snapshot


def _one_proxy(snapshot: Snapshot, row: WorkloadStatus) -> Pod | None:
    kind, _, name = row.workload.partition(" ")
    for ref, pods in snapshot.pods_of_workload.items():
        if (ref.kind, ref.namespace, ref.name) == (kind, row.namespace, name):
            ready = (p for p in pods if membership.is_meshed(p) and p.ready and not p.terminating)
            return next(ready, None)
    return None


def _seen(row: WorkloadStatus, pod: Pod, answer: object, plane: ControlPlane) -> WorkloadStatus:
    known = plane.proxies.get(pod.ref)
    row = replace(row, proxy_version=known.version if known and known.version else row.proxy_version)
    if not isinstance(answer, ProxyFacts) or not answer.inbound:
        return replace(row, source="policies (proxy unreachable)")
    return replace(row, tls_mode=_mode(answer.inbound.get(0) or next(iter(answer.inbound.values()))), source="envoy")


def _mode(port: InboundPort) -> str:
    has = (port.plaintext, port.mutual_tls)
    return next((mode.value for mode, accepts in proofs.ACCEPTS.items() if accepts == has), "nothing")
