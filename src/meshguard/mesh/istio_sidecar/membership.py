"""Who is in the mesh: declared by labels, due at the next pod create, and actual on the pods.

Step 1 of injection is the API server's: it evaluates the selectors of every webhook that is really in the
cluster, and needs no istiod for that. Step 2 is istiod's, and is the table INJECTOR_STEPS.
Sources: Istio `pkg/kube/inject/inject.go` (injectRequired), `manifests/charts/istio-control/istio-discovery/
templates/mutatingwebhook.yaml`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from meshguard.mesh.istio_sidecar import names
from meshguard.model.objects import Namespace, Pod, Resource, Workload, dig
from meshguard.model.selectors import matches
from meshguard.model.snapshot import Snapshot

SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease", "local-path-storage"})


class Due(StrEnum):
    """What the next pod create would come out as."""

    INJECTED = "injected"
    NOT_INJECTED = "not injected"
    REFUSED = "refused"
    """A webhook that fails closed selects the pod and has nobody behind it: the pod cannot be created at all."""


class ProxyKind(StrEnum):
    """How a pod carries its proxy."""

    NONE = "none"
    CLASSIC = "classic"
    NATIVE = "native"


@dataclass(frozen=True)
class Candidate:
    """A pod that does not exist yet: what admission would look at."""

    namespace: str
    namespace_labels: Mapping[str, str]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    host_network: bool = False

    @classmethod
    def of(cls, namespace: Namespace, workload: Workload) -> Candidate:
        """The next pod of a workload."""
        return cls(
            namespace.name,
            {**namespace.labels, "kubernetes.io/metadata.name": namespace.name},
            workload.template_labels,
            workload.template_annotations,
            bool(dig(workload.template, "spec", "hostNetwork", default=False)),
        )


@dataclass(frozen=True)
class InjectorWebhook:
    """One rule of an injector's MutatingWebhookConfiguration."""

    configuration: str
    name: str
    revision: str
    service: tuple[str, str]
    """Namespace and name of the service that answers; ("", "") for a URL."""
    namespace_selector: Mapping[str, Any]
    object_selector: Mapping[str, Any]
    fails_closed: bool

    def selects(self, candidate: Candidate) -> bool:
        """Tell whether the API server would call this webhook for the pod."""
        return matches(self.namespace_selector, candidate.namespace_labels) and matches(
            self.object_selector, candidate.labels
        )


def injector_webhooks(snapshot: Snapshot) -> tuple[InjectorWebhook, ...]:
    """Return every rule of every injector in the cluster, found by what it calls and not by its name."""
    found = []
    for configuration in snapshot.of_kind("MutatingWebhookConfiguration"):
        for webhook in dig(configuration.doc, "webhooks", default=[]):
            if _is_injector(webhook):
                found.append(_webhook(configuration, webhook))
    return tuple(found)


def _is_injector(webhook: Mapping[str, Any]) -> bool:
    path = dig(webhook, "clientConfig", "service", "path", default="") or dig(
        webhook, "clientConfig", "url", default=""
    )
    creates_pods = any(
        "CREATE" in rule.get("operations", ()) and "pods" in rule.get("resources", ())
        for rule in webhook.get("rules", ())
    )
    return creates_pods and "/inject" in path and str(webhook.get("name", "")).endswith("istio.io")


def _webhook(configuration: Resource, webhook: Mapping[str, Any]) -> InjectorWebhook:
    return InjectorWebhook(
        configuration.ref.name,
        webhook["name"],
        configuration.labels.get(names.REVISION, "default"),
        (
            dig(webhook, "clientConfig", "service", "namespace", default=""),
            dig(webhook, "clientConfig", "service", "name", default=""),
        ),
        webhook.get("namespaceSelector") or {},
        webhook.get("objectSelector") or {},
        webhook.get("failurePolicy", "Fail") == "Fail",
    )


#: Step 2: the first row that has an answer decides. `None` means "no opinion, ask the next row".
INJECTOR_STEPS: tuple[tuple[str, Callable[[Candidate], bool | None]], ...] = (
    ("the pod uses the host's network", lambda c: False if c.host_network else None),
    ("a system namespace", lambda c: False if c.namespace in SYSTEM_NAMESPACES else None),
    ("the pod's label sidecar.istio.io/inject", lambda c: _flag(c.labels.get(names.POD_INJECT))),
    (
        "the pod's annotation sidecar.istio.io/inject",
        lambda c: _flag(c.annotations.get(names.POD_INJECT)) if names.POD_INJECT not in c.labels else None,
    ),
    ("the policy of the injector, enabled by default", lambda c: True),
)


def _flag(value: str | None) -> bool | None:
    """Read a flag as istiod does: four words mean yes, any other text means no, and none at all has no opinion."""
    if value is None or value == "":
        return None
    return value.lower() in ("y", "yes", "true", "on")


@dataclass(frozen=True)
class DueAnswer:
    """What would happen at the next create, and which rule says so."""

    due: Due
    reason: str
    revision: str = ""


