"""What every new pod gets: a service account with its token, tolerations, a priority.

Source: `plugin/pkg/admission/{serviceaccount,defaulttolerationseconds,priority}` of Kubernetes.
"""

from __future__ import annotations

from meshguard.sim.api.admission.chain import Attributes, Operation
from meshguard.sim.api.names import random_suffix
from meshguard.sim.api.status import Doc, forbidden
from meshguard.sim.api.store import Store

_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_TOLERATED_S = 300


class PodDefaults:
    """Completes pods."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def mutate(self, attributes: Attributes) -> Doc:
        """Return the completed pod. Raises ApiError (403) for a service account that is not there."""
        if attributes.resource.storage != "pods" or attributes.operation is not Operation.CREATE:
            return attributes.doc
        spec = dict(attributes.doc["spec"])
        account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = account
        found = self._store.get("serviceaccounts", attributes.namespace, account)
        if found is None:
            place = f"{attributes.namespace}/{account}"
            why = f'error looking up service account {place}: serviceaccount "{account}" not found'
            raise forbidden("", "pods", attributes.name, why)
        automatic = spec.get("automountServiceAccountToken", found.doc.get("automountServiceAccountToken", True))
        if automatic:
            _mount(spec)
        tolerations = list(spec.get("tolerations", ()))
        for key in _TAINTS:
            if not any(t.get("key") == key and t.get("effect") in (None, "", "NoExecute") for t in tolerations):
                tolerated = {"key": key, "operator": "Exists", "effect": "NoExecute"}
                tolerations.append({**tolerated, "tolerationSeconds": _TOLERATED_S})
        spec["tolerations"] = tolerations
        spec.setdefault("priority", 0)
        spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
        return {**attributes.doc, "spec": spec}

    def validate(self, attributes: Attributes) -> None:
        """Refuse nothing more."""


def _mount(spec: Doc) -> None:
    containers = [*spec.get("initContainers", ()), *(spec.get("containers") or ())]
    bare = [c for c in containers if not any(m["mountPath"] == _MOUNT for m in c.get("volumeMounts", ()))]
    if not bare:
        return
    name = f"kube-api-access-{random_suffix()}"
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {
            "downwardAPI": {
                "items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]
            }
        },
    ]
    spec["volumes"] = [*spec.get("volumes", ()), {"name": name, "projected": {"sources": sources, "defaultMode": 420}}]
    mount = {"name": name, "readOnly": True, "mountPath": _MOUNT}
    for kind in ("initContainers", "containers"):
        if spec.get(kind):
            spec[kind] = [
                {**c, "volumeMounts": [*c.get("volumeMounts", ()), mount]} if c in bare else c for c in spec[kind]
            ]
