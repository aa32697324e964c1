"""Which hosts a caller's proxy knows at all: what services export, and what Sidecar objects let in.

Source: Istio `pilot/pkg/model/push_context.go` (IsServiceVisible, initSidecarScopes, doGetSidecarScope),
`pilot/pkg/model/sidecar.go` (selectServices).
"""

from __future__ import annotations

from collections.abc import Mapping

from meshguard.mesh.istio_sidecar.hosts import MeshHost, covers
from meshguard.mesh.istio_sidecar.mesh_config import PRIVATE, PUBLIC, MeshConfig
from meshguard.model.objects import Resource, dig
from meshguard.model.snapshot import Snapshot

NOBODY = "~"


class Reach:
    """The visibility of hosts in a cluster, ready to be asked."""

    def __init__(self, snapshot: Snapshot, mesh: MeshConfig) -> None:
        self._mesh = mesh
        self._sidecars = sorted(snapshot.of_kind("Sidecar"), key=lambda s: (s.created, s.ref.name, s.ref.namespace))

    def sidecar_of(self, namespace: str, labels: Mapping[str, str]) -> Resource | None:
        """Return the Sidecar object that holds for pods with these labels; chosen workloads first, then by age."""
        own = [s for s in self._sidecars if s.ref.namespace == namespace]
        for sidecar in (*filter(_has_selector, own), *(s for s in own if not _has_selector(s))):
            wanted: Mapping[str, str] = dig(sidecar.doc, "spec", "workloadSelector", "labels", default={})
            if wanted.items() <= labels.items():
                return sidecar
        everywhere = (
            s for s in self._sidecars if s.ref.namespace == self._mesh.root_namespace and not _has_selector(s)
        )
        return next(everywhere, None)

    def knows(self, namespace: str, labels: Mapping[str, str], host: MeshHost) -> bool:
        """Tell whether a sidecar in `namespace` with these pod labels has clusters for the host."""
        export_to = host.export_to or self._mesh.service_export_to
        if NOBODY in export_to and PUBLIC not in export_to:
            return False
        if not (
            PUBLIC in export_to or namespace in export_to or (PRIVATE in export_to and host.namespace == namespace)
        ):
            return False
        sidecar = self.sidecar_of(namespace, labels)
        listeners = dig(sidecar.doc, "spec", "egress", default=[]) if sidecar else []
        return not listeners or any(_imports(listener, namespace, host) for listener in listeners)


def _has_selector(sidecar: Resource) -> bool:
    return dig(sidecar.doc, "spec", "workloadSelector") is not None


def _imports(listener: Mapping[str, object], namespace: str, host: MeshHost) -> bool:
    number = dig(listener, "port", "number")
    if number is not None and number not in host.ports:
        return False
    entries = [str(entry).split("/", 1) for entry in dig(listener, "hosts", default=[]) if "/" in str(entry)]
    inside = False
    for owner, pattern in entries:
        spoken_of = owner.removeprefix(NOBODY) or PUBLIC
        spoken_of = namespace if spoken_of == PRIVATE else spoken_of
        if spoken_of in (PUBLIC, host.namespace) and covers(pattern, host.name):
            if owner.startswith(NOBODY):
                return False  # `~/*` leaves everything out, `~NAMESPACE/HOST` one host
            inside = True
    return inside
