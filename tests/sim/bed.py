"""A simulated cluster that looks like a testbed, so that the tests of the real API server run on it unchanged."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meshguard.sim import clock_server
from meshguard.sim.api.audit import Audit
from meshguard.sim.api.certificates import issue, server_side
from meshguard.sim.api.cluster import SimulatedCluster
from meshguard.sim.api.http import HttpFront, serving
from meshguard.sim.api.people import Tokens, write_kubeconfig
from meshguard.sim.api.serve import OWN_NAMESPACE
from meshguard.sim.clock import SimClock
from meshguard.sim.pods import Listeners
from tests.sim.asking import deployment

NAMESPACES = ("shop-web", "shop-core", "shop-pay")


class SimBed:
    """Has of a testbed what its users need when they want no traffic."""

    def __init__(self, folder: Path) -> None:
        self.kubeconfig, self.audit_log = folder / "kubeconfig", folder / "audit.log"
        self._program = shutil.which("kubectl")

    def kubectl(self, *arguments: str | Path, text: str | None = None, check: bool = True) -> str:
        """Run kubectl as the administrator and return its output."""
        assert self._program is not None
        done = subprocess.run(
            [self._program, "--kubeconfig", str(self.kubeconfig), *(str(argument) for argument in arguments)],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout


def furnished() -> SimulatedCluster:
    """A cluster with Istio, an owner of the shop's namespaces, and a workload of each kind."""
    clock = SimClock()
    cluster = SimulatedCluster(clock)
    cluster.seed("istio", "gateway")
    cluster.install("istiod")
    cluster.create("v1", "Namespace", "", {"metadata": {"name": OWN_NAMESPACE}})
    for name in NAMESPACES:
        cluster.create("v1", "Namespace", "", {"metadata": {"name": name}})
        group = {"kind": "Group", "name": "sim:shop-admins"}
        binding = {"roleRef": {"kind": "ClusterRole", "name": "admin"}, "subjects": [group]}
        body: Mapping[str, Any] = {"metadata": {"name": "shop-admins"}, **binding}
        cluster.create("rbac.authorization.k8s.io/v1", "RoleBinding", name, dict(body))
    for kind in ("Deployment", "StatefulSet", "DaemonSet"):
        body = deployment(kind.lower())
        cluster.create("apps/v1", kind, "shop-core", {"metadata": body["metadata"], "spec": body["spec"]})
    for _ in range(20):  # until istiod answers and the shop's pods are ready
        clock.advance(0.5)
        cluster.work.settle()
    return cluster


Model = Callable[[SimulatedCluster], Listeners]


@contextmanager
def running(
    folder: Path, *models: Model, furnish: Callable[[SimulatedCluster], None] | None = None
) -> Iterator[SimBed]:
    """Serve a furnished cluster in a thread of its own; `models` say what its pods answer."""
    bed, ready, loop = SimBed(folder), threading.Event(), asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        cluster, tokens, certificates = furnished(), Tokens(), issue("bed")
        for model in models:
            cluster.ports.register(model(cluster))
        if furnish:
            furnish(cluster)
        tls = server_side(certificates, folder)
        with bed.audit_log.open("w", buffering=1) as log:
            cluster.api.audit = Audit(cluster.clock, log.write)
            async with (
                serving(HttpFront(cluster.api, tokens.authenticate), tls=tls) as port,
                clock_server.serving(cluster.clock) as time_url,
            ):
                server = f"https://127.0.0.1:{port}"
                write_kubeconfig(bed.kubeconfig, "testbed", server, certificates.authority, tokens, time_url)
                ticking = asyncio.create_task(cluster.clock.run())
                ready.set()
                await ended.wait()
                ticking.cancel()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(60)
        yield bed
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()
