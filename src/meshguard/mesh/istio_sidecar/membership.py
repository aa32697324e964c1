"""Who is in the mesh: declared by labels, due at the next pod create, and actual on the pods.

Injection has two steps: the API server's (module `webhooks`, works with istiod dead) and istiod's (module `injector`).
This module puts them together and compares them with what the pods are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from meshguard.mesh.istio_sidecar import names
from meshguard.mesh.istio_sidecar.injector import (
    INJECTOR_STEPS,
    Candidate,
    InjectorConfig,
    Step,
    brings_two_proxies,
    injector_config,
    unknown_templates,
)
from meshguard.mesh.istio_sidecar.webhooks import InjectorWebhook, injector_webhooks, ready_injectors
from meshguard.model.objects import Namespace, Pod, Ref, Workload
from meshguard.model.snapshot import Snapshot

__all__ = [
    "Candidate",
    "Due",
    "DueAnswer",
    "Injector",
    "InjectorConfig",
    "Membership",
    "Memberships",
    "ProxyKind",
    "declared",
    "due",
    "enrolled",
    "injector_webhooks",
    "injectors",
    "is_gateway_pod",
    "is_meshed",
    "membership_of",
    "needs_injection",
    "proxy_image",
    "proxy_kind",
    "ready_injectors",
    "revision_of",
    "unserved_revision",
]


class Due(StrEnum):
    """What the next pod create would come out as."""

    INJECTED = "injected"
    NOT_INJECTED = "not injected"
    REFUSED = "refused"
    """The pod cannot be created at all: nobody answers behind a webhook that fails closed, or the injector objects."""
    UNKNOWN = "unknown"
    """It depends on what is not in the snapshot (matchConditions, native sidecars): a dry-run create tells."""


class ProxyKind(StrEnum):
    """How a pod carries its proxy."""

    NONE = "none"
    CLASSIC = "classic"
    NATIVE = "native"


@dataclass(frozen=True)
class Injector:
    """One webhook with what is behind it."""

    webhook: InjectorWebhook
    config: InjectorConfig
    answers: bool

    def selects(self, candidate: Candidate) -> bool:
        """Tell whether the API server would send it the pod."""
        return self.webhook.selects(candidate.namespace_labels, candidate.labels)

    def decide(self, candidate: Candidate) -> tuple[Step, bool]:
        """Return the first step that has an answer, and the answer."""
        for step in INJECTOR_STEPS:
            answer = step.decide(candidate, self.config)
            if answer is not None:
                return step, answer
        raise AssertionError("the last row of INJECTOR_STEPS always decides")


@dataclass(frozen=True)
class DueAnswer:
    """What would happen at the next create, and which rules say so."""

    due: Due
    reason: str
    revision: str = ""
    """The revision whose istiod would inject, or cannot be reached."""
    rows: tuple[str, ...] = ()
    """The names of the rows that decided: the webhook's rule, then istiod's step."""


def injectors(snapshot: Snapshot) -> tuple[Injector, ...]:
    """Return every injector's webhook in the cluster with its settings; one with a URL counts as answering."""
    ready = ready_injectors(snapshot)
    return tuple(
        Injector(webhook, injector_config(snapshot, webhook), webhook.service == ("", "") or webhook.service in ready)
        for webhook in injector_webhooks(snapshot)
    )


def due(candidate: Candidate, injectors: Iterable[Injector]) -> DueAnswer:
    """Decide what the next pod create would come out as."""
    found = tuple(injectors)
    called = [i for i in found if i.selects(candidate)]
    answer = _outcome(candidate, called)
    certain = [i for i in called if not i.webhook.has_match_conditions]
    # More webhooks never make a pod less injected or less refused: if all and the certain ones agree, so does any mix.
    if _outcome(candidate, certain).due is not answer.due:
        return DueAnswer(Due.UNKNOWN, f"depends on the matchConditions of a webhook; if they hold: {answer.reason}")
    if not called and (asked := unserved_revision(candidate, (i.webhook for i in found))):
        return replace(answer, reason=f"no webhook serves {names.REVISION}={asked}")
    return answer


def _outcome(candidate: Candidate, called: Sequence[Injector]) -> DueAnswer:
    """Call the injectors in order, as the API server does; the last one that injects leaves its mark."""
    answer = DueAnswer(Due.NOT_INJECTED, "no webhook selects the pod")
    for injector in called:
        webhook, rule = injector.webhook, injector.webhook.rule.name if injector.webhook.rule else "own selectors"
        if not injector.answers:
            if webhook.fails_closed:
                reason = f"{webhook.words}; {webhook.configuration} fails closed and nobody answers behind it"
                return DueAnswer(Due.REFUSED, reason, webhook.revision, (rule, "nobody answers"))
            continue
        step, injects = injector.decide(candidate)
        reason, rows = f"{webhook.words}; {step.words}", (rule, step.name)
        if injects and (unknown := unknown_templates(candidate, injector.config)):
            reason = f"the injector has no template {', '.join(repr(name) for name in unknown)}"
            return DueAnswer(Due.REFUSED, reason, webhook.revision, (rule, "unknown template"))
        if injects and brings_two_proxies(candidate, injector.config):
            reason = "several of its templates hold a proxy, which works with classic sidecars only"
            return DueAnswer(Due.UNKNOWN, reason, webhook.revision, (rule, "two proxies"))
        if injects:
            answer = DueAnswer(Due.INJECTED, reason, webhook.revision, rows)
        elif answer.due is not Due.INJECTED:
            answer = DueAnswer(Due.NOT_INJECTED, reason, webhook.revision, rows)
    return answer


