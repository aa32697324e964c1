"""What the server itself puts into an object before it keeps it, by its kind. Source: `pkg/registry/*/strategy.go`."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from meshguard.sim.api.resources import Resource
from meshguard.sim.api.status import Doc, FieldError, invalid, invalid_value
from meshguard.sim.api.typed import Decoder

if TYPE_CHECKING:
    from meshguard.sim.api.store import Store

SERVICE_RANGE = ipaddress.ip_network("10.96.0.0/17")
_FIRST_FREE = 10
"""Service addresses below are for the cluster's own services."""

_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"

#: Kinds whose changes count in `metadata.generation`. Custom resources all do.
_COUNTED = frozenset(
    (
        "pods",
        "deployments.apps",
        "replicasets.apps",
        "statefulsets.apps",
        "daemonsets.apps",
        "jobs.batch",
        "cronjobs.batch",
        "poddisruptionbudgets.policy",
        "networkpolicies.networking.k8s.io",
        "ingresses.networking.k8s.io",
        "endpointslices.discovery.k8s.io",
        "customresourcedefinitions.apiextensions.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
        "replicationcontrollers",
        "priorityclasses.scheduling.k8s.io",
    )
)


def counts_generations(resource: Resource) -> bool:
    """Tell whether the kind has `metadata.generation`."""
    return resource.custom is not None or resource.storage in _COUNTED


def has_status(resource: Resource) -> bool:
    """Tell whether the status can be written at its own address only."""
    return "status" in resource.subresources


def prepare_create(resource: Resource, doc: Doc, store: Store) -> None:
    """Complete a new object, in place."""
    if has_status(resource):
        if resource.custom is not None:
            doc.pop("status", None)
        elif "status" in doc:
            doc["status"] = _empty_status(resource)
    if counts_generations(resource):
        doc["metadata"]["generation"] = 1
    prepare = _CREATE.get(resource.storage)
    if prepare is not None:
        prepare(doc, store)


def _empty_status(resource: Resource) -> Doc:
    """What Go writes for a status that nobody has set."""
    return Decoder(defaults=False).decode(resource.type.fields["status"].of, {})


def prepare_update(resource: Resource, old: Doc, new: Doc) -> None:
    """Complete an object that takes the place of another, in place."""
    if has_status(resource):
        if "status" in old:
            new["status"] = old["status"]
        else:
            new.pop("status", None)
    if resource.storage == "services":
        _keep_addresses(old, new)
    if resource.storage == "daemonsets.apps":
        _count_templates(old, new)
    if counts_generations(resource):
        generation = old["metadata"].get("generation", 1)
        changed = _body(old) != _body(new)
        new["metadata"]["generation"] = generation + 1 if changed else generation


def prepare_status(resource: Resource, old: Doc, new: Doc) -> Doc:
    """Return the object that a write of the status makes."""
    metadata = {**old["metadata"]}
    if new["metadata"].get("resourceVersion"):
        metadata["resourceVersion"] = new["metadata"]["resourceVersion"]
    if resource.storage in ("pods", "nodes"):
        for name in ("labels", "annotations"):
            if name in new["metadata"]:
                metadata[name] = new["metadata"][name]
    out = {**old, "metadata": metadata}
    if "status" in new:
        out["status"] = new["status"]
    else:
        out.pop("status", None)
    return out


def _body(doc: Doc) -> Doc:
    return {key: value for key, value in doc.items() if key not in ("metadata", "status")}


def _pod(doc: Doc, store: Store) -> None:
    doc["status"] = {"phase": "Pending", "qosClass": quality_of_service(doc)}


def quality_of_service(doc: Doc) -> str:
    """`Guaranteed`, `Burstable` or `BestEffort`, by the requests and limits of all containers."""
    containers = [*(doc["spec"].get("containers") or ()), *doc["spec"].get("initContainers", ())]
    guaranteed, best_effort = True, True
    for container in containers:
        limits, requests = (container.get("resources", {}).get(part, {}) for part in ("limits", "requests"))
        for name in ("cpu", "memory"):
            if name in limits or name in requests:
                best_effort = False
            if name not in limits or limits.get(name) != requests.get(name, limits.get(name)):
                guaranteed = False
    return "BestEffort" if best_effort else "Guaranteed" if guaranteed else "Burstable"


