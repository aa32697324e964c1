"""The second shop: one workload of every kind that a restart can meet, as a table, with the load on all of them.

What a restart costs each is not said here: the proof takes that from the plan. Said is only who surges, and so must
not lose a request, and which findings the plan must have for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from testbed.shop.load import Edge, LoadConfig

CLIENT, ROLL, STOP, ODD, SKEW = "kinds-web", "kinds-roll", "kinds-stop", "kinds-odd", "kinds-skew"
LEAVING = (CLIENT, ROLL, STOP, ODD)
NAMESPACES = (*LEAVING, SKEW)
CALLER, PAUSED = "caller", "paused"
RATE = 2.0
"""Requests a second on each edge."""
Spec = Mapping[str, Any]
_PORT = 8080
_ROLLING: Spec = {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}


@dataclass(frozen=True)
class Member:
    """One workload."""

    name: str
    namespace: str
    what: str
    """For a person: what is peculiar."""
    kind: str = "Deployment"
    replicas: int = 2
    spec: Spec = field(default_factory=dict)
    pod: Spec = field(default_factory=dict)
    container: Spec = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    headless: bool = False
    surges: bool = False
    """The next pod is ready before the last one stops: it must lose nothing."""
    codes: tuple[str, ...] = ()
    """Findings that the plan must have on it."""
    consent: bool = False
    """It leaves only with `--accept-interruption`."""
    served: bool = True
    """It answers requests; what has no pods does not."""

    @property
    def ref(self) -> str:
        """As meshguard names it."""
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def url(self) -> str:
        """Where it answers."""
        renewed = "?maxage=2s" if self.headless else ""
        return f"http://{self.name}.{self.namespace}.svc.cluster.local:{_PORT}{renewed}"


_CLASSIC = {
    "sidecar.istio.io/nativeSidecar": "false",
    "proxy.istio.io/config": "{concurrency: 1, terminationDrainDuration: 15s}",
}
#: As little of the machine for each proxy as it can do with.
_SMALL = {"sidecar.istio.io/proxyCPU": "4m", "proxy.istio.io/config": "{concurrency: 1}"}
_VOLUME = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "archive"}}]}

SERVERS = (
    Member("surge", ROLL, "surges; HPA and PDB around it", spec=_ROLLING, annotations=_CLASSIC, surges=True),
    Member("patient", ROLL, "minReadySeconds", spec={**_ROLLING, "minReadySeconds": 5}, surges=True),
    Member(
        "daemon", ROLL, "DaemonSet that surges", "DaemonSet",
        spec={"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}},
        surges=True,
    ),
    Member(
        "tight", STOP, "maxSurge 0",
        spec={"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}},
    ),
    Member(
        "recreate", STOP, "Recreate", replicas=1,
        spec={"strategy": {"type": "Recreate"}}, codes=("MG301",), consent=True,
    ),
    Member(
        "pinned", STOP, "hostPort", replicas=1,
        container={"ports": [{"name": "http", "containerPort": _PORT, "hostPort": 18080}]},
        codes=("MG301",), consent=True,
    ),
    Member(
        "archive", STOP, "ReadWriteOncePod claim", replicas=1, pod=_VOLUME,
        container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]}, codes=("MG301", "MG313"), consent=True,
    ),
    Member("steps", STOP, "DaemonSet that does not surge", "DaemonSet", codes=("MG301",), consent=True),
    Member("ordered", STOP, "StatefulSet, RollingUpdate, headless", "StatefulSet", headless=True),
    Member(
        "parted", STOP, "StatefulSet with a partition", "StatefulSet",
        spec={"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}},
        codes=("MG306",), consent=True,
    ),
    Member(
        "held", STOP, "StatefulSet, OnDelete", "StatefulSet",
        spec={"updateStrategy": {"type": "OnDelete"}}, codes=("MG306",), consent=True,
    ),
    Member("idle", STOP, "no replicas", replicas=0, codes=("MG308",), served=False),
    Member("mover", ODD, "beside what stays", spec=_ROLLING, surges=True),
    Member(PAUSED, ODD, "paused", replicas=1, codes=("MG303",)),
    Member("alone", ODD, "bare ReplicaSet", "ReplicaSet", replicas=1, codes=("MG301", "MG306"), consent=True),
    Member("bare", ODD, "bare pod", "Pod", replicas=1, codes=("MG305",)),
    Member("rollout", ODD, "Argo Rollout, definition only", "Rollout", codes=("MG104",), served=False),
)  # fmt: skip
"""Everybody but the client."""
METER = Member("meter", SKEW, "is upgraded", replicas=1, spec={"strategy": {"type": "Recreate"}})
STEADY = Member("steady", SKEW, "is not restarted by the upgrade", replicas=1)
SERVED = (*(member for member in SERVERS if member.served), METER)
#: Told about objects that are no workloads of the table.
OTHER_FINDINGS = (
    ("MG304", "Job kinds-odd/job"),
    ("MG308", "CronJob kinds-odd/cron"),
    ("MG309", "PodDisruptionBudget kinds-roll/surge"),
    ("MG310", "HorizontalPodAutoscaler kinds-roll/surge"),
    ("MG213", "VirtualService kinds-roll/surge"),
)


def client() -> Member:
    """The workload that calls all the others."""
    upstreams = {"args": [f"-upstream={member.name}={member.url}" for member in SERVED]}
    return Member(CALLER, CLIENT, "the client that leaves", spec=_ROLLING, container=upstreams, surges=True)


def members() -> tuple[Member, ...]:
    """All workloads."""
    return (client(), *SERVERS, METER, STEADY)


def load(run: str, max_seconds: int) -> LoadConfig:
    """The load: everybody is called by one who stays in the mesh, and by one who leaves."""
    entry = client().url
    direct = (Edge("load", m.name, "http", m.url, RATE) for m in (client(), *SERVED))
    through = (Edge(CALLER, m.name, "http", f"{entry}/call/{m.name}", RATE, entry=CALLER) for m in SERVED)
    return LoadConfig(run, max_seconds, (*direct, *through))


def manifests_of(member: Member) -> Iterator[dict[str, Any]]:
    """A workload, and the service in front of it."""
    if member.served:
        yield _service(member)
    yield _workload(member)


def _service(member: Member) -> dict[str, Any]:
    spec = {"selector": {"app": member.name}, "ports": [{"name": "http", "port": _PORT, "targetPort": _PORT}]}
    if member.headless:
        spec["clusterIP"] = "None"
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(member), "spec": spec}


def _workload(member: Member) -> dict[str, Any]:
    template = {
        "metadata": {
            "labels": {"app": member.name, "version": "v1"},
            "annotations": {**_SMALL, **member.annotations},
        },
        "spec": _pod_spec(member),
    }
    if member.kind == "Pod":
        metadata = {**_metadata(member), **template["metadata"]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    spec = {"selector": {"matchLabels": {"app": member.name}}, "template": template, **member.spec}
    if member.kind != "DaemonSet":
        spec["replicas"] = member.replicas
    if member.kind == "StatefulSet":
        spec["serviceName"] = member.name
    version = "argoproj.io/v1alpha1" if member.kind == "Rollout" else "apps/v1"
    return {"apiVersion": version, "kind": member.kind, "metadata": _metadata(member), "spec": spec}


def _metadata(member: Member) -> dict[str, Any]:
    return {"name": member.name, "namespace": member.namespace, "labels": {"app": member.name}}


def _pod_spec(member: Member) -> dict[str, Any]:
    container = {
        "name": member.name,
        "image": "local/shop:dev",
        "imagePullPolicy": "IfNotPresent",
        "command": ["/shop", "serve", "-name", member.name],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [{"name": "http", "containerPort": _PORT}],
        "lifecycle": {"preStop": {"exec": {"command": ["/shop", "prestop", "-for", "4s"]}}},
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8081}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "4m", "memory": "16Mi"}},
    }
    return {
        "terminationGracePeriodSeconds": 20,
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
        "containers": [{**container, **member.container}],
        **member.pod,
    }
