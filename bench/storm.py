"""What a push storm costs istiod, and what three settings buy: real istiod, real xDS streams, endpoints that churn.

    make bench-storm          (PROXIES=300)

The istiod of the revision `skew` of the testbed, which nobody uses, gets each setting in turn. Streams that subscribe
and acknowledge as sidecars do are held to it from one process, and ten hosts change their endpoints five times a
second. Figures are istiod's own, for the time of the churn. The last line is one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshguard.chaos.churning import Rate, churn
from meshguard.chaos.settings import CONTEXT as CONTEXT_KEY
from meshguard.chaos.settings import KUBECONFIG
from meshguard.chaos.storm.run import HOLDING
from testbed import commands, sandbox
from testbed.api import Testbed
from testbed.paths import MAIN, RunPaths
from testbed.proofs import own_cluster
from testbed.proofs.break_glass import CONTEXT, MeshguardCli

PROXIES = 300
NAMESPACE = "storm"
DEPLOYMENT = ("-n", "istio-system", "deployment/istiod-skew")
CHURN = Rate(per_second=5, seconds=20)
HOSTS = 10
_HOLD_S = CHURN.seconds + 15
_SCOPED = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Sidecar",
    "metadata": {"name": "default", "namespace": NAMESPACE},
    "spec": {"egress": [{"hosts": ["./*", "istio-system/*"]}]},
}
_NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


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


def main(arguments: list[str]) -> int:
    """Measure every setting, print the table, and return the exit code."""
    proxies = int(arguments[0]) if arguments and arguments[0] else PROXIES
    testbed = own_cluster.up()
    with tempfile.TemporaryDirectory() as scratch:
        meshguard = MeshguardCli(testbed.kubeconfig, Path(scratch) / "state")
        os.environ["XDG_STATE_HOME"] = str(meshguard.state)
        meshguard.call("rehearsal", "declare", "--context", CONTEXT, "--reason", "bench", "--for", "1h", "--yes")
        testbed.kubectl("apply", "-f", "-", text=json.dumps(_NAMESPACE))
        try:
            rows = {setting.name: _measured(testbed, meshguard, setting, proxies) for setting in SETTINGS}
        finally:
            _back(testbed, meshguard)
    _print(rows)
    print(json.dumps({"proxies": proxies, "settings": rows}))
    return 0 if all(row["configured"] == proxies for row in rows.values()) else 1


def _measured(testbed: Testbed, meshguard: MeshguardCli, setting: Setting, proxies: int) -> dict[str, Any]:
    """Hold a storm against an istiod with this setting and churn endpoints meanwhile; return what it reported."""
    _set(testbed, setting)
    program = str(Path(sys.executable).parent / "meshguard")
    options = ("--proxies", str(proxies), "--hold", str(_HOLD_S), "--revision", "skew", "-n", NAMESPACE)
    command = [program, "chaos", "storm", *options, "--context", CONTEXT, "--reason", "bench", "--yes", "-o", "json"]
    paths = RunPaths(MAIN)
    process = subprocess.Popen(
        sandbox.inside(paths, command),
        env=commands.environment(paths),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        print(f"  {setting.name}: {line.rstrip()}", flush=True)
        if line.startswith(HOLDING):
            break
    configuration = {CONTEXT_KEY: CONTEXT, KUBECONFIG: str(testbed.kubeconfig)}
    changes = asyncio.run(churn("default", CHURN, HOSTS, "*", configuration))["changes"]
    out, rest = process.communicate()
    _undo(meshguard)
    if process.returncode:
        raise SystemExit(f"the storm failed: {rest}")
    return {"changes": changes, **_row(json.loads(out), proxies)}


def _row(report: Mapping[str, Any], proxies: int) -> dict[str, Any]:
    held = report["istiod"]["held"]
    return {
        "configured": report["configured"],
        "pilotXds": report["pilotXds"]["connected"],
        "connectedSeconds": report["connectedSeconds"],
        "bytesPerStream": report["bytesPerStream"],
        "pushedBytesPerProxy": round(sum(report["pushedWhileHeld"].values()) / proxies),
        "updatesPerProxy": round(held.get("push_time_count", 0) / proxies, 1),
        "pushMilliseconds": round(1000 * held.get("push_time_mean", 0), 2),
        "queueMilliseconds": round(1000 * held.get("queue_time_mean", 0), 2),
        "convergenceMilliseconds": round(1000 * held.get("convergence_mean", 0), 2),
        "cpuSeconds": held.get("cpu_seconds"),
        "memoryMebibytes": round(held.get("memory_bytes", 0) / 2**20),
    }


def _set(testbed: Testbed, setting: Setting) -> None:
    cleared = [f"{name}-" for other in SETTINGS for name in other.environment if name not in setting.environment]
    given = [f"{name}={value}" for name, value in setting.environment.items()]
    testbed.kubectl("set", "env", *DEPLOYMENT, *given, *cleared)
    testbed.kubectl("rollout", "status", *DEPLOYMENT, "--timeout=120s")
    if setting.scoped:
        testbed.kubectl("apply", "-f", "-", text=json.dumps(_SCOPED))


def _undo(meshguard: MeshguardCli) -> None:
    done = meshguard.call("chaos", "undo", "--context", CONTEXT, "--reason", "bench", "--yes")
    if done.returncode:
        raise SystemExit(f"the churned hosts could not be taken away: {done.stdout}{done.stderr}")


def _back(testbed: Testbed, meshguard: MeshguardCli) -> None:
    meshguard.call("chaos", "undo", "--context", CONTEXT, "--reason", "bench", "--yes")
    testbed.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
    _set(testbed, Setting("as it was"))
    meshguard.call("rehearsal", "revoke", "--context", CONTEXT, "--reason", "bench", "--yes")


def _print(rows: Mapping[str, Mapping[str, Any]]) -> None:
    names = ["setting", *next(iter(rows.values()))]
    print("| " + " | ".join(names) + " |")
    print("|" + " --- |" * len(names))
    for name, row in rows.items():
        print("| " + " | ".join([name, *(str(value) for value in row.values())]) + " |")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
