"""The full testbed: one real node, Istio, Prometheus and the sample shop."""

from __future__ import annotations

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from testbed import (
    binaries,
    commands,
    controlplane,
    credentials,
    envoy,
    images,
    istio,
    node,
    packages,
    prometheus,
    sample_shop,
    sandbox,
)
from testbed.errors import TestbedError
from testbed.paths import PACKAGE, RunPaths
from testbed.processes import Processes
from testbed.progress import Progress
from testbed.waiting import wait_until
from testbed.workloads import not_ready

_MANIFESTS = PACKAGE / "manifests"
_READY_SECONDS = 180


def require_machine() -> None:
    """Refuse a machine that cannot carry a testbed, with a sentence that says why.

    Raises:
        TestbedError: not Linux on x86-64, or not root.
    """
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise TestbedError("the testbed needs Linux on x86-64")
    if os.geteuid() != 0:
        raise TestbedError("the testbed needs root: it makes namespaces and mounts")


def prepare(progress: Progress) -> list[Path]:
    """Install, fetch and build whatever is missing.

    Returns:
        The archives of the container images.
    """
    packages.ensure(progress)
    envoy.ensure(progress)
    binaries.ensure(progress)
    sample_shop.ensure(progress)
    return images.ensure(progress)


def start(paths: RunPaths, progress: Progress) -> None:
    """Bring everything up from nothing, and wait until the shop is ready.

    Raises:
        TestbedError: something did not come up; what runs is left running for a look at its logs.
    """
    archives = prepare(progress)
    with progress.step("namespaces, forwarder"):
        state = sandbox.create(paths, forwarded_ports=2)
        api_port, prometheus_port = state.ports
        credentials.create(paths, api_port)
        processes = Processes(paths)
        start_helpers(paths, processes, sockets=2)
    with ThreadPoolExecutor(2) as pool:
        images_loaded = pool.submit(_start_containerd, paths, processes, archives, progress)
        with progress.step("etcd, API server, controllers"):
            controlplane.start(paths, processes, api_port)
        prometheus.start(paths, processes, prometheus_port)
        istio_created = pool.submit(_create_system, paths, progress)
        images_loaded.result()
        node.start_kubelet(paths, processes)
        istio_created.result()
    with progress.step("istiod injects"):
        istio.wait_for_injection(paths)
    with progress.step("gateway and shop ready"):
        istio.install_gateway(paths)
        sample_shop.install(paths)
        client = credentials.api_client(paths)
        wait_until(
            lambda: not not_ready(client),
            _READY_SECONDS,
            "all workloads",
            interval_seconds=0.5,
            detail=lambda: "; ".join(not_ready(client)),
        )
        if sample_shop.exists():
            wait_until(lambda: sample_shop.answers(paths), _READY_SECONDS, "the shop to answer", 0.5)


def start_helpers(paths: RunPaths, processes: Processes, sockets: int) -> None:
    """Start the forwarder and the log keeper, that every kind of testbed has."""
    numbers = [str(10 + position) for position in range(sockets)]
    processes.start_python("forwarder", "testbed.forwarder", *numbers, pass_sockets=True)
    pod_logs = paths.var_log / "pods"
    pod_logs.mkdir()
    processes.start_python("log-keeper", "testbed.log_keeper", pod_logs, paths.container_logs)


def _start_containerd(paths: RunPaths, processes: Processes, archives: list[Path], progress: Progress) -> None:
    with progress.step("containerd, images"):
        node.start_containerd(paths, processes, archives)


def _create_system(paths: RunPaths, progress: Progress) -> None:
    with progress.step("CoreDNS, istiod created"):
        for name in ("users.yaml", "meshguard-system.yaml", "coredns.yaml"):
            commands.apply(paths, (_MANIFESTS / name).read_text())
        istio.install(paths)
