"""Hazards of the world around the scope: who else has a hand on the objects, what could not be read, what stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.istio_sidecar.webhooks import SYSTEM_NAMESPACES
from meshguard.mesh.protocol import Consents
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref, Resource
from meshguard.model.rights import OWN_NAMESPACE

#: Kinds without which a plan could be wrong, not only less well informed.
DECISIVE_KINDS = frozenset(
    {
        "Namespace",
        "Pod",
        "Service",
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "ReplicaSet",
        "MutatingWebhookConfiguration",
        "PeerAuthentication",
        "DestinationRule",
        "AuthorizationPolicy",
        "RequestAuthentication",
        "Sidecar",
        "ServiceEntry",
        "VirtualService",
        "EnvoyFilter",
        "WasmPlugin",
        "ConfigMap",
    }
)


#: How a record that is there and cannot be read is named among what could not be read.
_RECORD = f"ConfigMap {OWN_NAMESPACE}/"


@dataclass(frozen=True)
class Reconciler:
    """A GitOps controller: the mark that it leaves on its objects, and how it is paused."""

    name: str
    mark: str
    pause: Callable[[Resource, str], str]
    """The command, from the object and the mark's value."""


def _argo(_: Resource, value: str) -> str:
    return f"argocd app set {value.split(':', 1)[0]} --sync-policy none"


def _kustomization(resource: Resource, value: str) -> str:
    space = resource.labels.get("kustomize.toolkit.fluxcd.io/namespace", "flux-system")
    return f"flux suspend kustomization {value} -n {space}"


def _helm_release(resource: Resource, value: str) -> str:
    space = resource.labels.get("helm.toolkit.fluxcd.io/namespace", "flux-system")
    return f"flux suspend helmrelease {value} -n {space}"


def _config_sync(resource: Resource, _: str) -> str:
    return f"annotate {resource.ref} with configmanagement.gke.io/managed=disabled"


def _fleet(_: Resource, value: str) -> str:
    return f"pause the Fleet bundle {value}"


RECONCILERS = (
    Reconciler("Argo CD", "argocd.argoproj.io/tracking-id", _argo),
    Reconciler("Argo CD", "argocd.argoproj.io/instance", _argo),
    Reconciler("Flux", "kustomize.toolkit.fluxcd.io/name", _kustomization),
    Reconciler("Flux", "helm.toolkit.fluxcd.io/name", _helm_release),
    Reconciler("Config Sync", "configmanagement.gke.io/managed", _config_sync),
    Reconciler("Rancher Fleet", "objectset.rio.cattle.io/owner-name", _fleet),
)


def gitops(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Objects of the scope, and policies that a plan may edit, that somebody's reconciler owns."""
    policies = (
        resource
        for kind in ("PeerAuthentication", "DestinationRule", "AuthorizationPolicy")
        for resource in scope.snapshot.of_kind(kind)
        if resource.ref.namespace in scope.meshed_namespaces
    )
    spaces = (scope.snapshot.namespaces[name] for name in sorted(scope.namespaces))
    for resource in (*spaces, *scope.candidates, *policies):
        for reconciler in RECONCILERS:
            value = resource.annotations.get(reconciler.mark) or resource.labels.get(reconciler.mark)
            if value:
                yield Finding(
                    CODES["MG601"],
                    resource.ref,
                    f"{reconciler.name} owns it ({reconciler.mark}); to pause: {reconciler.pause(resource, value)}",
                )
                break


def blind(scope: Scope, _: Consents) -> Iterator[Finding]:
    """What could not be read, in the whole cluster or namespace by namespace, and whether that matters."""
    parts: dict[tuple[str, bool], dict[str, str]] = {}
    for what, why in sorted(scope.snapshot.blind.items()):
        kind, _sep, space = what.partition(" in ")
        if what.startswith(_RECORD):
            name = what.removeprefix(_RECORD)
            aside = f"kubectl -n {OWN_NAMESPACE} label configmap {name} meshguard.dev/record=unreadable --overwrite"
            yield Finding(CODES["MG705"], Ref("ConfigMap", OWN_NAMESPACE, name), f"{why}; to set it aside: {aside}")
        elif space:
            parts.setdefault((space, _decides(kind, space)), {})[kind] = why
        else:
            code = CODES["MG702"] if _decides(what.split()[0]) else CODES["MG703"]
            yield Finding(code, Ref(what.split()[0], "", what.split()[-1]), f"{what}: {why}")
    for (space, decides), reasons in sorted(parts.items()):
        told = f"these of its objects could not be read: {', '.join(reasons)} ({next(iter(reasons.values()))})"
        yield Finding(CODES["MG702" if decides else "MG703"], Ref("Namespace", "", space), told)


def _decides(kind: str, namespace: str = "") -> bool:
    """Nobody injects pods of the system's namespaces: what is in there neither calls by mutual TLS nor serves it."""
    return kind in DECISIVE_KINDS and namespace not in SYSTEM_NAMESPACES


def open_runs(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Parts of the scope that another run has taken out."""
    for run in scope.snapshot.open_runs:
        for ref in sorted(run.changes):
            if scope.covers(ref) or (ref.kind == "Namespace" and ref.name in scope.namespaces):
                yield Finding(CODES["MG501"], ref, f"run {run.run} by {run.owner} has changed it: {run.reason}")


def stays_in(scope: Scope, _: Consents) -> Iterator[Finding]:
    """Namespaces of which only a part leaves: the others keep their proxies, and the label must not change."""
    for name in sorted(scope.partial & {w.ref.namespace for w in scope.leaving}):
        staying = sorted(ref.name for ref in scope.kept if ref.namespace == name)
        reason = f"because of {', '.join(staying)}" if staying else "because only chosen workloads leave"
        yield Finding(
            CODES["MG801"],
            scope.snapshot.namespaces[name].ref,
            f"its label stays, {reason}; {sum(w.ref.namespace == name for w in scope.leaving)} workload(s) leave by "
            "their pod label",
        )


def whole_mesh(scope: Scope, _: Consents) -> Iterator[Finding]:
    """An exit of everything edits the mesh-wide policy, which is a push to every proxy at once."""
    policy = scope.peers.mesh_level()
    if scope.edits_mesh_policy and scope.leaving and policy is not None:
        yield Finding(CODES["MG802"], policy.ref, f"it is edited in place for {len(scope.meshed_pods)} proxies")


RULES = (gitops, blind, open_runs, stays_in, whole_mesh)
