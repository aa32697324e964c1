"""What holds for an object as a whole, and what may not change in it, by its kind.

Source: `pkg/apis/*/validation` of Kubernetes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from meshguard.sim.api.names import subdomain_error
from meshguard.sim.api.selectors import selects
from meshguard.sim.api.status import FieldError, forbidden_field, invalid_value, required, shown, unsupported
from meshguard.sim.api.validation.structs import selector_errors

Doc = Mapping[str, Any]
Rule = Callable[[Doc], Iterator[FieldError]]
Update = Callable[[Doc, Doc], Iterator[FieldError]]

IMMUTABLE = "field is immutable"


def _workload(doc: Doc) -> Iterator[FieldError]:
    spec = doc["spec"]
    selector, template = spec.get("selector"), spec["template"]
    labels = template.get("metadata", {}).get("labels") or {}
    if selector is None:
        yield required("spec.selector")
    if selector == {}:
        yield invalid_value("spec.selector", selector, "empty selector is invalid for deployment")
    wrong = next(selector_errors(selector or {}, ""), None)
    if wrong is not None:
        yield invalid_value("spec.selector", selector, "invalid label selector")
    elif not selects(selector, labels):
        why = "`selector` does not match template `labels`"
        yield invalid_value("spec.template.metadata.labels", labels or None, why)
    policy = template["spec"].get("restartPolicy")
    if policy != "Always":
        yield unsupported("spec.template.spec.restartPolicy", policy, ["Always"])


def _deployment(doc: Doc) -> Iterator[FieldError]:
    yield from _workload(doc)
    strategy = doc["spec"]["strategy"]
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate" and rolling is not None:
        why = "may not be specified when strategy `type` is 'Recreate'"
        yield forbidden_field("spec.strategy.rollingUpdate", why)
    if rolling and _none(rolling.get("maxUnavailable")) and _none(rolling.get("maxSurge")):
        why = "may not be 0 when `maxSurge` is 0"
        yield invalid_value("spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"], why)


def _none(value: Any) -> bool:
    return value in (0, "0%")


def _job(doc: Doc) -> Iterator[FieldError]:
    yield from _run_to_completion(doc["spec"]["template"], "spec.template")


def _cron_job(doc: Doc) -> Iterator[FieldError]:
    yield from _run_to_completion(doc["spec"]["jobTemplate"]["spec"]["template"], "spec.jobTemplate.spec.template")


def _run_to_completion(template: Doc, path: str) -> Iterator[FieldError]:
    policy = template["spec"].get("restartPolicy")
    if policy == "Always":
        yield FieldError(
            f"{path}.spec.restartPolicy",
            "FieldValueRequired",
            'Required value: valid values: "OnFailure", "Never"',
        )


def _service(doc: Doc) -> Iterator[FieldError]:
    spec = doc["spec"]
    ports, kind = spec.get("ports") or [], spec.get("type")
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    names: set[str] = set()
    for number, port in enumerate(ports):
        name = port.get("name", "")
        if len(ports) > 1 and not name:
            yield required(f"spec.ports[{number}].name")
        elif name and name in names:
            yield FieldError(f"spec.ports[{number}].name", "FieldValueDuplicate", f"Duplicate value: {shown(name)}")
        names.add(name)
    if kind == "ExternalName" and not spec.get("externalName"):
        yield required("spec.externalName")


def _autoscaler(doc: Doc) -> Iterator[FieldError]:
    spec = doc["spec"]
    if spec.get("minReplicas", 1) < 1:
        yield invalid_value("spec.minReplicas", spec["minReplicas"], "must be greater than or equal to 1")
    if spec.get("maxReplicas", 0) < 1:
        yield required("spec.maxReplicas", "must be set and greater than 0")
    if spec.get("maxReplicas", 0) < spec.get("minReplicas", 1):
        why = "must be greater than or equal to `minReplicas`"
        yield invalid_value("spec.maxReplicas", spec.get("maxReplicas", 0), why)
    if not spec["scaleTargetRef"].get("apiVersion"):
        yield invalid_value("spec.scaleTargetRef.apiVersion", "", "apiVersion must specify API group")


def _disruption_budget(doc: Doc) -> Iterator[FieldError]:
    spec = doc.get("spec", {})
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield invalid_value("spec", _internal_budget(spec), "minAvailable and maxUnavailable cannot be both set")


def _internal_budget(spec: Doc) -> Doc:
    """As Go shows the internal type, whose fields have no JSON names."""
    names = ("minAvailable", "selector", "maxUnavailable", "unhealthyPodEvictionPolicy")
    return {name[0].upper() + name[1:]: spec.get(name) for name in names}


def _config_map(doc: Doc) -> Iterator[FieldError]:
    for key in doc.get("data", {}):
        if not key or len(key) > 253 or not all(c.isalnum() or c in "-._" for c in key):
            why = (
                "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
                "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
            )
            yield invalid_value(f"data[{key}]", key, why)
    size = sum(len(value.encode()) for value in doc.get("data", {}).values())
    if size > 1024 * 1024:
        yield FieldError("", "FieldValueTooLong", "Too long: may not be more than 1048576 bytes")


def _role_binding(doc: Doc) -> Iterator[FieldError]:
    reference = doc["roleRef"]
    if reference.get("kind") not in ("Role", "ClusterRole"):
        yield unsupported("roleRef.kind", reference.get("kind", ""), ["Role", "ClusterRole"])
    if not reference.get("name"):
        yield required("roleRef.name")
    for number, subject in enumerate(doc.get("subjects") or ()):
        if not subject.get("name"):
            yield required(f"subjects[{number}].name")
        if subject.get("kind") not in ("ServiceAccount", "User", "Group"):
            words = ["ServiceAccount", "User", "Group"]
            yield unsupported(f"subjects[{number}].kind", subject.get("kind", ""), words)


def _definition(doc: Doc) -> Iterator[FieldError]:
    spec = doc["spec"]
    expected = f"{spec.get('names', {}).get('plural')}.{spec.get('group')}"
    if doc["metadata"].get("name") != expected:
        yield invalid_value("metadata.name", doc["metadata"].get("name"), 'must be spec.names.plural+"."+spec.group')
    if subdomain_error(spec.get("group", "")):
        yield invalid_value("spec.group", spec.get("group", ""), subdomain_error(spec.get("group", "")))


OBJECTS: Mapping[str, Rule] = {
    "deployments.apps": _deployment,
    "replicasets.apps": _workload,
    "statefulsets.apps": _workload,
    "daemonsets.apps": _workload,
    "jobs.batch": _job,
    "cronjobs.batch": _cron_job,
    "services": _service,
    "configmaps": _config_map,
    "horizontalpodautoscalers.autoscaling": _autoscaler,
    "poddisruptionbudgets.policy": _disruption_budget,
    "rolebindings.rbac.authorization.k8s.io": _role_binding,
    "clusterrolebindings.rbac.authorization.k8s.io": _role_binding,
    "customresourcedefinitions.apiextensions.k8s.io": _definition,
}


def fixed(*path: str, why: str = IMMUTABLE) -> Update:
    """This field may not change."""

    def check(old: Doc, new: Doc) -> Iterator[FieldError]:
        before, after = _at(old, path), _at(new, path)
        if before != after:
            yield invalid_value(".".join(path), after, why)

    return check


def _at(doc: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        doc = doc.get(key) if isinstance(doc, Mapping) else None
    return doc


def _stateful_set(old: Doc, new: Doc) -> Iterator[FieldError]:
    free = (
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    )
    if _without(old["spec"], free) != _without(new["spec"], free):
        words = ", ".join(f"'{name}'" for name in free[:-1])
        why = f"updates to statefulset spec for fields other than {words} and '{free[-1]}' are forbidden"
        yield forbidden_field("spec", why)


def _without(spec: Doc, names: tuple[str, ...]) -> Doc:
    return {key: value for key, value in spec.items() if key not in names}


def _pod(old: Doc, new: Doc) -> Iterator[FieldError]:
    if _pod_frame(old["spec"]) != _pod_frame(new["spec"]):
        why = (
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
        )
        yield forbidden_field("spec", why)


def _pod_frame(spec: Doc) -> Doc:
    out = dict(_without(spec, ("activeDeadlineSeconds", "tolerations", "nodeName")))
    for kind in ("containers", "initContainers"):
        out[kind] = [_without(container, ("image",)) for container in spec.get(kind, ())]
    return out


def _service_update(old: Doc, new: Doc) -> Iterator[FieldError]:
    before, after = old["spec"].get("clusterIP"), new["spec"].get("clusterIP")
    if before and before != after and new["spec"].get("type") != "ExternalName":
        yield invalid_value("spec.clusterIPs[0]", [after] if after else None, "may not change once set")


def _config_map_update(old: Doc, new: Doc) -> Iterator[FieldError]:
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield forbidden_field("immutable", "field is immutable when `immutable` is set")
    for name in ("data", "binaryData"):
        if old.get(name) != new.get(name):
            yield forbidden_field(name, "field is immutable when `immutable` is set")


def _role_reference(old: Doc, new: Doc) -> Iterator[FieldError]:
    if old["roleRef"] != new["roleRef"]:
        internal = {name: new["roleRef"].get(name[0].lower() + name[1:], "") for name in ("Kind", "Name")}
        shown_ = {"APIGroup": new["roleRef"].get("apiGroup", ""), **internal}
        yield invalid_value("roleRef", shown_, "cannot change roleRef")


UPDATES: Mapping[str, Update] = {
    "deployments.apps": fixed("spec", "selector"),
    "replicasets.apps": fixed("spec", "selector"),
    "daemonsets.apps": fixed("spec", "selector"),
    "statefulsets.apps": _stateful_set,
    "jobs.batch": fixed("spec", "template"),
    "pods": _pod,
    "services": _service_update,
    "configmaps": _config_map_update,
    "secrets": fixed("type"),
    "rolebindings.rbac.authorization.k8s.io": _role_reference,
    "clusterrolebindings.rbac.authorization.k8s.io": _role_reference,
}
