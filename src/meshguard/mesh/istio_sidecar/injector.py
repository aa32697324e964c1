"""Step 2 of injection, istiod's: what the injector decides about a pod that the API server has sent it.

Needs a living istiod. Its settings are the ConfigMap `istio-sidecar-injector[-REVISION]`, read from the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from meshguard.mesh.istio_sidecar import names
from meshguard.mesh.istio_sidecar.webhooks import SYSTEM_NAMESPACES, InjectorWebhook
from meshguard.model.objects import Namespace, Ref, Workload, dig
from meshguard.model.selectors import matches
from meshguard.model.snapshot import Snapshot


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
            {**namespace.labels, names.NAMESPACE_NAME: namespace.name},
            workload.template_labels,
            workload.template_annotations,
            bool(dig(workload.template, "spec", "hostNetwork", default=False)),
        )


@dataclass(frozen=True)
class InjectorConfig:
    """What one revision's injector is told. The defaults are those of Istio's charts."""

    policy: str = "enabled"
    never: Sequence[Mapping[str, Any]] = ()
    always: Sequence[Mapping[str, Any]] = ()
    templates: Mapping[str, int] | None = None
    """The names that a pod may ask for and how many proxies each brings; None where they are not known."""
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The requests and limits of proxies whose workloads say nothing themselves."""
    known: bool = False
    """Read from the cluster, not assumed."""


def injector_config(snapshot: Snapshot, webhook: InjectorWebhook) -> InjectorConfig:
    """Return the settings of the injector behind a webhook; the charts' defaults where they cannot be read."""
    suffix = "" if webhook.revision == "default" else f"-{webhook.revision}"
    found = snapshot.resources.get(Ref("ConfigMap", webhook.service[0], f"istio-sidecar-injector{suffix}"))
    if found is None or "injector" not in found.doc:
        return InjectorConfig()
    config = found.doc["injector"]
    return InjectorConfig(
        str(config.get("policy") or ""),
        tuple(config.get("neverInjectSelector") or ()),
        tuple(config.get("alwaysInjectSelector") or ()),
        config.get("templates"),
        dict(config.get("resources") or {}),
        known=True,
    )


@dataclass(frozen=True)
class Step:
    """One of istiod's steps: True injects, False leaves the pod alone, None asks the next step."""

    name: str
    words: str
    decide: Callable[[Candidate, InjectorConfig], bool | None]
    source: str = "Istio, pkg/kube/inject/inject.go, injectRequired"


def _flag(value: str | None) -> bool | None:
    """Read a flag as istiod does: exactly two words count, everything else is no opinion."""
    return {"true": True, "false": False}.get(value or "")


def _annotation(candidate: Candidate) -> bool | None:
    """The label is the newer API: where it is present at all, with whatever value, the annotation is not read."""
    if names.POD_INJECT in candidate.labels:
        return None
    return _flag(candidate.annotations.get(names.POD_INJECT))


def _selected(selectors: Sequence[Mapping[str, Any]], candidate: Candidate) -> bool:
    """An empty selector selects nothing here, unlike anywhere else; istiod skips it."""
    return any((s.get("matchLabels") or s.get("matchExpressions")) and matches(s, candidate.labels) for s in selectors)


#: The first step that has an answer decides.
INJECTOR_STEPS: tuple[Step, ...] = (
    Step("host network", "the pod uses the host's network", lambda pod, _: False if pod.host_network else None),
    Step(
        "system namespace",
        "istiod injects nothing into a system namespace",
        lambda pod, _: False if pod.namespace in SYSTEM_NAMESPACES else None,
    ),
    Step(
        "illegal policy",
        "the injector's policy is neither enabled nor disabled, which switches it off",
        lambda _, config: None if config.policy in ("enabled", "disabled") else False,
    ),
    Step("label", f"the pod's label {names.POD_INJECT}", lambda pod, _: _flag(pod.labels.get(names.POD_INJECT))),
    Step("annotation", f"the pod's annotation {names.POD_INJECT}", lambda pod, _: _annotation(pod)),
    Step(
        "never",
        "the injector's neverInjectSelector",
        lambda pod, config: False if _selected(config.never, pod) else None,
    ),
    Step(
        "always",
        "the injector's alwaysInjectSelector",
        lambda pod, config: True if _selected(config.always, pod) else None,
    ),
    Step("policy", "the injector's policy", lambda _, config: config.policy == "enabled"),
)


def asked_templates(candidate: Candidate) -> tuple[str, ...]:
    """Return the templates that a pod asks for by name; none means the injector's default."""
    asked = candidate.annotations.get(names.TEMPLATES_ANNOTATION)
    return () if asked is None else tuple(part.strip() for part in asked.split(","))


def unknown_templates(candidate: Candidate, config: InjectorConfig) -> tuple[str, ...]:
    """Name the templates that a pod asks for and the injector does not have; istiod refuses such a pod.

    Source: Istio, pkg/kube/inject/inject.go, RunTemplate and selectTemplates.
    """
    if config.templates is None:
        return ()
    return tuple(name for name in asked_templates(candidate) if name not in config.templates)


def brings_two_proxies(candidate: Candidate, config: InjectorConfig) -> bool:
    """Tell whether several of the pod's templates hold a proxy.

    Classic sidecars are merged into one. With native ones, which istiod's environment and the nodes decide, the same
    name among the containers and the init containers makes a pod that the API server refuses.
    Source: Istio, pkg/kube/inject/inject.go, RunTemplate; seen.
    """
    return sum((config.templates or {}).get(name, 0) for name in asked_templates(candidate)) > 1
