"""Findings about membership: who is in the mesh, and who would be."""

from __future__ import annotations

from meshguard.model.findings import Code, Severity

MEMBERSHIP_CODES = (
    Code(
        "MG101",
        "membership differs between what is declared, due and actual",
        Severity.WARNS,
        "The next restart of the workload changes its membership, whoever restarts it.",
        "Restart the workload at a moment of your choice, or correct the labels.",
        "Istio, pkg/kube/inject and the webhook's selectors",
        example="labels say injected, but the pods were created while the injector was away",
    ),
    Code(
        "MG102",
        "a template needs injection to work at all",
        Severity.BLOCKS,
        "With the namespace switched off its next pod cannot start: `image: auto` is filled in by the injector.",
        "Leave with the other namespaces; gateways stay where they are.",
        "Istio docs, gateway injection; inject.istio.io/templates",
        example="Deployment istio-ingress/istio-ingressgateway has image: auto",
    ),
    Code(
        "MG103",
        "sidecar baked into the template",
        Severity.BLOCKS,
        "Labels do not remove it: the template itself holds the proxy (kube-inject).",
        "Deploy the workload's original manifest without the sidecar.",
        "Istio docs, manual sidecar injection",
        example="Deployment shop/cart has a container istio-proxy in its own template",
    ),
    Code(
        "MG104",
        "already out of the mesh",
        Severity.TELLS,
        "The workload is left alone.",
        "None needed.",
        "the pods: no sidecar.istio.io/status",
        example="Deployment shop/cart has no sidecar in any of its pods",
    ),
    Code(
        "MG105",
        "the template attracts mutual TLS after it has left",
        Severity.BLOCKS,
        "Its label security.istio.io/tlsMode makes meshed clients send mutual TLS to a pod without a proxy.",
        "Remove the label from the template.",
        "Istio, pilot/pkg/model, endpoint tlsMode",
        example="the template of Deployment shop/cart carries security.istio.io/tlsMode=istio",
    ),
    Code(
        "MG106",
        "the namespace is enrolled in ambient as well",
        Severity.BLOCKS,
        "When the sidecar goes, the pods fall into ambient.",
        "Remove istio.io/dataplane-mode from the namespace first.",
        "Istio, cni/pkg/util, PodRedirectionEnabled",
        example="namespace shop carries istio-injection=enabled and istio.io/dataplane-mode=ambient",
    ),
)
