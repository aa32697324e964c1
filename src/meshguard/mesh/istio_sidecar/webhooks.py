"""Step 1 of injection, the API server's: which injector's webhooks select a pod, and whether anybody answers there.

The selectors come from the MutatingWebhookConfigurations that are really in the cluster: any number of revisions, tags
and leftovers. The table WEBHOOK_RULES only says in words which of Istio's own rules a webhook is.
This step works with istiod dead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from meshguard.mesh.istio_sidecar import names
from meshguard.model.objects import Resource, dig
from meshguard.model.selectors import matches
from meshguard.model.snapshot import Snapshot

TAG = "<revision or tag>"
"""Stands in the table for the value that a webhook serves."""
SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease", "local-path-storage"})

Condition = tuple[str, str, frozenset[str]]
"""Key, operator and values of one expression of a label selector."""

_CHART = "Istio, manifests/charts/istio-control/istio-discovery/templates/mutatingwebhook.yaml"


def _absent(key: str) -> Condition:
    return key, "DoesNotExist", frozenset()


def _is(key: str, value: str) -> Condition:
    return key, "In", frozenset({value})


def _is_not(key: str, *values: str) -> Condition:
    return key, "NotIn", frozenset(values)


@dataclass(frozen=True)
class WebhookRule:
    """One of Istio's own rules: every condition on the namespace's and on the pod's labels must hold."""

    name: str
    words: str
    namespace: frozenset[Condition]
    pod: frozenset[Condition]
    source: str = _CHART


#: The rules of Istio's charts. The last three exist for the default revision (or the tag `default`) only.
WEBHOOK_RULES: tuple[WebhookRule, ...] = (
    WebhookRule(
        "rev.namespace",
        f"the namespace asks for {TAG}",
        frozenset({_is(names.REVISION, TAG), _absent(names.NS_INJECTION)}),
        frozenset({_is_not(names.POD_INJECT, "false")}),
    ),
    WebhookRule(
        "rev.object",
        f"the pod asks for {TAG} and its namespace for nothing",
        frozenset({_absent(names.REVISION), _absent(names.NS_INJECTION)}),
        frozenset({_is_not(names.POD_INJECT, "false"), _is(names.REVISION, TAG)}),
    ),
    WebhookRule(
        "namespace",
        "the namespace has istio-injection=enabled",
        frozenset({_is(names.NS_INJECTION, "enabled")}),
        frozenset({_is_not(names.POD_INJECT, "false")}),
    ),
    WebhookRule(
        "object",
        "the pod asks for injection and its namespace for nothing",
        frozenset({_absent(names.REVISION), _absent(names.NS_INJECTION)}),
        frozenset({_is(names.POD_INJECT, "true"), _absent(names.REVISION)}),
    ),
    WebhookRule(
        "auto",
        "every namespace without a label is injected here",
        frozenset(
            {
                _absent(names.REVISION),
                _absent(names.NS_INJECTION),
                _is_not(names.NAMESPACE_NAME, *SYSTEM_NAMESPACES),
            }
        ),
        frozenset({_absent(names.POD_INJECT), _absent(names.REVISION)}),
    ),
)


@dataclass(frozen=True)
class InjectorWebhook:
    """One rule of an injector's MutatingWebhookConfiguration, as it is in the cluster."""

    configuration: str
    name: str
    revision: str
    """The revision of the istiod behind it."""
    tag: str
    """The revision tag that the configuration stands for; "" for a revision's own."""
    service: tuple[str, str]
    """Namespace and name of the service that answers; ("", "") for a URL."""
    namespace_selector: Mapping[str, Any]
    object_selector: Mapping[str, Any]
    fails_closed: bool
    has_match_conditions: bool = False
    """It has expressions in CEL beside its selectors; meshguard does not evaluate them."""

    def selects(self, namespace_labels: Mapping[str, str], pod_labels: Mapping[str, str]) -> bool:
        """Tell whether the API server would call this webhook for a new pod, its matchConditions aside."""
        return matches(self.namespace_selector, namespace_labels) and matches(self.object_selector, pod_labels)

    @cached_property
    def rule(self) -> WebhookRule | None:
        """The rule of the table that this webhook is, perhaps narrowed by further conditions; None for an own one."""
        namespace, pod = _conditions(self.namespace_selector), _conditions(self.object_selector)
        for rule in WEBHOOK_RULES:
            if _holds_all(namespace, rule.namespace) and _holds_all(pod, rule.pod):
                return rule
        return None

    @property
    def words(self) -> str:
        """Why it selects a pod."""
        if self.rule is None:
            return f"selectors of its own in {self.configuration}"
        return self.rule.words.replace(TAG, f"{names.REVISION}={self.tag or self.revision}")


