"""What the server makes of a new object: its defaults, and how the table shows it."""

from __future__ import annotations

from testbed.proofs.api_cases.bodies import (
    APPS,
    BATCH,
    CORE,
    NETWORKING,
    POLICY,
    RBAC,
    SECURITY,
    Body,
    config_map,
    deployment,
    istio,
    job,
    labelled,
    pod,
    pod_spec,
    service,
    template,
    thing,
    with_metadata,
    workload,
)
from testbed.proofs.api_cases.case import TABLE, Case, case, delete, get, post

_PROBE = {"httpGet": {"port": 80}}
_RICH: Body = {
    "name": "rich",
    "image": "shop/rich",
    "command": ["run"],
    "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
    "ports": [{"containerPort": 80, "name": "http"}],
    "resources": {"limits": {"memory": "1024Mi", "cpu": "1.5"}},
    "readinessProbe": _PROBE,
    "livenessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 3},
    "lifecycle": {"preStop": {"exec": {"command": ["sleep", "1"]}}},
    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    "securityContext": {"runAsUser": 0, "allowPrivilegeEscalation": False},
}
_VOLUMES = [
    {"name": "v"},
    {"name": "c", "configMap": {"name": "x"}},
    {"name": "s", "secret": {"secretName": "x"}},
    {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
    {"name": "d", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
]
_CRON = {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": {"spec": pod_spec(restartPolicy="Never")}}}}
_WEBHOOK = {
    "name": "a.b.example.com",
    "clientConfig": {"url": "https://example.com/"},
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "rules": [{"apiGroups": ["none.example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["x"]}],
}
_HOSTS = {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web"}}]}]}

#: Name, collection, object.
_CREATED: tuple[tuple[str, str, Body], ...] = (
    ("ConfigMap", f"{CORE}/configmaps", config_map(key="value")),
    ("ConfigMap without data", f"{CORE}/configmaps", thing("v1", "ConfigMap")),
    ("ConfigMap with empty labels", f"{CORE}/configmaps", labelled(config_map())),
    ("ConfigMap immutable", f"{CORE}/configmaps", {**config_map(key="value"), "immutable": True}),
    ("Secret", f"{CORE}/secrets", thing("v1", "Secret", data={"key": "dmFsdWU="})),
    ("Secret by strings", f"{CORE}/secrets", thing("v1", "Secret", stringData={"key": "value"})),
    ("ServiceAccount", f"{CORE}/serviceaccounts", thing("v1", "ServiceAccount")),
    ("Service", f"{CORE}/services", service(selector={"app": "web"})),
    ("Service headless", f"{CORE}/services", service(clusterIP="None")),
    ("Service NodePort", f"{CORE}/services", service(type="NodePort")),
    ("Service LoadBalancer", f"{CORE}/services", service(type="LoadBalancer")),
    (
        "Service ExternalName",
        f"{CORE}/services",
        thing("v1", "Service", spec={"type": "ExternalName", "externalName": "e.io"}),
    ),
    ("Service with affinity", f"{CORE}/services", service(sessionAffinity="ClientIP")),
    (
        "Service with ports",
        f"{CORE}/services",
        service(ports=[{"name": "a", "port": 1, "targetPort": "x"}, {"name": "b", "port": 2, "protocol": "UDP"}]),
    ),
    ("Pod", f"{CORE}/pods", pod(nodeSelector={"no": "where"})),
    ("Pod rich", f"{CORE}/pods", pod(nodeSelector={"no": "where"}, containers=[_RICH], volumes=_VOLUMES)),
    (
        "Pod on the host's network",
        f"{CORE}/pods",
        pod(nodeSelector={"no": "where"}, hostNetwork=True, containers=[{**_RICH, "volumeMounts": []}]),
    ),
    (
        "Pod with init containers",
        f"{CORE}/pods",
        pod(nodeSelector={"no": "where"}, initContainers=[{"name": "i", "image": "i", "restartPolicy": "Always"}]),
    ),
    (
        "Pod with zeros",
        f"{CORE}/pods",
        pod(nodeSelector={"no": "where"}, hostNetwork=False, priority=0, terminationGracePeriodSeconds=0),
    ),
    ("Deployment", f"{APPS}/deployments", deployment()),
    ("Deployment Recreate", f"{APPS}/deployments", deployment(strategy={"type": "Recreate"})),
    (
        "Deployment with bounds",
        f"{APPS}/deployments",
        deployment(strategy={"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}),
    ),
    (
        "Deployment rich",
        f"{APPS}/deployments",
        deployment(
            template={
                "metadata": {"labels": {"app": "web"}, "annotations": {}},
                "spec": {"containers": [_RICH], "volumes": _VOLUMES},
            }
        ),
    ),
    ("Deployment paused", f"{APPS}/deployments", deployment(paused=True, minReadySeconds=0)),
    ("ReplicaSet", f"{APPS}/replicasets", workload("ReplicaSet", replicas=0)),
    ("StatefulSet", f"{APPS}/statefulsets", workload("StatefulSet", replicas=0, serviceName="web")),
    (
        "StatefulSet OnDelete",
        f"{APPS}/statefulsets",
        workload("StatefulSet", replicas=0, updateStrategy={"type": "OnDelete"}),
    ),
    (
        "StatefulSet partition",
        f"{APPS}/statefulsets",
        workload("StatefulSet", replicas=0, updateStrategy={"rollingUpdate": {"partition": 3}}),
    ),
    ("DaemonSet", f"{APPS}/daemonsets", workload("DaemonSet", template=template(nodeSelector={"no": "where"}))),
    (
        "DaemonSet OnDelete",
        f"{APPS}/daemonsets",
        workload("DaemonSet", updateStrategy={"type": "OnDelete"}, template=template(nodeSelector={"no": "where"})),
    ),
    ("Job", f"{BATCH}/jobs", job()),
    ("Job parallel", f"{BATCH}/jobs", job(parallelism=3, completions=9, backoffLimit=0)),
    ("CronJob", f"{BATCH}/cronjobs", thing("batch/v1", "CronJob", spec={**_CRON, "suspend": True})),
    (
        "PodDisruptionBudget",
        f"{POLICY}/poddisruptionbudgets",
        thing(
            "policy/v1", "PodDisruptionBudget", spec={"minAvailable": 1, "selector": {"matchLabels": {"no": "body"}}}
        ),
    ),
    (
        "PodDisruptionBudget by share",
        f"{POLICY}/poddisruptionbudgets",
        thing(
            "policy/v1",
            "PodDisruptionBudget",
            spec={"maxUnavailable": "50%", "selector": {"matchLabels": {"no": "body"}}},
        ),
    ),
    (
        "HorizontalPodAutoscaler",
        "/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers",
        thing(
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            spec={"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "no", "apiVersion": "apps/v1"}},
        ),
    ),
    (
        "NetworkPolicy",
        "/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies",
        thing(
            "networking.k8s.io/v1", "NetworkPolicy", spec={"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]}
        ),
    ),
    (
        "NetworkPolicy egress",
        "/apis/networking.k8s.io/v1/namespaces/{ns}/networkpolicies",
        thing("networking.k8s.io/v1", "NetworkPolicy", spec={"podSelector": {}, "egress": [{}]}),
    ),
    (
        "Role",
        f"{RBAC}/roles",
        thing(
            "rbac.authorization.k8s.io/v1", "Role", rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
        ),
    ),
    ("Role without rules", f"{RBAC}/roles", thing("rbac.authorization.k8s.io/v1", "Role")),
    (
        "RoleBinding",
        f"{RBAC}/rolebindings",
        thing(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            roleRef={"kind": "ClusterRole", "name": "view"},
            subjects=[{"kind": "User", "name": "jane"}, {"kind": "ServiceAccount", "name": "x", "namespace": "y"}],
        ),
    ),
    (
        "Lease",
        "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases",
        thing(
            "coordination.k8s.io/v1",
            "Lease",
            spec={"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "2026-03-01T03:00:00.000000Z"},
        ),
    ),
    (
        "Endpoints",
        f"{CORE}/endpoints",
        thing("v1", "Endpoints", subsets=[{"addresses": [{"ip": "10.9.9.9"}], "ports": [{"port": 80}]}]),
    ),
    (
        "EndpointSlice",
        "/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices",
        thing(
            "discovery.k8s.io/v1",
            "EndpointSlice",
            addressType="IPv4",
            endpoints=[{"addresses": ["10.9.9.9"]}],
            ports=[{"port": 80}],
        ),
    ),
    (
        "PersistentVolumeClaim",
        f"{CORE}/persistentvolumeclaims",
        thing(
            "v1",
            "PersistentVolumeClaim",
            spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
        ),
    ),
    (
        "Event",
        f"{CORE}/events",
        thing(
            "v1",
            "Event",
            involvedObject={"kind": "Pod", "name": "x", "namespace": "{ns}"},
            reason="Why",
            message="m",
            type="Normal",
        ),
    ),
    (
        "PeerAuthentication",
        f"{SECURITY}/peerauthentications",
        istio("security", "PeerAuthentication", {"mtls": {"mode": "STRICT"}}),
    ),
    (
        "PeerAuthentication by port",
        f"{SECURITY}/peerauthentications",
        istio(
            "security",
            "PeerAuthentication",
            {"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"80": {"mode": "DISABLE"}}},
        ),
    ),
    (
        "AuthorizationPolicy",
        f"{SECURITY}/authorizationpolicies",
        istio(
            "security",
            "AuthorizationPolicy",
            {"action": "DENY", "rules": [{"from": [{"source": {"principals": ["*"]}}]}]},
        ),
    ),
    ("AuthorizationPolicy empty", f"{SECURITY}/authorizationpolicies", istio("security", "AuthorizationPolicy", {})),
    (
        "RequestAuthentication",
        f"{SECURITY}/requestauthentications",
        istio(
            "security", "RequestAuthentication", {"jwtRules": [{"issuer": "https://e.io", "jwksUri": "https://e.io/k"}]}
        ),
    ),
    (
        "DestinationRule",
        f"{NETWORKING}/destinationrules",
        istio(
            "networking",
            "DestinationRule",
            {
                "host": "web",
                "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}, "loadBalancer": {"simple": "ROUND_ROBIN"}},
            },
        ),
    ),
    (
        "DestinationRule with subsets",
        f"{NETWORKING}/destinationrules",
        istio(
            "networking", "DestinationRule", {"host": "web", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}
        ),
    ),
    ("VirtualService", f"{NETWORKING}/virtualservices", istio("networking", "VirtualService", _HOSTS)),
    (
        "ServiceEntry",
        f"{NETWORKING}/serviceentries",
        istio(
            "networking",
            "ServiceEntry",
            {"hosts": ["e.io"], "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}], "resolution": "DNS"},
        ),
    ),
    ("Sidecar", f"{NETWORKING}/sidecars", istio("networking", "Sidecar", {"egress": [{"hosts": ["./*"]}]})),
    (
        "custom resource with unknown fields",
        f"{NETWORKING}/sidecars",
        istio("networking", "Sidecar", {"egress": [{"hosts": ["./*"]}], "colour": "red"}),
    ),
)

_CLUSTER: tuple[tuple[str, str, Body], ...] = (
    ("Namespace", "/api/v1/namespaces", thing("v1", "Namespace", "{ns}-more")),
    (
        "ClusterRole",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        thing(
            "rbac.authorization.k8s.io/v1", "ClusterRole", "{ns}", rules=[{"nonResourceURLs": ["/x"], "verbs": ["get"]}]
        ),
    ),
    (
        "ClusterRoleBinding",
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        thing(
            "rbac.authorization.k8s.io/v1",
            "ClusterRoleBinding",
            "{ns}",
            roleRef={"kind": "ClusterRole", "name": "view"},
            subjects=[{"kind": "Group", "name": "g"}],
        ),
    ),
    (
        "PriorityClass",
        "/apis/scheduling.k8s.io/v1/priorityclasses",
        thing("scheduling.k8s.io/v1", "PriorityClass", "{ns}", value=7),
    ),
    (
        "MutatingWebhookConfiguration",
        "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
        thing("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "{ns}", webhooks=[_WEBHOOK]),
    ),
    (
        "ValidatingWebhookConfiguration",
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
        thing("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "{ns}", webhooks=[_WEBHOOK]),
    ),
)

_GENERATED = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "made-"}}

CASES: tuple[Case, ...] = (
    *(case(f"a new {name}", post(path, body)) for name, path, body in (*_CREATED, *_CLUSTER)),
    *(
        case(
            f"{name} in a table",
            post(path, body).quietly(),
            get(path, TABLE, fieldSelector=f"metadata.name={body['metadata']['name']}"),
        )
        for name, path, body in (*_CREATED, *_CLUSTER)
        if " " not in name and name not in ("Event", "DaemonSet", "Job")
    ),
    case("a generated name", post(f"{CORE}/configmaps", _GENERATED)),
    case("the second of a name", post(f"{CORE}/configmaps", config_map()), post(f"{CORE}/configmaps", config_map())),
    case("a dry run", post(f"{CORE}/configmaps", config_map(), dryRun="All"), get(f"{CORE}/configmaps/a")),
    case(
        "annotations and owners",
        post(
            f"{CORE}/configmaps",
            with_metadata(
                config_map(),
                annotations={"a": "b"},
                ownerReferences=[{"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "y"}],
            ),
        ),
    ),
    case("a status that is not the client's", post(f"{APPS}/deployments", {**deployment(), "status": {"replicas": 9}})),
    case(
        "a pod is deleted at once where it runs nowhere",
        post(f"{CORE}/pods", pod(nodeSelector={"no": "where"})).quietly(),
        delete(f"{CORE}/pods/a"),
        get(f"{CORE}/pods/a"),
    ),
)
