"""The columns of the built-in kinds, as data. Source: `pkg/printers/internalversion/printers.go`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from meshguard.sim.api.status import Doc
from meshguard.sim.api.tables import cells, pods

Row = Callable[[Doc, str], list[Any]]


@dataclass(frozen=True, slots=True)
class Column:
    """One column; those with a priority are shown by `-o wide` only."""

    name: str
    type: str = "string"
    format: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Printer:
    """How a kind is shown."""

    columns: tuple[Column, ...]
    row: Row


def _columns(names: str, wide: str = "") -> tuple[Column, ...]:
    """Columns by their names, `:i` for an integer and `:b` for a truth; the first is the object's name."""
    out = [Column("Name", "string", "name")]
    for text, priority in ((names, 0), (wide, 1)):
        for name in filter(None, text.split("|")):
            plain, _, mark = name.partition(":")
            out.append(Column(plain, {"i": "integer", "b": "boolean"}.get(mark, "string"), "", priority))
    return tuple(out)


_CONTAINERS = "Containers|Images|Selector"

PRINTERS: Mapping[str, Printer] = {
    "pods": Printer(_columns("Ready|Status|Restarts|Age", "IP|Node|Nominated Node|Readiness Gates"), pods.row),
    "deployments.apps": Printer(_columns("Ready|Up-to-date|Available|Age", _CONTAINERS), cells.deployment),
    "replicasets.apps": Printer(_columns("Desired:i|Current:i|Ready:i|Age", _CONTAINERS), cells.replica_set),
    "statefulsets.apps": Printer(_columns("Ready|Age", "Containers|Images"), cells.stateful_set),
    "daemonsets.apps": Printer(
        _columns("Desired:i|Current:i|Ready:i|Up-to-date:i|Available:i|Node Selector|Age", _CONTAINERS),
        cells.daemon_set,
    ),
    "jobs.batch": Printer(_columns("Status|Completions|Duration|Age", _CONTAINERS), cells.job),
    "cronjobs.batch": Printer(
        _columns("Schedule|Timezone|Suspend:b|Active:i|Last Schedule|Age", _CONTAINERS), cells.cron_job
    ),
    "services": Printer(_columns("Type|Cluster-IP|External-IP|Port(s)|Age", "Selector"), cells.service),
    "endpoints": Printer(_columns("Endpoints|Age"), cells.endpoints),
    "endpointslices.discovery.k8s.io": Printer(_columns("AddressType|Ports|Endpoints|Age"), cells.endpoint_slice),
    "namespaces": Printer(_columns("Status|Age"), cells.namespace),
    "nodes": Printer(
        _columns("Status|Roles|Age|Version", "Internal-IP|External-IP|OS-Image|Kernel-Version|Container-Runtime"),
        cells.node,
    ),
    "events": Printer(
        (
            Column("Last Seen"),
            Column("Type"),
            Column("Reason"),
            Column("Object"),
            Column("Subobject", priority=1),
            Column("Source", priority=1),
            Column("Message"),
            Column("First Seen", priority=1),
            Column("Count", priority=1),
            Column("Name", "string", "name", 1),
        ),
        cells.event,
    ),
    "configmaps": Printer(_columns("Data|Age"), cells.config_map),
    "secrets": Printer(_columns("Type|Data|Age"), cells.secret),
    "serviceaccounts": Printer(_columns("Age"), cells.service_account),
    "horizontalpodautoscalers.autoscaling": Printer(
        _columns("Reference|Targets|MinPods|MaxPods|Replicas|Age"), cells.autoscaler
    ),
    "poddisruptionbudgets.policy": Printer(
        _columns("Min Available|Max Unavailable|Allowed Disruptions:i|Age"), cells.disruption_budget
    ),
    "networkpolicies.networking.k8s.io": Printer(_columns("Pod-Selector|Age"), cells.network_policy),
    "rolebindings.rbac.authorization.k8s.io": Printer(
        _columns("Role|Age", "Users|Groups|ServiceAccounts"), cells.role_binding
    ),
    "clusterrolebindings.rbac.authorization.k8s.io": Printer(
        _columns("Role|Age", "Users|Groups|ServiceAccounts"), cells.role_binding
    ),
    "leases.coordination.k8s.io": Printer(_columns("Holder|Age"), cells.lease),
    "mutatingwebhookconfigurations.admissionregistration.k8s.io": Printer(_columns("Webhooks:i|Age"), cells.webhooks),
    "validatingwebhookconfigurations.admissionregistration.k8s.io": Printer(_columns("Webhooks:i|Age"), cells.webhooks),
    "controllerrevisions.apps": Printer(_columns("Controller|Revision:i|Age"), cells.controller_revision),
    "persistentvolumeclaims": Printer(
        _columns("Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age", "VolumeMode"),
        cells.volume_claim,
    ),
    "resourcequotas": Printer(_columns("Request|Limit|Age"), cells.resource_quota),
    "priorityclasses.scheduling.k8s.io": Printer(
        _columns("Value:i|Global-Default:b|Age|PreemptionPolicy"), cells.priority_class
    ),
}
DEFAULT = Printer((Column("Name", "string", "name"), Column("Created At", "date")), cells.created)
