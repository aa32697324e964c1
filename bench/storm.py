"""What a push storm costs istiod, and what three settings buy: real istiod, real xDS streams, endpoints that churn.

    make bench-storm          (PROXIES=300)

A real istiod serves a light cluster with forty services, once for each setting. Streams that subscribe and acknowledge
as sidecars do are held to it from one process, and ten hosts change their endpoints five times a second. Figures are
istiod's own, for the time of the churn. The last line is one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshguard.chaos.churning import Rate, churn
from meshguard.chaos.settings import CONTEXT as CONTEXT_KEY
from meshguard.chaos.settings import KUBECONFIG
from meshguard.chaos.storm.run import HOLDING
from meshguard.signals.exposition import parse, total
from testbed import binaries
from testbed.api import Testbed
from testbed.proofs import own_cluster
from testbed.proofs.break_glass import MeshguardCli
from testbed.waiting import wait_until

NAME = "bench-storm"
CONTEXT = f"testbed-{NAME}"
NAMESPACE = "storm"
PROXIES, SERVICES, HOSTS = 300, 40, 10
CHURN = Rate(per_second=5, seconds=20)
_HOLD_S = CHURN.seconds + 25
_READY_S = 60
#: istiod's metrics that are asked before and after.
_COUNTERS = {
    "updates": "pilot_xds_pushes",
    "push_sum": "pilot_xds_push_time_sum",
    "push_count": "pilot_xds_push_time_count",
    "queue_sum": "pilot_proxy_queue_time_sum",
    "queue_count": "pilot_proxy_queue_time_count",
    "convergence_sum": "pilot_proxy_convergence_time_sum",
    "convergence_count": "pilot_proxy_convergence_time_count",
    "cpu": "process_cpu_seconds_total",
}


@dataclass(frozen=True)
class Setting:
    """What istiod gets, beyond its own defaults."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    scoped: bool = False


SETTINGS = (
    Setting("defaults"),
    Setting("PILOT_PUSH_THROTTLE=5", {"PILOT_PUSH_THROTTLE": "5"}),
    Setting("PILOT_DEBOUNCE_AFTER=1s", {"PILOT_DEBOUNCE_AFTER": "1s"}),
    Setting("a scoping Sidecar", scoped=True),
)