def due(
    candidate: Candidate, webhooks: tuple[InjectorWebhook, ...], ready_services: frozenset[tuple[str, str]]
) -> DueAnswer:
    """Decide what the next pod create would come out as.

    `ready_services` are the injectors' services that have somebody behind them; a webhook with a URL counts as ready.
    """
    called = [w for w in webhooks if w.selects(candidate)]
    if not called:
        return DueAnswer(Due.NOT_INJECTED, "no webhook selects the pod")
    for webhook in called:
        if webhook.service != ("", "") and webhook.service not in ready_services and webhook.fails_closed:
            return DueAnswer(Due.REFUSED, f"{webhook.name} fails closed and nobody answers behind it", webhook.revision)
    for reason, decide in INJECTOR_STEPS:
        answer = decide(candidate)
        if answer is not None:
            return DueAnswer(Due.INJECTED if answer else Due.NOT_INJECTED, reason, called[0].revision)
    raise AssertionError("the last row of INJECTOR_STEPS always decides")


def ready_injectors(snapshot: Snapshot) -> frozenset[tuple[str, str]]:
    """Return the services (namespace, name) that have at least one ready pod behind their selector."""
    ready = set()
    for service in snapshot.of_kind("Service"):
        selector = dig(service.doc, "spec", "selector", default={})
        if selector and any(
            pod.ref.namespace == service.ref.namespace
            and pod.ready
            and not pod.terminating
            and selector.items() <= pod.labels.items()
            for pod in snapshot.pods
        ):
            ready.add((service.ref.namespace, service.ref.name))
    return frozenset(ready)


def proxy_kind(pod: Pod) -> ProxyKind:
    """Say how a pod carries its proxy, seen on its containers and not on its labels."""
    if any(c.get("name") == names.PROXY_CONTAINER for c in pod.containers):
        return ProxyKind.CLASSIC
    if any(c.get("name") == names.PROXY_CONTAINER for c in pod.init_containers):
        return ProxyKind.NATIVE
    return ProxyKind.NONE


def is_meshed(pod: Pod) -> bool:
    """True for a pod that carries a sidecar (a gateway's proxy is not one)."""
    return proxy_kind(pod) is not ProxyKind.NONE and not is_gateway_pod(pod)


def is_gateway_pod(pod: Pod) -> bool:
    """True for a proxy that is the workload itself: it was injected by another template than `sidecar`."""
    return _uses_other_template(pod.annotations)


def needs_injection(workload: Workload) -> bool:
    """True for a template that cannot start without the injector: an `auto` image or another template."""
    automatic = any(c.get("image") == names.AUTO_IMAGE for c in workload.template_containers)
    return automatic or _uses_other_template(workload.template_annotations)


def _uses_other_template(annotations: Mapping[str, str]) -> bool:
    templates = annotations.get(names.TEMPLATES_ANNOTATION, "")
    return any(t.strip() not in ("", names.SIDECAR_TEMPLATE) for t in templates.split(","))


def declared(namespace: Namespace, workload: Workload) -> str:
    """Put into words what the labels of namespace and template say."""
    parts = []
    for key in (names.NS_INJECTION, names.REVISION):
        if key in namespace.labels:
            parts.append(f"{key}={namespace.labels[key]}")
    for key in (names.POD_INJECT, names.REVISION):
        if key in workload.template_labels:
            parts.append(f"pod {key}={workload.template_labels[key]}")
    return ", ".join(parts) or "nothing"


@dataclass(frozen=True)
class Membership:
    """The three answers for one workload."""

    workload: Workload
    declared: str
    due: DueAnswer
    due_istiod_dead: DueAnswer
    pods: int
    meshed_pods: int
    revision: str
    proxy_image: str
    proxy: ProxyKind

    @property
    def in_mesh(self) -> bool:
        """At least one pod really carries a sidecar."""
        return self.meshed_pods > 0

    @property
    def actual(self) -> str:
        """`in`, `out`, `2 of 3 in`, or `no pods`."""
        if not self.pods:
            return "no pods"
        if self.meshed_pods in (0, self.pods):
            return "in" if self.meshed_pods else "out"
        return f"{self.meshed_pods} of {self.pods} in"

    @property
    def consistent(self) -> bool:
        """What is due at the next create is what the pods are now."""
        if not self.pods:
            return True
        return self.meshed_pods == (self.pods if self.due.due is Due.INJECTED else 0)


def membership_of(snapshot: Snapshot, workload: Workload) -> Membership:
    """Give the three answers for one workload."""
    namespace = snapshot.namespaces[workload.ref.namespace]
    candidate = Candidate.of(namespace, workload)
    webhooks = injector_webhooks(snapshot)
    pods = [p for p in snapshot.pods_of_workload.get(workload.ref, ()) if not p.terminating]
    meshed = [p for p in pods if is_meshed(p)]
    first = meshed[0] if meshed else None
    return Membership(
        workload,
        declared(namespace, workload),
        due(candidate, webhooks, ready_injectors(snapshot)),
        due(candidate, webhooks, frozenset()),
        len(pods),
        len(meshed),
        revision_of(first) if first else "",
        proxy_image(first) if first else "",
        proxy_kind(first) if first else ProxyKind.NONE,
    )


def revision_of(pod: Pod) -> str:
    """The control-plane revision that injected the pod, from the injector's own mark."""
    import json

    try:
        status = json.loads(pod.annotations.get(names.STATUS_ANNOTATION, "{}"))
    except ValueError:
        return ""
    return str(status.get("revision", ""))


def proxy_image(pod: Pod) -> str:
    """The image of the pod's proxy container."""
    for container in (*pod.containers, *pod.init_containers):
        if container.get("name") == names.PROXY_CONTAINER:
            return str(container.get("image", ""))
    return ""
