"""Endpoints and EndpointSlices: the pods behind each Service. Source: `pkg/controller/endpoint{,slice}`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from meshguard.sim.api.controllers.hands import Hands, is_ready, key_of, owner_reference
from meshguard.sim.api.names import random_suffix
from meshguard.sim.api.objects import Objects
from meshguard.sim.api.status import Doc
from meshguard.sim.api.store import Event, Key

SLICES = "endpointslices.discovery.k8s.io"
_MANAGED = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
_MOST = 100


class Endpoints:
    """Keeps both kinds in step with the pods."""

    def __init__(self, objects: Objects) -> None:
        self._hands = Hands(objects, "endpoint-controller")

    def concerned(self, storage: str, event: Event) -> Iterable[Key]:
        """The Service itself, or those that select a pod (before or after its change)."""
        if storage == "services":
            yield event.new.key
        elif storage == "pods":
            labels = [entry.doc["metadata"].get("labels", {}) for entry in (event.new, event.old) if entry]
            for entry in self._hands.store.all("services", event.new.key[0]):
                selector = entry.doc["spec"].get("selector")
                if selector and any(selector.items() <= found.items() for found in labels):
                    yield entry.key

    def reconcile(self, key: Key) -> float | None:
        """Write what has changed."""
        service = self._hands.get("services", key)
        if service is None:
            self._hands.delete("endpoints", key)
            for entry in self._slices(key):
                self._hands.delete(SLICES, key_of(entry))
            return None
        selector = service["spec"].get("selector")
        if not selector or service["spec"].get("type") == "ExternalName":
            return None
        pods = [
            entry.doc
            for entry in self._hands.store.all("pods", key[0])
            if selector.items() <= entry.doc["metadata"].get("labels", {}).items()
            and entry.doc["status"].get("podIP")
            and entry.doc["status"].get("phase") not in ("Succeeded", "Failed")
        ]
        self._write_endpoints(service, pods)
        self._write_slices(service, pods)
        return None

    def _slices(self, key: Key) -> list[Doc]:
        return [
            entry.doc
            for entry in self._hands.store.all(SLICES, key[0])
            if entry.doc["metadata"].get("labels", {}).get("kubernetes.io/service-name") == key[1]
        ]

    def _write_endpoints(self, service: Doc, pods: list[Doc]) -> None:
        publish = service["spec"].get("publishNotReadyAddresses")
        ready = [_address(pod) for pod in pods if (is_ready(pod) or publish) and not _going(pod)]
        waiting = [_address(pod) for pod in pods if not (is_ready(pod) or publish) and not _going(pod)]
        subset: Doc = {name: found for name, found in (("addresses", ready), ("notReadyAddresses", waiting)) if found}
        ports = _ports(service, pods[0]) if pods else []
        if subset and ports:
            subset["ports"] = ports
        subsets = [subset] if subset else []
        key, labels = key_of(service), dict(service["metadata"].get("labels", {}))
        labels["endpoints.kubernetes.io/managed-by"] = "endpoint-controller"
        old = self._hands.get("endpoints", key)
        if old is None:
            marked = {"endpoints.kubernetes.io/last-change-trigger-time": service["metadata"]["creationTimestamp"]}
            body: Doc = {"metadata": {"name": key[1], "labels": labels, "annotations": marked}}
            self._hands.create("endpoints", key[0], {**body, **({"subsets": subsets} if subsets else {})})
        elif old.get("subsets", []) != subsets:
            self._hands.update("endpoints", key, {"subsets": subsets})

    def _write_slices(self, service: Doc, pods: list[Doc]) -> None:
        key, found = key_of(service), self._slices(key_of(service))
        endpoints = [_endpoint(service, pod) for pod in pods]
        parts = [endpoints[at : at + _MOST] for at in range(0, len(endpoints), _MOST)] or [[]]
        ports = _ports(service, pods[0], named=True) if pods else []
        for number, part in enumerate(parts):
            if number < len(found):
                if found[number].get("endpoints", []) != part or (part and found[number].get("ports") != ports):
                    self._hands.update(SLICES, key_of(found[number]), {"endpoints": part, "ports": ports})
                continue
            labels = {**service["metadata"].get("labels", {}), **_MANAGED, "kubernetes.io/service-name": key[1]}
            if service["spec"].get("clusterIP") == "None":
                labels["service.kubernetes.io/headless"] = ""
            owner = owner_reference(self._hands.resource("services"), service)
            metadata = {
                "name": f"{key[1]}-{random_suffix()}",
                "generateName": f"{key[1]}-",
                "labels": labels,
                "ownerReferences": [owner],
            }
            body: Doc = {"metadata": metadata, "addressType": "IPv4", "endpoints": part, "ports": ports}
            self._hands.create(SLICES, key[0], body)
        for doc in found[len(parts) :]:
            self._hands.delete(SLICES, key_of(doc))


def _going(pod: Doc) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _target(pod: Doc) -> Doc:
    metadata = pod["metadata"]
    return {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]}


def _address(pod: Doc) -> Doc:
    return {"ip": pod["status"]["podIP"], "nodeName": pod["spec"]["nodeName"], "targetRef": _target(pod)}


def _endpoint(service: Doc, pod: Doc) -> Doc:
    serving, going = is_ready(pod), _going(pod)
    publish = bool(service["spec"].get("publishNotReadyAddresses"))
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": publish or (serving and not going), "serving": serving, "terminating": going},
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": _target(pod),
    }


def _ports(service: Doc, pod: Doc, *, named: bool = False) -> list[Doc]:
    """The Service's ports as the pod listens on them."""
    out = []
    for port in service["spec"].get("ports", ()):
        number = _number(port["targetPort"], pod)
        if number is not None:
            name: Mapping[str, Any] = {"name": port.get("name", "")} if named or port.get("name") else {}
            shown: Doc = {**name, "port": number, "protocol": port["protocol"]}
            if port.get("appProtocol"):
                shown["appProtocol"] = port["appProtocol"]
            out.append(shown)
    return out


def _number(target: int | str, pod: Doc) -> int | None:
    if isinstance(target, int):
        return target
    ports = (port for container in pod["spec"]["containers"] for port in container.get("ports", ()))
    return next((port["containerPort"] for port in ports if port.get("name") == target), None)
