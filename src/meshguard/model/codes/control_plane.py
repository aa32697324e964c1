"""Findings about the control plane and its webhooks."""

from __future__ import annotations

from meshguard.model.findings import Code, Severity

CONTROL_PLANE_CODES = (
    Code(
        "MG401",
        "no istiod is ready",
        Severity.BLOCKS,
        "Policies reach no proxy: under STRICT there is no order without an outage.",
        "Bring one istiod back first; the finding names the command. Or declare the outage that an exit costs without.",
        "Istio, operations: control plane outage",
        consent="--declare-outage",
        example="no ready pod behind service istio-system/istiod",
    ),
    Code(
        "MG402",
        "no injection webhook serves this namespace",
        Severity.BLOCKS,
        "On the way back its pods would be created without a sidecar.",
        "Install the revision that the namespace names, or correct its label.",
        "Istio docs, canary upgrades",
        example="namespace shop has istio.io/rev=1-28, and no webhook selects it",
    ),
    Code(
        "MG403",
        "the validation webhook refuses every policy edit",
        Severity.BLOCKS,
        "It fails closed and nobody answers: the API server refuses the edits that the plan needs.",
        "Bring an istiod of its revision back, or delete the configuration of a revision that is gone.",
        "Istio, ValidatingWebhookConfiguration istio-validator",
        example="ValidatingWebhookConfiguration istio-validator-1-27-istio-system points at a deleted istiod",
    ),
    Code(
        "MG404",
        "discoverySelectors would drop the namespace",
        Severity.BLOCKS,
        "With the label changed istiod forgets the namespace: its services and endpoints vanish from every caller.",
        "Leave by pod label (--by-pod-label), or select the namespace by a label that does not change.",
        "Istio, MeshConfig.discoverySelectors",
        example="discoverySelectors want istio-injection=enabled, and the exit sets disabled",
    ),
    Code(
        "MG405",
        "somebody else reads the label that would change",
        Severity.BLOCKS,
        "A firewall, a gateway or an admission webhook would treat the namespace differently from then on.",
        "Leave by pod label (--by-pod-label), or let the reader select by another label.",
        "Kubernetes docs, namespaceSelector; Gateway API, allowedRoutes",
        example="NetworkPolicy shop-pay/from-mesh admits namespaces with istio-injection=enabled",
    ),
    Code(
        "MG406",
        "other networks may call the workload",
        Severity.BLOCKS,
        "Sidecars of other networks skip endpoints without mutual TLS: cross-network callers lose the service.",
        "Leave out what is called from other networks with --exclude.",
        "Istio docs, multi-network installation; pilot/pkg/xds/endpoints",
        example="Service istio-system/istio-eastwestgateway carries topology.istio.io/network",
    ),
    Code(
        "MG407",
        "proxies do not fit their control plane",
        Severity.WARNS,
        "A proxy that is ahead, or more than two minor versions behind, may refuse what istiod sends, or misread it.",
        "Restart just these proxies: `meshguard plan realign -n NS`.",
        "Istio docs, supported skew between data plane and control plane",
        example="the proxies of Deployment shop-web/storefront are 1.29.0, ahead of the istiod of revision 1-28",
    ),
)