def _conditions(selector: Mapping[str, Any]) -> frozenset[Condition]:
    labels = {_is(key, value) for key, value in (selector.get("matchLabels") or {}).items()}
    expressions = {
        (e["key"], e["operator"], frozenset(e.get("values") or ())) for e in selector.get("matchExpressions") or ()
    }
    return frozenset(labels | expressions)


def _holds_all(conditions: frozenset[Condition], wanted: Iterable[Condition]) -> bool:
    return all(
        any(
            (key, operator) == (found_key, found_operator) and (TAG in values or values == found)
            for found_key, found_operator, found in conditions
        )
        for key, operator, values in wanted
    )


def injector_webhooks(snapshot: Snapshot) -> tuple[InjectorWebhook, ...]:
    """Return every rule of every injector in the order the API server calls them, found by what each one calls."""
    return tuple(
        _webhook(configuration, webhook)
        for configuration in snapshot.of_kind("MutatingWebhookConfiguration")
        for webhook in dig(configuration.doc, "webhooks", default=[])
        if _is_injector(webhook)
    )


def other_pod_webhooks(
    snapshot: Snapshot, namespace_labels: Mapping[str, str], pod_labels: Mapping[str, str]
) -> tuple[str, ...]:
    """Name the webhooks of others that see a new pod too, and may change the labels that Istio's rules look at."""
    return tuple(
        f"{configuration.ref.name}/{webhook.get('name', '')}"
        for configuration in snapshot.of_kind("MutatingWebhookConfiguration")
        for webhook in dig(configuration.doc, "webhooks", default=[])
        if _sees_new_pods(webhook)
        and not _is_injector(webhook)
        and matches(webhook.get("namespaceSelector"), namespace_labels)
        and matches(webhook.get("objectSelector"), pod_labels)
    )


def _sees_new_pods(webhook: Mapping[str, Any]) -> bool:
    return any(
        {"CREATE", "*"} & set(rule.get("operations") or ())
        and {"", "*"} & set(rule.get("apiGroups") or ())
        and {"pods", "*", "*/*"} & set(rule.get("resources") or ())
        for rule in webhook.get("rules") or ()
    )


def _is_injector(webhook: Mapping[str, Any]) -> bool:
    """Istio's webhooks are called `...istio.io` in every revision, tag and vendor's build, and call a path /inject."""
    address = dig(webhook, "clientConfig", "service", "path") or dig(webhook, "clientConfig", "url", default="")
    return _sees_new_pods(webhook) and "/inject" in address and str(webhook.get("name", "")).endswith("istio.io")


def _webhook(configuration: Resource, webhook: Mapping[str, Any]) -> InjectorWebhook:
    service = dig(webhook, "clientConfig", "service", default={})
    return InjectorWebhook(
        configuration.ref.name,
        webhook["name"],
        configuration.labels.get(names.REVISION, "default"),
        configuration.labels.get(names.TAG, ""),
        (service.get("namespace", ""), service.get("name", "")),
        webhook.get("namespaceSelector") or {},
        webhook.get("objectSelector") or {},
        webhook.get("failurePolicy", "Fail") == "Fail",
        bool(webhook.get("matchConditions")),
    )


def ready_injectors(snapshot: Snapshot) -> frozenset[tuple[str, str]]:
    """Return the injectors' services (namespace, name) that somebody answers for.

    That is a ready pod behind the selector. A service without a selector leads out of the cluster (an external istiod):
    nobody can see from here whether it is alive, so it counts as ready.
    """
    called = {webhook.service for webhook in injector_webhooks(snapshot)}
    return frozenset(
        (service.ref.namespace, service.ref.name)
        for service in snapshot.of_kind("Service")
        if (service.ref.namespace, service.ref.name) in called and has_ready_pod(snapshot, service)
    )


def has_ready_pod(snapshot: Snapshot, service: Resource) -> bool:
    """Tell whether somebody answers for a service; one without a selector leads out of the cluster and counts."""
    selector = service.spec.get("selector")
    return not selector or any(
        pod.ref.namespace == service.ref.namespace
        and pod.ready
        and not pod.terminating
        and selector.items() <= pod.labels.items()
        for pod in snapshot.pods
    )
