"""The Kubernetes kinds that meshguard reads or writes, and where the API server keeps each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A Kubernetes kind and its place in the API.

    `optional` kinds come from custom resource definitions that a cluster may lack; their absence is not an error.
    """

    name: str
    group: str
    version: str
    plural: str
    namespaced: bool = True
    optional: bool = False

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The name that RBAC and kubectl use: `deployments.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "") -> str:
        """Return the REST path of the collection, or of one object when `name` is given."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        leaf = f"/{name}" if name else ""
        return f"{root}{scope}/{self.plural}{leaf}"


_SECURITY = "security.istio.io"
_NETWORKING = "networking.istio.io"
_EXTENSIONS = "extensions.istio.io"

_TABLE = (
    Kind("Namespace", "", "v1", "namespaces", namespaced=False),
    Kind("Pod", "", "v1", "pods"),
    Kind("Service", "", "v1", "services"),
    Kind("ConfigMap", "", "v1", "configmaps"),
    Kind("Node", "", "v1", "nodes", namespaced=False),
    Kind("ResourceQuota", "", "v1", "resourcequotas"),
    Kind("LimitRange", "", "v1", "limitranges"),
    Kind("PersistentVolumeClaim", "", "v1", "persistentvolumeclaims"),
    Kind("Deployment", "apps", "v1", "deployments"),
    Kind("ReplicaSet", "apps", "v1", "replicasets"),
    Kind("StatefulSet", "apps", "v1", "statefulsets"),
    Kind("DaemonSet", "apps", "v1", "daemonsets"),
    Kind("Job", "batch", "v1", "jobs"),
    Kind("CronJob", "batch", "v1", "cronjobs"),
    Kind("Lease", "coordination.k8s.io", "v1", "leases"),
    Kind("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets"),
    Kind("HorizontalPodAutoscaler", "autoscaling", "v2", "horizontalpodautoscalers"),
    Kind(
        "MutatingWebhookConfiguration",
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
        namespaced=False,
    ),
    Kind(
        "ValidatingWebhookConfiguration",
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
        namespaced=False,
    ),
    Kind("NetworkPolicy", "networking.k8s.io", "v1", "networkpolicies"),
    Kind("Gateway", "gateway.networking.k8s.io", "v1", "gateways", optional=True),
    Kind("Rollout", "argoproj.io", "v1alpha1", "rollouts", optional=True),
    Kind("PeerAuthentication", _SECURITY, "v1", "peerauthentications", optional=True),
    Kind("AuthorizationPolicy", _SECURITY, "v1", "authorizationpolicies", optional=True),
    Kind("RequestAuthentication", _SECURITY, "v1", "requestauthentications", optional=True),
    Kind("DestinationRule", _NETWORKING, "v1", "destinationrules", optional=True),
    Kind("VirtualService", _NETWORKING, "v1", "virtualservices", optional=True),
    Kind("ServiceEntry", _NETWORKING, "v1", "serviceentries", optional=True),
    Kind("Sidecar", _NETWORKING, "v1", "sidecars", optional=True),
    Kind("EnvoyFilter", _NETWORKING, "v1alpha3", "envoyfilters", optional=True),
    Kind("WasmPlugin", _EXTENSIONS, "v1alpha1", "wasmplugins", optional=True),
)

KINDS: dict[str, Kind] = {kind.name: kind for kind in _TABLE}

#: Kinds whose pod template decides about a sidecar, and whose pods a restart can renew. A ReplicaSet counts only where
#: nothing stands above it.
RESTARTABLE = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Rollout")
#: Kinds that own pods but are never restarted: running ones are reported and left alone.
RUN_TO_COMPLETION = ("Job", "CronJob")
