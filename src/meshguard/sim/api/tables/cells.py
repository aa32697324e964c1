"""What stands in each cell. Source: `printers.go` of Kubernetes; names and order are those of the columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from meshguard.sim.api.status import Doc
from meshguard.sim.api.tables.ages import UNKNOWN, human, seconds_between, since

NONE = "<none>"
Cells = list[Any]


def _name(doc: Doc) -> str:
    return str(doc["metadata"]["name"])


def _age(doc: Doc, now: str) -> str:
    return since(doc["metadata"].get("creationTimestamp"), now)


def created(doc: Doc, now: str) -> Cells:
    """What is shown of kinds that have no columns of their own."""
    return [_name(doc), doc["metadata"].get("creationTimestamp", UNKNOWN)]


def _containers(template: Doc) -> Cells:
    containers = template["spec"].get("containers") or ()
    return [",".join(c["name"] for c in containers), ",".join(c.get("image", "") for c in containers)]


def selector_text(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector as kubectl writes it."""
    if not selector:
        return NONE
    parts = [f"{key}={value}" for key, value in selector.get("matchLabels", {}).items()]
    for expression in selector.get("matchExpressions", ()):
        key, values = expression["key"], ",".join(sorted(expression.get("values", ())))
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[expression["operator"]]
        )
    return ",".join(sorted(parts)) or NONE


def _labels_text(labels: Mapping[str, str] | None) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def deployment(doc: Doc, now: str) -> Cells:
    """Deployment."""
    spec, status = doc["spec"], doc.get("status", {})
    counts = [f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}", status.get("updatedReplicas", 0)]
    counts.append(status.get("availableReplicas", 0))
    return [_name(doc), *counts, _age(doc, now), *_containers(spec["template"]), selector_text(spec.get("selector"))]


def replica_set(doc: Doc, now: str) -> Cells:
    """ReplicaSet."""
    spec, status = doc["spec"], doc.get("status", {})
    counts = [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0)]
    return [_name(doc), *counts, _age(doc, now), *_containers(spec["template"]), selector_text(spec.get("selector"))]


def stateful_set(doc: Doc, now: str) -> Cells:
    """StatefulSet."""
    spec, status = doc["spec"], doc.get("status", {})
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [_name(doc), ready, _age(doc, now), *_containers(spec["template"])]


def daemon_set(doc: Doc, now: str) -> Cells:
    """DaemonSet."""
    spec, status = doc["spec"], doc.get("status", {})
    names = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    counts = [status.get(name, 0) for name in names]
    node_selector = _labels_text(spec["template"]["spec"].get("nodeSelector"))
    shown = [*_containers(spec["template"]), selector_text(spec.get("selector"))]
    return [_name(doc), *counts, node_selector, _age(doc, now), *shown]


def job(doc: Doc, now: str) -> Cells:
    """Job."""
    spec, status = doc["spec"], doc.get("status", {})
    if spec.get("completions") is not None:
        completions = f"{status.get('succeeded', 0)}/{spec['completions']}"
    elif spec.get("parallelism", 0) > 1:
        completions = f"{status.get('succeeded', 0)}/1 of {spec['parallelism']}"
    else:
        completions = f"{status.get('succeeded', 0)}/1"
    duration = ""
    if status.get("startTime"):
        duration = human(seconds_between(status["startTime"], status.get("completionTime", now)))
    shown = [*_containers(spec["template"]), selector_text(spec.get("selector"))]
    return [_name(doc), _job_status(doc), completions, duration, _age(doc, now), *shown]


def _job_status(doc: Doc) -> str:
    true = [c["type"] for c in doc.get("status", {}).get("conditions", ()) if c["status"] == "True"]
    for condition, word in (("Complete", "Complete"), ("Failed", "Failed")):
        if condition in true:
            return word
    if doc["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for condition, word in (
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ):
        if condition in true:
            return word
    return "Running"


def cron_job(doc: Doc, now: str) -> Cells:
    """CronJob."""
    spec, status = doc["spec"], doc.get("status", {})
    last = since(status["lastScheduleTime"], now) if status.get("lastScheduleTime") else NONE
    template = spec["jobTemplate"]["spec"]
    suspend = str(bool(spec.get("suspend"))).capitalize()
    row = [_name(doc), spec["schedule"], spec.get("timeZone") or NONE, suspend, len(status.get("active", ())), last]
    return [*row, _age(doc, now), *_containers(template["template"]), selector_text(template.get("selector"))]