def unserved_revision(candidate: Candidate, webhooks: Iterable[InjectorWebhook]) -> str:
    """Return the revision or tag that the labels ask for and no webhook serves; "" where there is none.

    The namespace's `istio-injection` makes every revision count for nothing, and the namespace's revision the pod's.
    """
    if names.NS_INJECTION in candidate.namespace_labels:
        return ""
    asked = candidate.namespace_labels.get(names.REVISION) or candidate.labels.get(names.REVISION, "")
    return "" if asked in {webhook.tag or webhook.revision for webhook in webhooks} else asked


def proxy_kind(pod: Pod) -> ProxyKind:
    """Say how a pod carries its proxy, seen on its containers and not on its labels."""
    if any(c.get("name") == names.PROXY_CONTAINER for c in pod.containers):
        return ProxyKind.CLASSIC
    if any(c.get("name") == names.PROXY_CONTAINER for c in pod.init_containers):
        return ProxyKind.NATIVE
    return ProxyKind.NONE


def carries_proxy(pod: Pod) -> bool:
    """True for a pod with a proxy of the mesh, be it a sidecar or a gateway."""
    return proxy_kind(pod) is not ProxyKind.NONE


def is_meshed(pod: Pod) -> bool:
    """True for a pod that carries a sidecar (a gateway's proxy is not one)."""
    return carries_proxy(pod) and not is_gateway_pod(pod)


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


def enrolled(namespace: Namespace) -> bool:
    """Tell whether the namespace's labels ask for sidecars; `istio-injection` beats the revision.

    Source: Istio, mutatingwebhook.yaml, rules `namespace` and `rev.namespace`.
    """
    injection = namespace.labels.get(names.NS_INJECTION)
    return injection == "enabled" or (injection is None and names.REVISION in namespace.labels)


def declared(namespace: Namespace, workload: Workload) -> str:
    """Put into words what the labels of namespace and template say, and the template's annotation."""
    parts = [
        f"{key}={namespace.labels[key]}" for key in (names.NS_INJECTION, names.REVISION) if key in namespace.labels
    ]
    template = workload.template_labels
    parts += [f"pod {key}={template[key]}" for key in (names.POD_INJECT, names.REVISION) if key in template]
    if (annotation := workload.template_annotations.get(names.POD_INJECT)) is not None:
        parts.append(f"pod annotation {names.POD_INJECT}={annotation}")
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
        """What is due at the next create is what the pods are now; one that would be refused is no pod at all."""
        if not self.pods or self.due.due is Due.UNKNOWN:
            return True
        if self.due.due is Due.REFUSED:
            return False
        return self.meshed_pods == (self.pods if self.due.due is Due.INJECTED else 0)


@dataclass(frozen=True)
class Memberships:
    """The three answers for any workload of a snapshot; the injectors are looked up once."""

    snapshot: Snapshot

    @cached_property
    def injectors(self) -> tuple[Injector, ...]:
        """The injectors as they are."""
        return injectors(self.snapshot)

    @cached_property
    def dead_injectors(self) -> tuple[Injector, ...]:
        """The injectors as they would be without any istiod."""
        return tuple(replace(injector, answers=False) for injector in self.injectors)

    def candidate(self, workload: Workload) -> Candidate:
        """The workload's next pod."""
        return Candidate.of(self.snapshot.namespaces[workload.ref.namespace], workload)

    @cached_property
    def _known(self) -> dict[Ref, Membership]:
        return {}

    def of(self, workload: Workload) -> Membership:
        """Give the three answers for one workload of the snapshot."""
        if workload.ref not in self._known:
            self._known[workload.ref] = self._found(workload)
        return self._known[workload.ref]

    def _found(self, workload: Workload) -> Membership:
        candidate = self.candidate(workload)
        pods = [p for p in self.snapshot.pods_of_workload.get(workload.ref, ()) if not p.terminating]
        meshed = [p for p in pods if is_meshed(p)]
        first = meshed[0] if meshed else None
        return Membership(
            workload,
            declared(self.snapshot.namespaces[workload.ref.namespace], workload),
            due(candidate, self.injectors),
            due(candidate, self.dead_injectors),
            len(pods),
            len(meshed),
            revision_of(first) if first else "",
            proxy_image(first) if first else "",
            proxy_kind(first) if first else ProxyKind.NONE,
        )


def membership_of(snapshot: Snapshot, workload: Workload) -> Membership:
    """Give the three answers for one workload; for many of them keep one `Memberships`."""
    return Memberships(snapshot).of(workload)


def revision_of(pod: Pod) -> str:
    """The control-plane revision that injected the pod, from the injector's own mark."""
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
