"""Findings about the way that a plan goes, where it is not the usual one."""

from __future__ import annotations

from meshguard.model.findings import Code, Severity

STRATEGY_CODES = (
    Code(
        "MG801",
        "a part of the namespace stays in the mesh",
        Severity.TELLS,
        "The namespace keeps its label; the leaving workloads carry sidecar.istio.io/inject=false on their templates.",
        "None needed.",
        "Istio, webhook selectors: the pod's label false defeats every rule",
        example="namespace shop-core keeps its label, because only Deployment shop-core/cart leaves",
    ),
    Code(
        "MG802",
        "the mesh-wide policy is edited",
        Severity.WARNS,
        "That is a push to every proxy of the mesh at once, and STRICT ends for all of them.",
        "In a storm of pushes leave namespace by namespace instead.",
        "Istio, pilot push path",
        example="PeerAuthentication istio-system/default is edited in place for 2000 proxies",
    ),
)