def service(doc: Doc, now: str) -> Cells:
    """Service."""
    spec = doc["spec"]
    ports = ",".join(_port(port) for port in spec.get("ports", ())) or NONE
    kind = spec.get("type", "")
    external = spec.get("externalName", NONE) if kind == "ExternalName" else ",".join(spec.get("externalIPs", ()))
    if kind == "LoadBalancer" and not external:
        external = "<pending>"
    address = spec.get("clusterIP") or NONE
    return [_name(doc), kind, address, external or NONE, ports, _age(doc, now), _labels_text(spec.get("selector"))]


def _port(port: Doc) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{node}/{port['protocol']}"


def endpoints(doc: Doc, now: str) -> Cells:
    """Endpoints."""
    found: list[str] = []
    for subset in doc.get("subsets") or ():
        for address in subset.get("addresses", ()):
            ports = subset.get("ports") or ()
            found += [f"{address['ip']}:{port['port']}" for port in ports] or [address["ip"]]
    return [_name(doc), _first(found, 3, NONE), _age(doc, now)]


def _first(items: list[str], most: int, none: str) -> str:
    if not items:
        return none
    more = f" + {len(items) - most} more..." if len(items) > most else ""
    return ",".join(items[:most]) + more


def endpoint_slice(doc: Doc, now: str) -> Cells:
    """EndpointSlice."""
    ports = [str(port["port"]) for port in doc.get("ports") or () if port.get("port")]
    addresses = [address for endpoint in doc.get("endpoints") or () for address in endpoint.get("addresses", ())]
    shown = [_first(ports, 3, "<unset>"), _first(addresses, 3, "<unset>")]
    return [_name(doc), doc.get("addressType", ""), *shown, _age(doc, now)]


def namespace(doc: Doc, now: str) -> Cells:
    """Namespace."""
    return [_name(doc), doc.get("status", {}).get("phase", ""), _age(doc, now)]


def node(doc: Doc, now: str) -> Cells:
    """Node."""
    status, info = doc.get("status", {}), doc.get("status", {}).get("nodeInfo", {})
    ready = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), None)
    words = ["Unknown" if ready is None else "Ready" if ready["status"] == "True" else "NotReady"]
    if doc["spec"].get("unschedulable"):
        words.append("SchedulingDisabled")
    prefix = "node-role.kubernetes.io/"
    roles = sorted(key.removeprefix(prefix) for key in doc["metadata"].get("labels", {}) if key.startswith(prefix))
    addresses = {address["type"]: address["address"] for address in status.get("addresses", ())}
    shown = [info.get(name) or UNKNOWN for name in ("osImage", "kernelVersion", "containerRuntimeVersion")]
    row = [_name(doc), ",".join(words), ",".join(roles) or NONE, _age(doc, now), info.get("kubeletVersion", "")]
    return [*row, addresses.get("InternalIP", NONE), addresses.get("ExternalIP", NONE), *shown]


def event(doc: Doc, now: str) -> Cells:
    """Event."""
    involved, source = doc.get("involvedObject", {}), doc.get("source", {})
    target = f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"
    first, last = doc.get("firstTimestamp") or doc.get("eventTime"), doc.get("lastTimestamp") or doc.get("eventTime")
    place = ", ".join(filter(None, (source.get("component") or doc.get("reportingComponent"), source.get("host"))))
    row = [since(last, now), doc.get("type", ""), doc.get("reason", ""), target, involved.get("fieldPath", ""), place]
    return [*row, str(doc.get("message", "")).strip(), since(first, now), doc.get("count") or 1, _name(doc)]


def config_map(doc: Doc, now: str) -> Cells:
    """ConfigMap."""
    return [_name(doc), len(doc.get("data", {})) + len(doc.get("binaryData", {})), _age(doc, now)]


def secret(doc: Doc, now: str) -> Cells:
    """Secret."""
    return [_name(doc), doc.get("type", ""), len(doc.get("data", {})), _age(doc, now)]


def service_account(doc: Doc, now: str) -> Cells:
    """ServiceAccount."""
    return [_name(doc), _age(doc, now)]


