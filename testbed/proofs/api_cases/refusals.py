"""What the server refuses, and in which words."""

from __future__ import annotations

from typing import Any

from testbed.proofs.api_cases.bodies import (
    APPS,
    BATCH,
    CORE,
    NETWORKING,
    POLICY,
    RBAC,
    SECURITY,
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
from testbed.proofs.api_cases.case import JSON_PATCH, STRATEGIC, Case, Step, case, delete, get, patch, post, put

_LONG = "x" * 64
_DEPLOYMENTS, _MAPS, _PODS, _SERVICES = f"{APPS}/deployments", f"{CORE}/configmaps", f"{CORE}/pods", f"{CORE}/services"

_INVALID: tuple[tuple[str, str, Any], ...] = (
    ("negative replicas", _DEPLOYMENTS, deployment(replicas=-1)),
    ("replicas in words", _DEPLOYMENTS, deployment(replicas="many")),
    ("replicas with a fraction", _DEPLOYMENTS, deployment(replicas=1.5)),
    ("a strategy that is none", _DEPLOYMENTS, deployment(strategy={"type": "Sideways"})),
    ("Recreate with bounds", _DEPLOYMENTS, deployment(strategy={"type": "Recreate", "rollingUpdate": {"maxSurge": 1}})),
    (
        "no surge and nothing may be missing",
        _DEPLOYMENTS,
        deployment(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
    ),
    ("a selector of other labels", _DEPLOYMENTS, deployment(selector={"matchLabels": {"app": "other"}})),
    ("no selector", _DEPLOYMENTS, thing("apps/v1", "Deployment", "web", spec={"template": template()})),
    (
        "an operator that is none",
        _DEPLOYMENTS,
        deployment(selector={"matchExpressions": [{"key": "app", "operator": "Near", "values": ["web"]}]}),
    ),
    ("In without values", _DEPLOYMENTS, deployment(selector={"matchExpressions": [{"key": "app", "operator": "In"}]})),
    ("a template that does not restart", _DEPLOYMENTS, deployment(template=template(restartPolicy="Never"))),
    ("no containers", _DEPLOYMENTS, deployment(template=template(containers=[]))),
    ("a container without image", _DEPLOYMENTS, deployment(template=template(containers=[{"name": "app"}]))),
    ("a container without name", _PODS, pod(containers=[{"image": "x"}])),
    ("a container's name with capitals", _PODS, pod(containers=[{"name": "App", "image": "x"}])),
    ("two containers of one name", _PODS, pod(containers=[{"name": "a", "image": "x"}, {"name": "a", "image": "x"}])),
    ("a port that is none", _PODS, pod(containers=[{"name": "a", "image": "x", "ports": [{"containerPort": 70000}]}])),
    (
        "a protocol that is none",
        _PODS,
        pod(containers=[{"name": "a", "image": "x", "ports": [{"containerPort": 7, "protocol": "ICMP"}]}]),
    ),
    (
        "a mount of no volume",
        _PODS,
        pod(containers=[{"name": "a", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]),
    ),
    (
        "more requested than allowed",
        _PODS,
        pod(containers=[{"name": "a", "image": "x", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}]),
    ),
    (
        "a quantity that is none",
        _PODS,
        pod(containers=[{"name": "a", "image": "x", "resources": {"limits": {"cpu": "much"}}}]),
    ),
    ("a variable without a name", _PODS, pod(containers=[{"name": "a", "image": "x", "env": [{"value": "1"}]}])),
    (
        "a pull policy that is none",
        _PODS,
        pod(containers=[{"name": "a", "image": "x", "imagePullPolicy": "Sometimes"}]),
    ),
    ("a volume without a name", _PODS, pod(volumes=[{"emptyDir": {}}])),
    ("a name with capitals", _MAPS, config_map("Upper")),
    ("a name that is too long", _MAPS, config_map("x" * 254)),
    ("no name", _MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}),
    ("a label's value that is too long", _MAPS, labelled(config_map(), a=_LONG)),
    ("a label's value with a space", _MAPS, labelled(config_map(), a="b c")),
    ("a label's key that is none", _MAPS, with_metadata(config_map(), labels={"a b": "c"})),
    ("an annotation's key that is none", _MAPS, with_metadata(config_map(), annotations={"a b": "c"})),
    (
        "an owner without a UID",
        _MAPS,
        with_metadata(config_map(), ownerReferences=[{"apiVersion": "v1", "kind": "Pod", "name": "x"}]),
    ),
    ("a finalizer that is none", _MAPS, with_metadata(config_map(), finalizers=["a b"])),
    ("a key of data that is none", _MAPS, config_map(**{"a b": "c"})),
    ("data that is a number", _MAPS, thing("v1", "ConfigMap", data={"a": 1})),
    ("data that is a list", _MAPS, thing("v1", "ConfigMap", data=[])),
    ("labels that are a list", _MAPS, with_metadata(config_map(), labels=["a"])),
    ("a version on creation", _MAPS, with_metadata(config_map(), resourceVersion="7")),
    ("another namespace", _MAPS, with_metadata(config_map(), namespace="default")),
    ("another kind", _MAPS, thing("v1", "Secret")),
    ("another version", _MAPS, thing("v2", "ConfigMap")),
    ("a service without ports", _SERVICES, service(ports=[])),
    ("a service's port that is none", _SERVICES, service(ports=[{"port": 0}])),
    ("two ports without names", _SERVICES, service(ports=[{"port": 1}, {"port": 2}])),
    ("two ports of one name", _SERVICES, service(ports=[{"name": "a", "port": 1}, {"name": "a", "port": 2}])),
    ("a service's name that begins with a digit", _SERVICES, service("1a")),
    ("a service's type that is none", _SERVICES, service(type="Best")),
    ("an external name that is missing", _SERVICES, thing("v1", "Service", spec={"type": "ExternalName"})),
    ("a job that always restarts", f"{BATCH}/jobs", job(template={"spec": pod_spec()})),
    ("a job with a negative limit", f"{BATCH}/jobs", job(backoffLimit=-1)),
    (
        "a budget with both bounds",
        f"{POLICY}/poddisruptionbudgets",
        thing("policy/v1", "PodDisruptionBudget", spec={"minAvailable": 1, "maxUnavailable": 1}),
    ),
    (
        "an autoscaler without a maximum",
        "/apis/autoscaling/v2/namespaces/{ns}/horizontalpodautoscalers",
        thing(
            "autoscaling/v2", "HorizontalPodAutoscaler", spec={"scaleTargetRef": {"kind": "Deployment", "name": "no"}}
        ),
    ),
    (
        "a rule without verbs",
        f"{RBAC}/roles",
        thing("rbac.authorization.k8s.io/v1", "Role", rules=[{"apiGroups": [""], "resources": ["pods"]}]),
    ),
    (
        "a binding to nothing",
        f"{RBAC}/rolebindings",
        thing("rbac.authorization.k8s.io/v1", "RoleBinding", roleRef={"kind": "Thing", "name": "x"}),
    ),
    (
        "a subject that is none",
        f"{RBAC}/rolebindings",
        thing(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            roleRef={"kind": "Role", "name": "x"},
            subjects=[{"kind": "Dog", "name": "x"}],
        ),
    ),
    (
        "a TLS mode that is none",
        f"{SECURITY}/peerauthentications",
        istio("security", "PeerAuthentication", {"mtls": {"mode": "MAYBE"}}),
    ),
    (
        "a TLS mode that is a number",
        f"{SECURITY}/peerauthentications",
        istio("security", "PeerAuthentication", {"mtls": {"mode": 7}}),
    ),
    (
        "a rule without a host",
        f"{NETWORKING}/destinationrules",
        istio("networking", "DestinationRule", {"trafficPolicy": {}}),
    ),
    (
        "a spec that is a list",
        f"{NETWORKING}/destinationrules",
        thing("networking.istio.io/v1", "DestinationRule", spec=[]),
    ),
    (
        "connections in words",
        f"{NETWORKING}/destinationrules",
        istio(
            "networking",
            "DestinationRule",
            {"host": "a", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": "x"}}}},
        ),
    ),
)

_IMMUTABLE: tuple[tuple[str, str, str, Any, Any], ...] = (
    (
        "a Deployment's selector",
        _DEPLOYMENTS,
        "web",
        deployment(),
        {"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": {"metadata": {"labels": {"app": "x"}}}}},
    ),
    (
        "a StatefulSet's service",
        f"{APPS}/statefulsets",
        "web",
        workload("StatefulSet", replicas=0, serviceName="web"),
        {"spec": {"serviceName": "x"}},
    ),
    ("a frozen ConfigMap", _MAPS, "a", {**config_map(k="v"), "immutable": True}, {"data": {"k": "w"}}),
    ("a frozen ConfigMap that shall thaw", _MAPS, "a", {**config_map(k="v"), "immutable": True}, {"immutable": None}),
    (
        "a Service's address",
        _SERVICES,
        "a",
        service(selector={"a": "b"}),
        {"spec": {"clusterIP": "10.96.9.9", "clusterIPs": ["10.96.9.9"]}},
    ),
    (
        "a binding's role",
        f"{RBAC}/rolebindings",
        "a",
        thing(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            roleRef={"kind": "Role", "name": "x", "apiGroup": "rbac.authorization.k8s.io"},
        ),
        {"roleRef": {"name": "y"}},
    ),
    ("an object's UID", _MAPS, "a", config_map(), {"metadata": {"uid": "another"}}),
    ("an object's name", _MAPS, "a", config_map(), {"metadata": {"name": "another"}}),
    ("an object's namespace", _MAPS, "a", config_map(), {"metadata": {"namespace": "default"}}),
)

_RAW: tuple[tuple[str, Step], ...] = (
    ("half a document", Step("POST", _MAPS, b'{"apiVersion":')),
    ("no document", Step("POST", _MAPS, b"")),
    ("a list for a document", Step("POST", _MAPS, b"[]")),
    ("a media type of nobody", Step("POST", _MAPS, b"<a/>", "application/xml")),
    ("an unknown field, strictly", post(_DEPLOYMENTS, deployment(replicaz=1), fieldValidation="Strict")),
    ("an unknown field, with a warning", post(_DEPLOYMENTS, deployment(replicaz=1))),
    ("an unknown field, ignored", post(_DEPLOYMENTS, deployment(replicaz=1), fieldValidation="Ignore")),
    (
        "an unknown field of a custom resource, strictly",
        post(f"{NETWORKING}/sidecars", istio("networking", "Sidecar", {"colour": 1}), fieldValidation="Strict"),
    ),
    ("a way of validation that is none", post(_MAPS, config_map(), fieldValidation="Maybe")),
    ("a dry run that is none", post(_MAPS, config_map(), dryRun="Some")),
    ("a namespace that is not there", post("/api/v1/namespaces/nowhere-at-all/configmaps", config_map())),
    ("an object that is not there", get(f"{_MAPS}/nowhere")),
    ("a replacement of what is not there", put(f"{_MAPS}/nowhere", config_map("nowhere"))),
    ("a patch of what is not there", patch(f"{_MAPS}/nowhere", {})),
    ("a deletion of what is not there", delete(f"{_MAPS}/nowhere")),
    ("a replacement of another name", put(f"{_MAPS}/one", config_map("other"))),
    ("a group of nobody", get("/apis/nobody.example.com/v1/things")),
    ("a version of nobody", get("/apis/apps/v7/deployments")),
    ("a resource of nobody", get("/api/v1/things")),
    ("a subresource of nobody", get(f"{_MAPS}/a/status")),
    ("a path of nobody", get("/nobody")),
    ("a namespace for what has none", get("/api/v1/namespaces/{ns}/nodes")),
    ("POST to an object", post(f"{_MAPS}/a", config_map())),
    ("PUT to a collection", put(_MAPS, config_map())),
    ("a version that is no number", get(_MAPS, resourceVersion="x")),
    ("a limit that is no number", get(_MAPS, limit="x")),
    ("a continuation that is none", get(_MAPS, continue_="x")),
    ("a selector that is none", get(_MAPS, labelSelector="a=b=c")),
    ("a selector with a key that is none", get(_MAPS, labelSelector="a_/b=c")),
    ("a field that cannot be selected", get(_MAPS, fieldSelector="data.a=b")),
    ("a field of pods that cannot be selected", get(_PODS, fieldSelector="spec.nothing=b")),
    ("a field selector that is none", get(_MAPS, fieldSelector="metadata.name")),
    ("a form that nobody makes", get(_MAPS, accept="text/html")),
    ("a patch of a kind that is none", Step("PATCH", f"{_MAPS}/a", {}, "application/json")),
    ("a strategic patch of a custom resource", Step("PATCH", f"{SECURITY}/peerauthentications/a", {}, STRATEGIC)),
    ("a JSON patch that is no list", Step("PATCH", f"{_MAPS}/kube-root-ca.crt", {"op": "add"}, JSON_PATCH)),
)

CASES: tuple[Case, ...] = (
    *(case(f"refused: {name}", post(path, body)) for name, path, body in _INVALID),
    *(
        case(f"may not change: {name}", post(path, body).quietly(), patch(f"{path}/{key}", change))
        for name, path, key, body, change in _IMMUTABLE
    ),
    *(case(f"answered: {name}", step) for name, step in _RAW),
)
