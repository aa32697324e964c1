"""What of an object meshguard may know: never the value of an environment variable, nothing it has no use for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from meshguard.model.objects import dig
from meshguard.model.snapshot import is_bare

#: Where each kind keeps the specification of its pods, and with it their environment.
POD_SPEC_PATHS: dict[str, tuple[str, ...]] = {
    "Pod": ("spec",),
    "Deployment": ("spec", "template", "spec"),
    "StatefulSet": ("spec", "template", "spec"),
    "DaemonSet": ("spec", "template", "spec"),
    "ReplicaSet": ("spec", "template", "spec"),
    "Rollout": ("spec", "template", "spec"),
    "Job": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
_CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")
#: kubectl keeps a copy of the whole object there, environment included.
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def trimmed(kind: str, doc: dict[str, Any]) -> dict[str, Any]:
    """Cut a document that the API server sent down to what the rules may see. The argument is changed."""
    metadata = doc["metadata"]
    metadata.pop("managedFields", None)
    if _LAST_APPLIED in (annotations := metadata.get("annotations") or {}):
        del annotations[_LAST_APPLIED]
    if kind in POD_SPEC_PATHS:
        _hide_environment(dig(doc, *POD_SPEC_PATHS[kind], default={}))
    if kind in _SPECIAL:
        _SPECIAL[kind](doc)
    return doc


def _hide_environment(pod_spec: Mapping[str, Any]) -> None:
    for part in _CONTAINER_LISTS:
        for container in pod_spec.get(part) or ():
            if "env" in container:
                container["env"] = [{"name": variable["name"]} for variable in container["env"]]


#: Of a pod that is there already; its template, which is what rules read of these, stays whole.
_POD_SPEC_UNUSED = (
    "volumes",
    "affinity",
    "tolerations",
    "topologySpreadConstraints",
    "imagePullSecrets",
    "securityContext",
)
_CONTAINER_UNUSED = (
    "volumeMounts",
    "securityContext",
    "livenessProbe",
    "startupProbe",
    "lifecycle",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
)
_STATUS_UNUSED = ("imageID", "containerID", "allocatedResources", "resources", "volumeMounts")


def _trim_pod(doc: dict[str, Any]) -> None:
    """In a large mesh pods are nearly all that there is; most of each is what a sidecar is started with."""
    spec, status = doc.get("spec") or {}, doc.get("status") or {}
    for key in _POD_SPEC_UNUSED:
        spec.pop(key, None)
    for container in (c for part in _CONTAINER_LISTS for c in spec.get(part) or ()):
        for key in _CONTAINER_UNUSED:
            container.pop(key, None)
    for part in ("containerStatuses", "initContainerStatuses"):
        for state in status.get(part) or ():
            for key in _STATUS_UNUSED:
                state.pop(key, None)


def _trim_replica_set(doc: dict[str, Any]) -> None:
    """Only the link between a pod and its Deployment counts; a set that stands alone is a workload."""
    metadata = doc["metadata"]
    if is_bare(doc) and "spec" in doc:
        return
    kept = ("name", "namespace", "uid", "ownerReferences")
    doc.clear()
    doc["metadata"] = {key: metadata[key] for key in kept if key in metadata}


def _trim_node(doc: dict[str, Any]) -> None:
    """Room for pods and who may be scheduled there; the list of images alone can be longer than everything else."""
    status = doc.get("status") or {}
    doc["status"] = {key: status[key] for key in ("allocatable", "conditions") if key in status}


def _trim_wasm_plugin(doc: dict[str, Any]) -> None:
    spec = doc.get("spec") or {}
    spec.pop("pluginConfig", None)
    for variable in dig(spec, "vmConfig", "env", default=[]):
        variable.pop("value", None)


def _trim_config_map(doc: dict[str, Any]) -> None:
    """Istio's own settings are decoded; of everybody else's data nothing is kept, except our own records."""
    data = doc.get("data") or {}
    if doc["metadata"].get("namespace") == "meshguard-system":
        return
    doc.pop("data", None)
    doc.pop("binaryData", None)
    if "mesh" in data:
        doc["mesh"] = _mapping(data["mesh"])
    if "config" in data and "values" in data:
        injector = _mapping(data["config"])
        doc["injector"] = {key: injector.get(key) for key in _INJECTOR_POLICY}
        doc["injector"]["templates"] = _proxies_by_template(injector)
        doc["injector"]["resources"] = dig(_mapping(data["values"]), "global", "proxy", "resources", default={})


def _proxies_by_template(injector: Mapping[str, Any]) -> dict[str, int]:
    """Return each name that a pod may ask for, aliases included, and how often that brings a proxy's container."""
    own = {name: int("name: istio-proxy" in str(text)) for name, text in (injector.get("templates") or {}).items()}
    aliases = injector.get("aliases") or {}
    return own | {name: sum(own.get(part, 0) for part in parts) for name, parts in aliases.items()}


_INJECTOR_POLICY = ("policy", "alwaysInjectSelector", "neverInjectSelector")
_SPECIAL: dict[str, Callable[[dict[str, Any]], None]] = {
    "Node": _trim_node,
    "Pod": _trim_pod,
    "ReplicaSet": _trim_replica_set,
    "WasmPlugin": _trim_wasm_plugin,
    "ConfigMap": _trim_config_map,
}


def _mapping(text: str) -> Mapping[str, Any]:
    loaded = yaml.load(text, Loader=_Loader)
    return loaded if isinstance(loaded, dict) else {}


#: libyaml reads Istio's injection templates ten times as fast as the Python parser.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
