"""The real istiod for a light cluster: a process beside the API server, that a fake pod stands for.

The webhook, the injection and everything that istiod says on its ports are real. The pod's own node is run by a second
kwok, which serves port-forwards, so whoever asks the pod asks the process. The nodes of the fleet serve none: of their
pods nobody has a proxy.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from testbed import binaries, commands, credentials, istio
from testbed.namespaces import NODE_ADDRESS
from testbed.paths import PACKAGE, RunPaths
from testbed.processes import Processes
from testbed.waiting import wait_until

_NODE = "mesh1"
_KUBELET_PORT = 10250
_WEBHOOK_PORT = 443
"""The service's own port: nobody translates it to the one that the process would listen on by default."""
PROCESSES = ("kwok-mesh", "istiod")
_PODS = "10.101.0.1/16"
_READY_S = 90
_FORWARDED = (8080, 15014)
_UNFIT = ("HorizontalPodAutoscaler", "PodDisruptionBudget", "CustomResourceDefinition")


def install(paths: RunPaths) -> None:
    """Install Istio's own charts and start istiod; return when pods are injected.

    Raises:
        TestbedError: it did not come up.
    """
    manifests = _manifests()
    template = (PACKAGE / "manifests" / "fake-node.yaml").read_text()
    template = template.replace("node: fake", "node: served").replace(", type: kwok", "")
    commands.apply(paths, template.replace("NAME", _NODE))
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": istio.SYSTEM_NAMESPACE}}
    commands.apply_objects(paths, [namespace, *manifests])
    service = credentials.api_client(paths).get(f"/api/v1/namespaces/{istio.SYSTEM_NAMESPACE}/services/istiod")
    commands.run_inside(paths, ["ip", "address", "replace", f"{service['spec']['clusterIP']}/32", "dev", "lo"])
    start(paths)


def start(paths: RunPaths) -> None:
    """Start the processes alone, where everything is installed; return when pods are injected.

    Raises:
        TestbedError: they did not come up.
    """
    processes, deployment = Processes(paths), _deployment(_manifests())
    processes.start("kwok-mesh", _kwok(paths))
    processes.start("istiod", _istiod(paths, deployment), _environment(deployment))
    wait_until(lambda: _injects(paths, processes), _READY_S, "istiod to inject pods", 0.5)


def wait_for_age(paths: RunPaths, seconds: float) -> None:
    """Wait until istiod has run for so long by its pod; one that has just started knows of no proxy yet.

    Raises:
        TestbedError: its pod does not run.
    """
    pods = f"/api/v1/namespaces/{istio.SYSTEM_NAMESPACE}/pods?labelSelector=app%3Distiod"
    client = credentials.api_client(paths)

    def old_enough() -> bool:
        states = [status["state"] for pod in client.get(pods)["items"] for status in pod["status"]["containerStatuses"]]
        started = [datetime.fromisoformat(state["running"]["startedAt"]) for state in states]
        return bool(started) and (datetime.now(UTC) - max(started)).total_seconds() >= seconds

    wait_until(old_enough, seconds + _READY_S, f"istiod to have run for {seconds:.0f} s", 1.0)


def _manifests() -> list[dict[str, Any]]:
    """Istio's charts, the pod of istiod bound to its node."""
    manifests = [m for m in istio.render_default() if m["kind"] not in _UNFIT]
    spec = _deployment(manifests)["spec"]["template"]["spec"]
    spec["nodeSelector"] = {"kubernetes.io/hostname": _NODE}
    spec["tolerations"] = [{"operator": "Exists"}]
    return manifests


def _deployment(manifests: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return next(m for m in manifests if m["kind"] == "Deployment")


def _kwok(paths: RunPaths) -> list[str | Path]:
    forward = {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterPortForward",
        "metadata": {"name": "istiod"},
        "spec": {
            "selector": {"matchNamespaces": [istio.SYSTEM_NAMESPACE]},
            "forwards": [{"ports": [port], "target": {"port": port, "address": "127.0.0.1"}} for port in _FORWARDED],
        },
    }
    forwards = paths.config / "port-forwards.json"
    forwards.write_text(json.dumps(forward))
    return [
        binaries.KWOK.folder / "kwok",
        f"--kubeconfig={credentials.component_kubeconfig(paths, 'kwok')}",
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=served",
        "--node-lease-duration-seconds=40",
        f"--config={binaries.kwok_stages()}",
        f"--config={forwards}",
        f"--cidr={_PODS}",
        f"--node-ip={NODE_ADDRESS}",
        f"--node-port={_KUBELET_PORT}",
        f"--server-address={NODE_ADDRESS}:{_KUBELET_PORT}",
        f"--tls-cert-file={paths.credentials / 'apiserver.crt'}",
        f"--tls-private-key-file={paths.credentials / 'apiserver.key'}",
    ]


def _istiod(paths: RunPaths, deployment: Mapping[str, Any]) -> list[str | Path]:
    given = _container(deployment)["args"]
    return [
        binaries.KUBERNETES.folder / "pilot-discovery",
        *given,
        f"--kubeconfig={credentials.component_kubeconfig(paths, 'status')}",
        f"--httpsAddr=:{_WEBHOOK_PORT}",
    ]


def _environment(deployment: Mapping[str, Any]) -> dict[str, str]:
    """What the chart sets, and what a kubelet would fill in."""
    plain = {entry["name"]: str(entry["value"]) for entry in _container(deployment)["env"] if "value" in entry}
    filled = {"POD_NAME": "istiod", "POD_NAMESPACE": istio.SYSTEM_NAMESPACE, "SERVICE_ACCOUNT": "istiod"}
    return plain | filled


def _container(deployment: Mapping[str, Any]) -> Mapping[str, Any]:
    containers: Iterable[Mapping[str, Any]] = deployment["spec"]["template"]["spec"]["containers"]
    return next(iter(containers))


def _injects(paths: RunPaths, processes: Processes) -> bool:
    processes.require_running("istiod")
    processes.require_running("kwok-mesh")
    return istio.injects(paths, "default")
