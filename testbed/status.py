"""What of a testbed is up, in which version, with how much memory, and where its logs are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from testbed import credentials, prometheus, sandbox, versions
from testbed.api_client import ApiClient
from testbed.memory import MemoryUse, measure
from testbed.paths import MAIN, RunPaths
from testbed.processes import Processes
from testbed.workloads import Workload, workloads

FULL = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
    "prometheus",
    "scrape-targets",
    "forwarder",
    "log-keeper",
)
"""Processes of the full testbed, besides the supervisor."""

LIGHT = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "forwarder", "log-keeper")
"""Processes of a light cluster, besides the supervisor."""


@dataclass(frozen=True)
class Row:
    """One component."""

    component: str
    up: bool
    detail: str
    version: str
    memory_bytes: int
    log: str


@dataclass(frozen=True)
class Status:
    """Everything that ``status`` tells."""

    name: str
    rows: tuple[Row, ...]
    memory_bytes: int
    supervisor_pid: int | None
    kubeconfig: str
    audit_log: str
    container_logs: str
    prometheus_url: str | None

    @property
    def healthy(self) -> bool:
        """Whether every component is up."""
        return all(row.up for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """Return it as an object for ``-o json``."""
        return {"apiVersion": "meshguard.dev/v1", "kind": "TestbedStatus", "healthy": self.healthy, **asdict(self)}


def read(paths: RunPaths) -> Status:
    """Look at a testbed, whatever state it is in."""
    processes = Processes(paths)
    supervisor = processes.supervisor_pid()
    state = sandbox.read_state(paths)
    memory = measure(Path(state.cgroups[0]).name) if supervisor and state else MemoryUse({}, {})
    rows = [*_process_rows(paths, processes, memory)]
    prometheus_port = state.ports[1] if state and len(state.ports) > 1 else None
    if supervisor and prometheus_port and not prometheus.is_ready(prometheus_port):
        rows = [_down(row, "does not answer") if row.component == "prometheus" else row for row in rows]
    if supervisor and paths.kubeconfig.exists():
        client = credentials.api_client(paths)
        if not client.is_ready():
            rows = [_down(row, "not ready") if row.component == "kube-apiserver" else row for row in rows]
        elif paths.name == MAIN:
            rows += _workload_rows(paths, client, memory)
    return Status(
        name=paths.name,
        rows=tuple(rows),
        memory_bytes=memory.total,
        supervisor_pid=supervisor,
        kubeconfig=str(paths.kubeconfig),
        audit_log=str(paths.audit_log),
        container_logs=str(paths.container_logs),
        prometheus_url=f"http://127.0.0.1:{prometheus_port}" if prometheus_port else None,
    )


def _process_rows(paths: RunPaths, processes: Processes, memory: MemoryUse) -> list[Row]:
    states = processes.states()
    supervisor_up = processes.supervisor_pid() is not None
    supervisor = Row(
        component="supervisor",
        up=supervisor_up,
        detail="" if supervisor_up else "not running",
        version=versions.of_component("supervisor"),
        memory_bytes=memory.by_session.get(1, 0),
        log=str(paths.component_log("supervisor")),
    )
    rows = [supervisor]
    for name in FULL if paths.name == MAIN else LIGHT:
        state = states.get(name)
        detail = "not started" if state is None else "" if state.running else f"ended with {state.exit_status}"
        used = memory.by_session.get(state.pid, 0) if state else 0
        up = state is not None and state.running
        rows.append(Row(name, up, detail, versions.of_component(name), used, str(paths.component_log(name))))
    return rows


def _workload_rows(paths: RunPaths, client: ApiClient, memory: MemoryUse) -> list[Row]:
    pods = client.get("/api/v1/pods")["items"]
    return [_workload_row(paths, workload, pods, memory) for workload in workloads(client)]


def _workload_row(paths: RunPaths, workload: Workload, pods: list[dict[str, Any]], memory: MemoryUse) -> Row:
    own = [
        pod["metadata"]["uid"]
        for pod in pods
        if pod["metadata"]["namespace"] == workload.namespace
        and workload.selector.items() <= pod["metadata"].get("labels", {}).items()
    ]
    return Row(
        component=f"{workload.namespace}/{workload.name}",
        up=workload.up,
        detail=f"{workload.ready}/{workload.desired} ready",
        version=versions.of_image(workload.image),
        memory_bytes=sum(memory.by_pod.get(uid, 0) for uid in own),
        log=str(paths.container_logs / f"{workload.namespace}_{workload.name}-*"),
    )


def _down(row: Row, detail: str) -> Row:
    return Row(row.component, False, row.detail or detail, row.version, row.memory_bytes, row.log)