def _service(doc: Doc, store: Store) -> None:
    spec = doc["spec"]
    doc["status"] = {"loadBalancer": {}}
    if spec.get("type") == "ExternalName":
        return
    used = {entry.doc["spec"].get("clusterIP") for entry in store.all("services")}
    given = spec.get("clusterIP")
    if given == "None":
        pass
    elif given:
        if given in used:
            raise _taken(doc, given)
    else:
        spec["clusterIP"] = next(
            str(SERVICE_RANGE[number]) for number in range(_FIRST_FREE, 32768) if str(SERVICE_RANGE[number]) not in used
        )
    spec["clusterIPs"] = [spec["clusterIP"]]
    free = given == "None" and not spec.get("selector")  # its endpoints may be of any family
    spec.setdefault("ipFamilies", ["IPv4", "IPv6"] if free else ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "RequireDualStack" if free else "SingleStack")
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _node_ports(doc, store)


def _taken(doc: Doc, address: str) -> Exception:
    why = f"failed to allocate IP {address}: provided IP is already allocated"
    errors: list[FieldError] = [invalid_value("spec.clusterIPs", [address], why)]
    return invalid("", "Service", doc["metadata"]["name"], errors)


def _node_ports(doc: Doc, store: Store) -> None:
    used = {port.get("nodePort") for entry in store.all("services") for port in entry.doc["spec"].get("ports", ())}
    free = (number for number in range(30000, 32768) if number not in used)
    for port in doc["spec"].get("ports", ()):
        if not port.get("nodePort"):
            port["nodePort"] = next(free)


def _count_templates(old: Doc, new: Doc) -> None:
    number = int(old["metadata"].get("annotations", {}).get(_TEMPLATE_GENERATION, 1))
    number += old["spec"]["template"] != new["spec"]["template"]
    annotations = {**new["metadata"].get("annotations", {}), _TEMPLATE_GENERATION: str(number)}
    new["metadata"] = {**new["metadata"], "annotations": annotations}


def _daemon_set(doc: Doc, store: Store) -> None:
    doc["metadata"].setdefault("annotations", {})[_TEMPLATE_GENERATION] = "1"


def _volume_claim(doc: Doc, store: Store) -> None:
    doc["status"] = {"phase": "Pending"}
    doc["metadata"]["finalizers"] = [*doc["metadata"].get("finalizers", ()), "kubernetes.io/pvc-protection"]


def _keep_addresses(old: Doc, new: Doc) -> None:
    for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if name in old["spec"] and name not in new["spec"] and new["spec"].get("type") != "ExternalName":
            new["spec"] = {**new["spec"], name: old["spec"][name]}


def _namespace(doc: Doc, store: Store) -> None:
    doc["spec"] = {"finalizers": ["kubernetes"]}
    doc["status"] = {"phase": "Active"}
    doc["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = doc["metadata"]["name"]


def _job(doc: Doc, store: Store) -> None:
    spec, metadata = doc["spec"], doc["metadata"]
    if spec.get("manualSelector"):
        return
    uid, name = metadata["uid"], metadata["name"]
    labels = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    template = spec["template"]
    given = template.get("metadata", {})
    spec["template"] = {**template, "metadata": {**given, "labels": {**given.get("labels", {}), **labels}}}
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    if not metadata.get("labels"):
        metadata["labels"] = dict(spec["template"]["metadata"]["labels"])


_CREATE: Mapping[str, Callable[[Doc, Store], None]] = {
    "pods": _pod,
    "services": _service,
    "namespaces": _namespace,
    "jobs.batch": _job,
    "daemonsets.apps": _daemon_set,
    "persistentvolumeclaims": _volume_claim,
}
