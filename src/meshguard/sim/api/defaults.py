"""The defaults that the API server fills in, by the Go type that has them.

Source: `pkg/apis/*/v1/defaults.go` of Kubernetes. Each function completes a struct whose parts are complete already.
"""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable, Mapping
from typing import Any

Doc = dict[str, Any]
Default = Callable[[Doc], None]


def _these(**values: Any) -> Default:
    """Fields that are absent get these values."""

    def complete(doc: Doc) -> None:
        for name, value in values.items():
            if doc.get(name) in (None, ""):
                doc[name] = copy.deepcopy(value)

    return complete


def _pull_policy(image: str) -> str:
    name = image.rpartition("/")[2]
    if "@" in name:
        return "IfNotPresent"
    return "Always" if ":" not in name or name.endswith(":latest") else "IfNotPresent"


def _container(doc: Doc) -> None:
    _these(terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File")(doc)
    doc.setdefault("imagePullPolicy", _pull_policy(doc.get("image", "")))


def _volume(doc: Doc) -> None:
    if set(doc) == {"name"}:
        doc["emptyDir"] = {}


def _pod(doc: Doc) -> None:
    spec = doc["spec"]
    for container in (*(spec.get("containers") or ()), *spec.get("initContainers", ())):
        limits = container["resources"].get("limits")
        if limits:
            container["resources"]["requests"] = {**limits, **container["resources"].get("requests", {})}
        if spec.get("hostNetwork"):
            for port in container.get("ports", ()):
                port.setdefault("hostPort", port["containerPort"])
    spec.setdefault("enableServiceLinks", True)


def _secret(doc: Doc) -> None:
    doc.setdefault("type", "Opaque")
    strings = doc.pop("stringData", None)
    if strings:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in strings.items()}
        doc["data"] = {**doc.get("data", {}), **encoded}


def _service(doc: Doc) -> None:
    spec = doc["spec"]
    _these(sessionAffinity="None", type="ClusterIP")(spec)
    if spec["sessionAffinity"] == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 10800}})
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port["port"]
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] in ("NodePort", "LoadBalancer") or spec.get("externalIPs"):
        _these(externalTrafficPolicy="Cluster")(spec)
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _namespace(doc: Doc) -> None:
    name = doc["metadata"].get("name")
    if name:
        doc["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name


def _deployment(doc: Doc) -> None:
    spec = doc["spec"]
    _these(replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)(spec)
    strategy = spec["strategy"]
    _these(type="RollingUpdate")(strategy)
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")


def _daemon_set(doc: Doc) -> None:
    spec = doc["spec"]
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec["updateStrategy"]
    _these(type="RollingUpdate")(strategy)
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)


def _stateful_set(doc: Doc) -> None:
    spec = doc["spec"]
    _these(podManagementPolicy="OrderedReady", replicas=1, revisionHistoryLimit=10)(spec)
    strategy = spec["updateStrategy"]
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and "rollingUpdate" in strategy:
        strategy["rollingUpdate"].setdefault("partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    _these(whenDeleted="Retain", whenScaled="Retain")(retention)


def _job(doc: Doc) -> None:
    spec = doc["spec"]
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    _these(
        parallelism=1,
        backoffLimit=6,
        completionMode="NonIndexed",
        suspend=False,
        podReplacementPolicy="TerminatingOrFailed",
        manualSelector=False,
    )(spec)
    labels = spec["template"].get("metadata", {}).get("labels")
    if labels and not doc["metadata"].get("labels"):
        doc["metadata"]["labels"] = dict(labels)


def _autoscaler(doc: Doc) -> None:
    spec = doc["spec"]
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _network_policy(doc: Doc) -> None:
    spec = doc.get("spec")
    if spec is not None and not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _role_binding(doc: Doc) -> None:
    if not doc["roleRef"].get("apiGroup"):
        doc["roleRef"]["apiGroup"] = "rbac.authorization.k8s.io"


def _subject(doc: Doc) -> None:
    if doc.get("kind") in ("User", "Group"):
        _these(apiGroup="rbac.authorization.k8s.io")(doc)


def _webhook(doc: Doc) -> None:
    _these(failurePolicy="Fail", matchPolicy="Equivalent", namespaceSelector={}, objectSelector={}, timeoutSeconds=10)(
        doc
    )


def _mutating_webhook(doc: Doc) -> None:
    _webhook(doc)
    _these(reinvocationPolicy="Never")(doc)


def _endpoint_slice(doc: Doc) -> None:
    for port in doc.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _endpoints(doc: Doc) -> None:
    for subset in doc.get("subsets", ()):
        for port in subset.get("ports", ()):
            port.setdefault("protocol", "TCP")


DEFAULTS: Mapping[str, Default] = {
    "Container": _container,
    "EphemeralContainer": _container,
    "Volume": _volume,
    "Pod": _pod,
    "PodSpec": _these(
        dnsPolicy="ClusterFirst",
        restartPolicy="Always",
        securityContext={},
        terminationGracePeriodSeconds=30,
        schedulerName="default-scheduler",
    ),
    "Probe": _these(timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3),
    "HTTPGetAction": _these(path="/", scheme="HTTP"),
    "GRPCAction": _these(service=""),
    "ContainerPort": _these(protocol="TCP"),
    "SecretVolumeSource": _these(defaultMode=420),
    "ConfigMapVolumeSource": _these(defaultMode=420),
    "DownwardAPIVolumeSource": _these(defaultMode=420),
    "ProjectedVolumeSource": _these(defaultMode=420),
    "ServiceAccountTokenProjection": _these(expirationSeconds=3600),
    "ObjectFieldSelector": _these(apiVersion="v1"),
    "Secret": _secret,
    "Service": _service,
    "Endpoints": _endpoints,
    "EndpointSlice": _endpoint_slice,
    "Namespace": _namespace,
    "NamespaceStatus": _these(phase="Active"),
    "PersistentVolumeClaimSpec": _these(volumeMode="Filesystem"),
    "PersistentVolumeClaimStatus": _these(phase="Pending"),
    "PersistentVolumeSpec": _these(volumeMode="Filesystem", persistentVolumeReclaimPolicy="Retain"),
    "Deployment": _deployment,
    "DaemonSet": _daemon_set,
    "StatefulSet": _stateful_set,
    "ReplicaSet": lambda doc: _these(replicas=1)(doc["spec"]),
    "Job": _job,
    "CronJobSpec": _these(
        concurrencyPolicy="Allow", suspend=False, successfulJobsHistoryLimit=3, failedJobsHistoryLimit=1
    ),
    "HorizontalPodAutoscaler": _autoscaler,
    "NetworkPolicy": _network_policy,
    "NetworkPolicyPort": _these(protocol="TCP"),
    "RoleBinding": _role_binding,
    "ClusterRoleBinding": _role_binding,
    "Subject": _subject,
    "MutatingWebhook": _mutating_webhook,
    "ValidatingWebhook": _webhook,
    "RuleWithOperations": _these(scope="*"),
    "CustomResourceDefinitionSpec": _these(conversion={"strategy": "None"}),
    "PriorityClass": _these(preemptionPolicy="PreemptLowerPriority"),
    "StorageClass": _these(reclaimPolicy="Delete", volumeBindingMode="Immediate"),
}
