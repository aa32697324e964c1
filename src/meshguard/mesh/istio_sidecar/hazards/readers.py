"""Who else reads the label that an exit changes: discovery, firewalls, gateways, other webhooks.

Each reader is asked twice, with the namespace's labels as they are and as they would be; a different answer blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from meshguard.mesh.istio_sidecar import names, webhooks
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Resource, dig
from meshguard.model.selectors import matches
from meshguard.model.snapshot import Snapshot

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Reader:
    """A selector on namespaces, and whose it is."""

    owner: Resource
    words: str
    selector: Mapping[str, Any]

    def changes_its_mind(self, before: Labels, after: Labels) -> bool:
        """Tell whether the namespace is selected with one set of labels and not with the other."""
        return matches(self.selector, before) != matches(self.selector, after)


def discovery(scope: Scope, _: Consents) -> Iterator[Finding]:
    """A namespace that discoverySelectors no longer select is dropped by istiod, services and endpoints included."""
    selectors = scope.mesh.discovery_selectors
    for name in (*scope.switched, *scope.idle) if selectors else ():
        before, after = _labels(scope, name)
        if any(matches(s, before) for s in selectors) and not any(matches(s, after) for s in selectors):
            yield Finding(
                CODES["MG404"],
                scope.snapshot.namespaces[name].ref,
                f"meshConfig.discoverySelectors would not select it with {names.NS_INJECTION}=disabled",
            )


def others(scope: Scope, _: Consents) -> Iterator[Finding]:
    """NetworkPolicies, Gateways and admission webhooks that would treat the namespace differently."""
    changing = (*scope.switched, *scope.idle)
    readers = [reader for find in READERS for reader in find(scope.snapshot)] if changing else []
    for name in changing:
        before, after = _labels(scope, name)
        for reader in readers:
            if reader.changes_its_mind(before, after):
                yield Finding(
                    CODES["MG405"],
                    reader.owner.ref,
                    f"its {reader.words} would {'no longer' if matches(reader.selector, before) else 'newly'} select "
                    f"namespace {name} with {names.NS_INJECTION}=disabled",
                )


def _labels(scope: Scope, name: str) -> tuple[Labels, Labels]:
    namespace = scope.snapshot.namespaces[name]
    before = {**namespace.labels, names.NAMESPACE_NAME: name}
    return before, {**before, names.NS_INJECTION: "disabled"}


def network_policies(snapshot: Snapshot) -> Iterator[Reader]:
    """Return the namespaceSelectors of ingress and egress rules."""
    for policy in snapshot.of_kind("NetworkPolicy"):
        for part, side in (("ingress", "from"), ("egress", "to")):
            for rule in dig(policy.doc, "spec", part, default=[]):
                for peer in rule.get(side) or ():
                    if peer.get("namespaceSelector") is not None:
                        yield Reader(policy, f"{part} rule's namespaceSelector", peer["namespaceSelector"])


def gateways(snapshot: Snapshot) -> Iterator[Reader]:
    """Return the selectors of the namespaces whose routes a listener takes."""
    for gateway in snapshot.of_kind("Gateway"):
        for listener in dig(gateway.doc, "spec", "listeners", default=[]):
            spaces = dig(listener, "allowedRoutes", "namespaces", default={})
            if spaces.get("from") == "Selector":
                yield Reader(gateway, f"listener {listener.get('name')}'s allowedRoutes", spaces.get("selector") or {})


def admission(snapshot: Snapshot) -> Iterator[Reader]:
    """Return the namespaceSelectors of webhooks that are not the mesh's own."""
    own = {webhook.configuration for webhook in webhooks.injector_webhooks(snapshot)}
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        for configuration in snapshot.of_kind(kind):
            if kind.startswith("Mutating") and configuration.ref.name in own:
                continue
            for webhook in dig(configuration.doc, "webhooks", default=[]):
                yield Reader(configuration, f"webhook {webhook.get('name')}", webhook.get("namespaceSelector") or {})


READERS: tuple[Callable[[Snapshot], Iterator[Reader]], ...] = (network_policies, gateways, admission)

RULES = (discovery, others)
