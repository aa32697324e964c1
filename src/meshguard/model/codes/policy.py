"""Findings about policies: authentication, authorization, traffic."""

from __future__ import annotations

from meshguard.model.findings import Code, Severity

POLICY_CODES = (
    Code(
        "MG201",
        "an AuthorizationPolicy would refuse callers that leave",
        Severity.BLOCKS,
        "Plaintext has no identity: an ALLOW rule on the peer's identity stops matching, and the call gets 403.",
        "Accept that the rule's identity conditions go until the restore; everybody who reaches the port then passes.",
        "Istio docs, authorization policy conditions; pilot/pkg/security/authz",
        consent="--accept-authz-loss",
        example="AuthorizationPolicy shop-pay/payments allows cluster.local/ns/shop-core/sa/cart, which leaves",
    ),
    Code(
        "MG202",
        "a rule on who the caller is not, or a DENY rule on who it is, changes its meaning",
        Severity.BLOCKS,
        "Without an identity a negative match begins to match, and a DENY rule on an identity matches no longer.",
        "Name the rule if its change of meaning is acceptable; it is not edited.",
        "Istio docs, authorization policy, notPrincipals",
        consent="--accept-authz-rule NS/POLICY#RULE",
        example="AuthorizationPolicy shop-pay/deny-others denies notPrincipals cart: it would deny everybody who left",
    ),
    Code(
        "MG203",
        "leaving servers fail open",
        Severity.BLOCKS,
        "The policy is enforced by the sidecar and goes with it: whoever reaches the port is let in.",
        "Protect the port otherwise (NetworkPolicy for the L4 part), or accept it until the restore.",
        "Istio docs, security concepts: policies are enforced by the server's proxy",
        consent="--accept-fail-open",
        example="RequestAuthentication shop-pay/jwt is enforced by the sidecar of Deployment shop-pay/payments",
    ),
    Code(
        "MG204",
        "a port may speak server-first",
        Severity.BLOCKS,
        "Under PERMISSIVE the proxy waits for the client's first bytes: an unmeshed client of such a port hangs.",
        "Accept a short interruption while the port is set to DISABLE, or list it under `clientFirstPorts`.",
        "istio/istio#35232; listener filter timeout 0 in PERMISSIVE",
        consent="--accept-interruption NS/WORKLOAD:PORT",
        example="Deployment shop-pay/ledger port 9000 is plain TCP",
    ),
    Code(
        "MG205",
        "another open run has relaxed the same field differently",
        Severity.BLOCKS,
        "The two restores would overwrite each other.",
        "Restore the other run first, or leave with both namespaces in one run.",
        "meshguard, one value per field and run",
        example="run 20260101-030000-ab12 has set spec.rules of AuthorizationPolicy shop-pay/payments otherwise",
    ),
    Code(
        "MG206",
        "mutual TLS is demanded by a DestinationRule that cannot be relaxed",
        Severity.BLOCKS,
        "enableAutoMtls is off: without the tls block clients would send plaintext to servers that stay meshed.",
        "Switch enableAutoMtls on, or leave with the clients of these hosts as well.",
        "Istio, MeshConfig.enableAutoMtls",
        example="DestinationRule shop-core/cart has tls ISTIO_MUTUAL and the mesh has enableAutoMtls: false",
    ),
    Code(
        "MG207",
        "somebody else has changed this since",
        Severity.WARNS,
        "It is left as it is; the rest is restored.",
        "Look at the field and decide; `runs show RUN` tells what it was before the run.",
        "meshguard, three-way comparison per field",
        example="PeerAuthentication shop-pay/default: spec.mtls.mode is STRICT, the run left PERMISSIVE",
    ),
    Code(
        "MG208",
        "a part of the scope cannot come back, so the policies stay relaxed",
        Severity.BLOCKS,
        "STRICT would cut off what stays outside.",
        "Bring the named object back by hand, then restore again.",
        "meshguard, order of the way back",
        example="Namespace shop-web: istio-injection was edited by somebody else and is not enabled",
    ),
)