@dataclass(frozen=True)
class Istiod:
    """An istiod that runs beside the cluster."""

    xds: str
    monitoring: int

    def metrics(self) -> dict[str, float]:
        """Return the counters, and how many proxies are connected."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitoring}/metrics", timeout=30) as answer:
            series = list(parse(answer.read().decode()))
        wanted = {**_COUNTERS, "connected": "pilot_xds", "memory": "process_resident_memory_bytes"}
        return {name: total(series, metric, {}) or 0.0 for name, metric in wanted.items()}


def main(arguments: list[str]) -> int:
    """Measure every setting, print the table, and return the exit code."""
    proxies = int(arguments[0]) if arguments and arguments[0] else PROXIES
    bed = own_cluster.up(NAME)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            meshguard = MeshguardCli(bed.kubeconfig, Path(scratch) / "state")
            os.environ["XDG_STATE_HOME"] = str(meshguard.state)
            _furnish(bed, meshguard)
            rows = {s.name: _measured(bed, meshguard, s, proxies, Path(scratch)) for s in SETTINGS}
    finally:
        bed.down()
    _print(rows)
    print(json.dumps({"proxies": proxies, "services": SERVICES, "settings": rows}))
    return 0 if all(row["connected"] == proxies for row in rows.values()) else 1


def _furnish(bed: Testbed, meshguard: MeshguardCli) -> None:
    done = meshguard.call("rehearsal", "declare", "--context", CONTEXT, "--reason", "bench", "--for", "1h", "--yes")
    if done.returncode:
        raise SystemExit(f"the cluster cannot be declared for rehearsals: {done.stderr}")
    items: list[Mapping[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("istio-system", NAMESPACE)
    ]
    items += [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"service-{number}", "namespace": "default"},
            "spec": {"selector": {"app": f"service-{number}"}, "ports": [{"name": "http", "port": 8080}]},
        }
        for number in range(SERVICES)
    ]
    bed.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def _measured(bed: Testbed, meshguard: MeshguardCli, setting: Setting, proxies: int, scratch: Path) -> dict[str, float]:
    """Hold a storm to an istiod with this setting and churn endpoints meanwhile; return what it cost."""
    if setting.scoped:
        _scope(bed)
    with _istiod(bed, setting, scratch) as istiod, _storm(bed, meshguard, istiod, proxies) as configured_s:
        before = istiod.metrics()
        configuration = {CONTEXT_KEY: CONTEXT, KUBECONFIG: str(bed.kubeconfig)}
        changes = asyncio.run(churn("default", CHURN, HOSTS, "*", configuration))["changes"]
        after = istiod.metrics()
    undone = meshguard.call("chaos", "undo", "--context", CONTEXT, "--reason", "bench", "--yes")
    if undone.returncode:
        raise SystemExit(f"the churned hosts could not be taken away: {undone.stdout}{undone.stderr}")
    rose = {name: after[name] - before[name] for name in _COUNTERS}
    return {
        "connected": after["connected"],
        "connect s": configured_s,
        "changes": changes,
        "updates per proxy": round(rose["updates"] / proxies, 1),
        "push ms": _mean_ms(rose, "push"),
        "queue ms": _mean_ms(rose, "queue"),
        "convergence ms": _mean_ms(rose, "convergence"),
        "cpu s": round(rose["cpu"], 1),
        "memory MiB": round(after["memory"] / 2**20),
    }


def _mean_ms(rose: Mapping[str, float], name: str) -> float:
    return round(1000 * rose[f"{name}_sum"] / rose[f"{name}_count"], 2) if rose[f"{name}_count"] else 0.0


def _scope(bed: Testbed) -> None:
    sidecar = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Sidecar",
        "metadata": {"name": "default", "namespace": NAMESPACE},
        "spec": {"egress": [{"hosts": ["./*", "istio-system/*"]}]},
    }
    bed.kubectl("apply", "-f", "-", text=json.dumps(sidecar))


@contextmanager
def _istiod(bed: Testbed, setting: Setting, scratch: Path) -> Iterator[Istiod]:
    xds, monitoring, http = _free_ports(3)
    mesh = scratch / "mesh.yaml"
    mesh.write_text("trustDomain: cluster.local\n")
    options = {
        "kubeconfig": bed.kubeconfig,
        "grpcAddr": f"127.0.0.1:{xds}",
        "monitoringAddr": f"127.0.0.1:{monitoring}",
        "httpAddr": f"127.0.0.1:{http}",
        "secureGRPCAddr": "",
        "httpsAddr": "",
        "meshConfig": mesh,
        "networksConfig": "",
        "injectionDirectory": "",
        "domain": "cluster.local",
    }
    command = [
        str(binaries.KUBERNETES.folder / "pilot-discovery"),
        "discovery",
        *(f"--{k}={v}" for k, v in options.items()),
    ]
    own = {"POD_NAMESPACE": "istio-system", "POD_NAME": "istiod-bench", "REVISION": "default"}
    with (scratch / "istiod.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **own, **setting.environment}, stdout=log, stderr=log, cwd=scratch
        )
    try:
        wait_until(lambda: _is_ready(http), _READY_S, "istiod to be ready", 0.5)
        yield Istiod(f"127.0.0.1:{xds}", monitoring)
    finally:
        process.terminate()
        process.wait(_READY_S)


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(listener.getsockname()[1]) for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


@contextmanager
def _storm(bed: Testbed, meshguard: MeshguardCli, istiod: Istiod, proxies: int) -> Iterator[float]:
    """Hold the streams while the block runs; yield the seconds until all were configured."""
    options = ("--proxies", str(proxies), "--hold", str(_HOLD_S), "--address", istiod.xds, "-n", NAMESPACE)
    command = [str(Path(sys.executable).parent / "meshguard"), "chaos", "storm", *options]
    command += ["--context", CONTEXT, "--kubeconfig", str(bed.kubeconfig), "--reason", "bench", "--yes", "-o", "json"]
    environment = {**os.environ, "XDG_STATE_HOME": str(meshguard.state)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    began = time.monotonic()
    assert process.stderr is not None
    if not any(line.startswith(HOLDING) for line in process.stderr):
        raise SystemExit(f"the storm ended with exit code {process.wait()}")
    try:
        yield round(time.monotonic() - began, 1)
    finally:
        process.terminate()
        process.communicate()


def _print(rows: Mapping[str, Mapping[str, Any]]) -> None:
    names = ["setting", *next(iter(rows.values()))]
    print("| " + " | ".join(names) + " |")
    print("|" + " --- |" * len(names))
    for name, row in rows.items():
        print("| " + " | ".join([name, *(f"{value:g}" for value in row.values())]) + " |")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