def autoscaler(doc: Doc, now: str) -> Cells:
    """HorizontalPodAutoscaler."""
    spec, status = doc["spec"], doc.get("status", {})
    target = spec["scaleTargetRef"]
    seen = {
        m.get("resource", {}).get("name"): m.get("resource", {}).get("current", {})
        for m in status.get("currentMetrics") or ()
    }
    targets = [_metric(metric, seen) for metric in spec.get("metrics", ())]
    row = [_name(doc), f"{target['kind']}/{target['name']}", ", ".join(targets[:2]) or NONE]
    least = spec.get("minReplicas")
    least = "<unset>" if least is None else str(least)
    return [*row, least, spec["maxReplicas"], status.get("currentReplicas", 0), _age(doc, now)]


def _metric(metric: Doc, seen: Mapping[str, Doc]) -> str:
    resource = metric.get("resource", {})
    now = seen.get(resource.get("name"), {}).get("averageUtilization")
    shown = UNKNOWN if now is None else f"{now}%"
    return f"{resource.get('name')}: {shown}/{resource.get('target', {}).get('averageUtilization')}%"


def disruption_budget(doc: Doc, now: str) -> Cells:
    """PodDisruptionBudget."""
    spec = doc.get("spec", {})
    bounds = [str(spec[name]) if name in spec else "N/A" for name in ("minAvailable", "maxUnavailable")]
    return [_name(doc), *bounds, doc.get("status", {}).get("disruptionsAllowed", 0), _age(doc, now)]


def network_policy(doc: Doc, now: str) -> Cells:
    """NetworkPolicy."""
    return [_name(doc), selector_text(doc.get("spec", {}).get("podSelector")), _age(doc, now)]


def role_binding(doc: Doc, now: str) -> Cells:
    """RoleBinding and ClusterRoleBinding."""
    reference, subjects = doc["roleRef"], doc.get("subjects") or ()

    def named(kind: str, show: Callable[[Doc], str]) -> str:
        return ", ".join(show(subject) for subject in subjects if subject["kind"] == kind)

    users, groups = named("User", lambda s: str(s["name"])), named("Group", lambda s: str(s["name"]))
    accounts = named("ServiceAccount", lambda s: f"{s.get('namespace', '')}/{s['name']}")
    return [_name(doc), f"{reference['kind']}/{reference['name']}", _age(doc, now), users, groups, accounts]


def lease(doc: Doc, now: str) -> Cells:
    """Lease."""
    return [_name(doc), doc.get("spec", {}).get("holderIdentity", ""), _age(doc, now)]


def webhooks(doc: Doc, now: str) -> Cells:
    """Webhook configurations."""
    return [_name(doc), len(doc.get("webhooks", ())), _age(doc, now)]


def controller_revision(doc: Doc, now: str) -> Cells:
    """ControllerRevision."""
    owner = next((o for o in doc["metadata"].get("ownerReferences", ()) if o.get("controller")), None)
    group = owner["apiVersion"].partition("/")[0] if owner else ""
    shown = f"{owner['kind'].lower()}.{group}/{owner['name']}" if owner else NONE
    return [_name(doc), shown, doc.get("revision", 0), _age(doc, now)]


def volume_claim(doc: Doc, now: str) -> Cells:
    """PersistentVolumeClaim."""
    spec, status = doc["spec"], doc.get("status", {})
    phase = "Terminating" if doc["metadata"].get("deletionTimestamp") else status.get("phase", "")
    modes = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    bound = bool(spec.get("volumeName"))
    access = ",".join(modes.get(mode, mode) for mode in status.get("accessModes", ())) if bound else ""
    capacity = status.get("capacity", {}).get("storage", "") if bound else ""
    row = [_name(doc), phase, spec.get("volumeName", ""), capacity, access, spec.get("storageClassName", "")]
    return [*row, spec.get("volumeAttributesClassName") or "<unset>", _age(doc, now), spec.get("volumeMode", "<unset>")]


def resource_quota(doc: Doc, now: str) -> Cells:
    """ResourceQuota."""
    status = doc.get("status", {})
    hard, used = status.get("hard", {}), status.get("used", {})
    shown = {name: f"{name}: {used.get(name, 0)}/{most}" for name, most in sorted(hard.items())}
    limits = ", ".join(text for name, text in shown.items() if name.startswith("limits"))
    return [_name(doc), ", ".join(t for n, t in shown.items() if not n.startswith("limits")), limits, _age(doc, now)]


def priority_class(doc: Doc, now: str) -> Cells:
    """PriorityClass."""
    policy = doc.get("preemptionPolicy", "PreemptLowerPriority")
    return [_name(doc), doc.get("value", 0), bool(doc.get("globalDefault")), _age(doc, now), policy]
