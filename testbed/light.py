"""Light clusters: control plane and fake nodes (kwok) only, for tests that need several clusters at once."""

from __future__ import annotations

from pathlib import Path

from testbed import binaries, commands, controlplane, credentials, full, istio, packages, sandbox
from testbed.paths import PACKAGE, RunPaths
from testbed.processes import Processes
from testbed.progress import Progress
from testbed.waiting import wait_until

_NODES = 3
_FAKE_PODS = "10.100.0.1/16"


def start(paths: RunPaths, progress: Progress) -> None:
    """Bring a light cluster up from nothing, with Istio's resource definitions but without istiod.

    Raises:
        TestbedError: something did not come up.
    """
    packages.ensure(progress)
    binaries.ensure(progress)
    with progress.step(f"light cluster '{paths.name}'"):
        state = sandbox.create(paths, forwarded_ports=1)
        credentials.create(paths, state.ports[0])
        processes = Processes(paths)
        full.start_helpers(paths, processes, sockets=1)
        controlplane.start(paths, processes, state.ports[0])
        for name in ("users.yaml", "meshguard-system.yaml"):
            commands.apply(paths, (PACKAGE / "manifests" / name).read_text())
        istio.install_definitions(paths)
        start_kwok(paths, processes)
        add_nodes(paths, _NODES)


def start_kwok(paths: RunPaths, processes: Processes) -> None:
    """Start what the fake nodes live by."""
    kwok: list[str | Path] = [
        binaries.KWOK.folder / "kwok",
        f"--kubeconfig={credentials.component_kubeconfig(paths, 'kwok')}",
        "--manage-all-nodes=false",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--node-lease-duration-seconds=40",
        f"--config={binaries.kwok_stages()}",
        f"--cidr={_FAKE_PODS}",
    ]
    processes.start("kwok", kwok)


def add_nodes(paths: RunPaths, count: int) -> None:
    """Make sure that there are so many fake nodes, and wait until all are ready.

    Raises:
        TestbedError: they were not in time.
    """
    processes = Processes(paths)
    template = (PACKAGE / "manifests" / "fake-node.yaml").read_text()
    commands.apply(paths, "---\n".join(template.replace("NAME", f"fake{i}") for i in range(1, count + 1)))
    client = credentials.api_client(paths)

    def all_ready() -> bool:
        processes.require_running("kwok")
        nodes = client.get("/api/v1/nodes?labelSelector=type%3Dkwok")["items"]
        return len(nodes) >= count and all(
            condition["status"] == "True"
            for node in nodes
            for condition in node.get("status", {}).get("conditions", [{"type": "Ready", "status": "Unknown"}])
            if condition["type"] == "Ready"
        )

    wait_until(all_ready, 60, "the fake nodes to be ready")
