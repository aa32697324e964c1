"""Mutating webhooks: whom the selectors choose, in which order they are called, and what happens when nobody answers.

Source: `k8s.io/apiserver/pkg/admission/plugin/webhook`. Only services that run inside the simulator can be called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from meshguard.sim.api.admission.chain import Attributes
from meshguard.sim.api.selectors import selects
from meshguard.sim.api.status import ApiError, Doc
from meshguard.sim.api.store import Store

STORAGE = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
Handler = Callable[[Attributes, Doc], Doc]
"""Gets the write and the Service that is called; returns the object. Raises ApiError to refuse."""


class Webhooks:
    """Calls mutating webhooks."""

    def __init__(self, store: Store, handlers: Mapping[str, Handler]) -> None:
        self._store, self._handlers = store, handlers

    def mutate(self, attributes: Attributes) -> Doc:
        """Let every webhook that is concerned change the object. Raises ApiError."""
        if attributes.resource.group == "admissionregistration.k8s.io":
            return attributes.doc
        for webhook in self._concerned(attributes):
            attributes = attributes.with_object(self._call(webhook, attributes))
        return attributes.doc

    def validate(self, attributes: Attributes) -> None:
        """Validating webhooks are not called."""

    def _concerned(self, attributes: Attributes) -> Iterator[Doc]:
        for entry in self._store.all(STORAGE):
            for webhook in entry.doc.get("webhooks") or ():
                ruled = any(_ruled(rule, attributes) for rule in webhook.get("rules") or ())
                if ruled and self._selected(webhook, attributes):
                    yield webhook

    def _selected(self, webhook: Doc, attributes: Attributes) -> bool:
        labels = attributes.doc["metadata"].get("labels") or {}
        if not selects(webhook.get("objectSelector", {}), labels):
            return False
        if attributes.resource.storage == "namespaces":
            return selects(webhook.get("namespaceSelector", {}), labels)
        if not attributes.namespace:
            return True
        namespace = self._store.get("namespaces", "", attributes.namespace)
        found = namespace.doc["metadata"].get("labels", {}) if namespace else {}
        return selects(webhook.get("namespaceSelector", {}), found)

    def _call(self, webhook: Doc, attributes: Attributes) -> Doc:
        service = webhook["clientConfig"].get("service")
        ignored = webhook.get("failurePolicy") == "Ignore"
        try:
            if service is None:
                raise _failed(webhook, f'Post "{webhook["clientConfig"].get("url")}": the simulator calls no URL')
            handler = self._answering(webhook, service)
        except ApiError:
            if ignored:
                return attributes.doc
            raise
        try:
            called = self._store.get("services", service["namespace"], service["name"])
            assert called is not None
            return handler(attributes, called.doc)
        except ApiError as refusal:
            message = f'admission webhook "{webhook["name"]}" denied the request: {refusal.message}'
            raise ApiError(400, "", message) from refusal

    def _answering(self, webhook: Doc, service: Doc) -> Handler:
        namespace, name = service["namespace"], service["name"]
        seconds = webhook.get("timeoutSeconds", 10)
        address = (
            f"https://{name}.{namespace}.svc:{service.get('port', 443)}{service.get('path', '/')}?timeout={seconds}s"
        )
        if self._store.get("services", namespace, name) is None:
            raise _failed(webhook, f'Post "{address}": service "{name}" not found')
        endpoints = self._store.get("endpoints", namespace, name)
        ready = endpoints and any(subset.get("addresses") for subset in endpoints.doc.get("subsets") or ())
        if not ready:
            raise _failed(webhook, f'Post "{address}": no endpoints available for service "{name}"')
        for prefix, handler in self._handlers.items():
            if service.get("path", "/").startswith(prefix):
                return handler
        raise _failed(webhook, f'Post "{address}": nothing in the simulator answers this path')


def _failed(webhook: Doc, why: str) -> ApiError:
    message = f'Internal error occurred: failed calling webhook "{webhook["name"]}": failed to call webhook: {why}'
    return ApiError(500, "InternalError", message, {"causes": [{"message": message.partition(": ")[2]}]})


def _ruled(rule: Doc, attributes: Attributes) -> bool:
    resource = attributes.resource
    plural = f"{resource.plural}/{attributes.subresource}" if attributes.subresource else resource.plural
    scope = rule.get("scope", "*")
    return (
        bool({"*", attributes.operation.value} & set(rule.get("operations") or ()))
        and bool({"*", resource.group} & set(rule.get("apiGroups") or ()))
        and bool({"*", resource.version} & set(rule.get("apiVersions") or ()))
        and bool({plural, "*/*", *(() if attributes.subresource else ("*",))} & set(rule.get("resources") or ()))
        and scope in ("*", "Namespaced" if resource.namespaced else "Cluster")
    )
