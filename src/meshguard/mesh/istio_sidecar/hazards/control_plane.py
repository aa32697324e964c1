"""Hazards of the control plane: nobody answers, nobody validates, proxies that do not fit it, other networks."""

from __future__ import annotations

from collections.abc import Iterator

from meshguard.mesh.istio_sidecar import control_plane, membership, supported
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref
from meshguard.model.versions import release

NETWORK_LABEL = "topology.istio.io/network"
#: How many minor versions the data plane may be behind its control plane.
MINORS_BEHIND = 2


def is_down(scope: Scope, consents: Consents) -> Iterator[Finding]:
    """Policies and endpoints reach the proxies only through a living istiod."""
    if not control_plane.is_alive(scope.snapshot):
        yield Finding(
            CODES["MG401"],
            Ref("Namespace", "", scope.mesh.root_namespace),
            f"no ready pod answers for any injector's service; {control_plane.way_to_bring_one_back(scope.snapshot)}",
            accepted=consents.outage,
        )


def validation_is_deaf(scope: Scope, consents: Consents) -> Iterator[Finding]:
    """A validation webhook that fails closed refuses our own policy edits; with an outage declared there are none."""
    if consents.outage and not control_plane.is_alive(scope.snapshot):
        return
    for configuration in control_plane.deaf_validators(scope.snapshot):
        yield Finding(CODES["MG403"], configuration.ref, "it fails closed and no ready pod answers for its service")


def unsupported(scope: Scope, consents: Consents) -> Iterator[Finding]:
    """Istiods of a version that these rules were not written for, and those that nobody knows the version of."""
    for istiod in control_plane.istiods(scope.snapshot):
        text = control_plane.version_of(scope.snapshot, istiod)
        version = release(text)
        known = f"supported: {supported.in_words()}"
        if version is None:
            words = f"neither its image, its labels nor its pods tell which version it is; {known}"
            yield Finding(CODES["MG409"], istiod.ref, words, accepted=consents.unknown_version)
        elif not supported.is_supported(version):
            yield Finding(CODES["MG408"], istiod.ref, f"it is Istio {_dotted(version)}; {known}")


def other_networks(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Sidecars of other networks reach a service through an east-west gateway, by mutual TLS only."""
    gateways = [s for s in scope.snapshot.of_kind("Service") if NETWORK_LABEL in s.labels]
    if not gateways:
        return
    for workload in scope.leaving:
        served = scope.services_before(workload.ref.namespace, workload.template_labels)
        if served:
            yield Finding(
                CODES["MG406"],
                workload.ref,
                f"{gateways[0].ref} lets network {gateways[0].labels[NETWORK_LABEL]!r} be called from others, and they "
                f"may call {', '.join(s.ref.name for s in served)}",
            )


def skew(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Proxies whose version their control plane does not support."""
    versions = control_plane.versions(scope.snapshot)
    for workload in scope.leaving:
        for pod in scope.meshed_workloads[workload.ref]:
            revision = membership.revision_of(pod)
            wanted = release(versions.get(revision, ""))
            found = release(membership.proxy_image(pod).rpartition(":")[2])
            if not wanted or not found:
                continue
            behind = (wanted[0] - found[0]) * 100 + wanted[1] - found[1]
            if not 0 <= behind <= MINORS_BEHIND:
                words = f"{behind} minor versions behind" if behind > 0 else "ahead of"
                yield Finding(
                    CODES["MG407"],
                    workload.ref,
                    f"its proxies are {_dotted(found)}, {words} the istiod of revision {revision} ({_dotted(wanted)})",
                )
                break


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))


RULES = (is_down, validation_is_deaf, unsupported, other_networks, skew)
