"""Killed at every write, before and after its effect, a run is finished or brought back from elsewhere, exactly.

    python -m testbed.proofs.crash [POINTS]        (QUICK=1: two points)

A light cluster with fake pods (their proxies, which do not exist, are not asked) and a scope of 12 objects. For each
object the command line takes the scope out, and everything of it is killed by SIGKILL just before the object is
written, then, in a second life, just after. Another person with another state folder, without any local file, takes the
cluster over: resumes the run and restores it, or restores it at once, in turns. Then every object is as it was, and no
object was written twice on one way. A secret in every workload's environment must not be found in any file, record or
output. The last line is one JSON object.
"""

from __future__ import annotations

import base64
import gzip
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed import light_mesh
from testbed.api import Testbed
from testbed.proofs import objects, own_cluster
from testbed.proofs.killing import kill_all
from testbed.proofs.machine import Machine
from testbed.proofs.record import Proof, is_quick
from testbed.proofs.tripwire import Tripwire
from testbed.waiting import wait_until

CLUSTER, CONTEXT = "crash", "testbed-crash"
SPACE = "crash"
WORKLOADS = tuple(f"web-{number:02d}" for number in range(1, 12))
SECRET = "planted-d41d8cd98f00b204e9800998ecf8427e"
NAMESPACE_PATH = f"/api/v1/namespaces/{SPACE}"
PATHS = (NAMESPACE_PATH, *(f"/apis/apps/v1/namespaces/{SPACE}/deployments/{name}" for name in WORKLOADS))
_SPRUNG_S, _READY_S = 180, 180


@dataclass
class Findings:
    """What was not as it should be, one line each."""

    failed: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Point:
    """Where a run dies."""

    path: str
    before: bool

    def __str__(self) -> str:
        return f"{'before' if self.before else 'after'} {self.path.rpartition('/')[2]}"


def main(arguments: list[str]) -> int:
    """Make the proof and return the exit code: 0 when it holds."""
    points = [Point(path, before) for path in PATHS for before in (True, False)]
    if is_quick():
        points = [points[0], points[-1]]
    elif arguments:
        points = points[: int(arguments[0])]
    bed, found = Testbed(CLUSTER), Findings()
    with Proof("crash", quick=is_quick()) as proof, tempfile.TemporaryDirectory() as scratch:
        own_cluster.up(CLUSTER)
        try:
            _prepare(bed)
            _prove(bed, points, found, Path(scratch))
        finally:
            bed.down()
        proof.note({"failed": found.failed, "repeated": found.repeated, "differences": found.differences})
        proof.say(
            {
                "objects": len(PATHS),
                "crash_points": len(points),
                "failed": len(found.failed),
                "repeated": len(found.repeated),
                "restore_diff": len(found.differences),
                "leaks": len(found.leaks),
            }
        )
    wrong = [*found.failed, *found.repeated, *found.differences, *found.leaks]
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def _prove(bed: Testbed, points: list[Point], found: Findings, scratch: Path) -> None:
    before = objects.concerned(bed, (SPACE,))
    through = scratch / "kubeconfig"
    with Tripwire(bed, through) as tripwire:
        for number, point in enumerate(points):
            folder = scratch / f"{number:02d}"
            here, there = (Machine(through, folder / name, CONTEXT, "prove-crash") for name in ("here", "there"))
            said = _one_life(tripwire, point, here, there, found, resume=number % 4 in (0, 3))
            after = objects.concerned(bed, (SPACE,))
            found.differences += [f"{point}: {line}" for line in objects.differences(before, after)]
            found.leaks += [f"{point}: the secret is in {where}" for where in _leaks(bed, folder, said)]
            print(f"  {number + 1} of {len(points)}: killed {point}", flush=True)
            if found.failed or found.differences:
                return


def _one_life(tripwire: Tripwire, point: Point, here: Machine, there: Machine, found: Findings, *, resume: bool) -> str:
    """Kill the run at this point and bring it back from elsewhere; return everything that was said."""
    tripwire.lay(point.path, before=point.before)
    process = here.start("exit", "-n", SPACE)
    try:
        wait_until(lambda: tripwire.sprung.is_set() or process.poll() is not None, _SPRUNG_S, f"{point} to come", 0.05)
    finally:
        kill_all(here.state)
        tripwire.clear()
    said = process.communicate()[0]
    if not tripwire.sprung.is_set():
        found.failed.append(f"{point}: the run ended before it came: {said[-500:]}")
        return said
    (run,) = [path.name for path in (here.state / "meshguard" / "runs").iterdir()]
    steps = [("resume", run, "--take-over"), ("restore", run)] if resume else [("restore", run, "--take-over")]
    for number, step in enumerate(steps):
        code, more = there.call(*step)
        said += more
        if code:
            found.failed.append(f"{point}: {step[0]} from elsewhere: exit code {code}: {more[-1000:]}")
            return said
        if resume and number == 0:
            found.repeated += [f"{point}: {path} was written {n} times" for path, n in _more_than_once(tripwire)]
            tripwire.effects.clear()
    most = 1 if resume else 2  # out and back at once, or the way back alone
    found.repeated += [f"{point}: {path} was written {n} times" for path, n in tripwire.effects.items() if n > most]
    return said


def _more_than_once(tripwire: Tripwire) -> Iterator[tuple[str, int]]:
    yield from ((path, n) for path, n in tripwire.effects.items() if n > 1)


def _leaks(bed: Testbed, folder: Path, said: str) -> Iterator[str]:
    """Everything of ours in which the secret could be: files of both machines, records, output."""
    marker = SECRET.encode()
    if SECRET in said:
        yield "what was printed"
    yield from (str(path) for path in folder.rglob("*") if path.is_file() and marker in path.read_bytes())
    for item in json.loads(bed.kubectl("-n", "meshguard-system", "get", "configmaps,leases", "-o", "json"))["items"]:
        if SECRET in json.dumps(item) or any(marker in _opened(text) for text in (item.get("data") or {}).values()):
            yield f"{item['kind']} {item['metadata']['name']}"


def _opened(text: str) -> bytes:
    """A packed value in clear; b"" for what is not packed."""
    try:
        return gzip.decompress(base64.b64decode(text, validate=True))
    except (ValueError, OSError, EOFError):
        return b""


def _prepare(bed: Testbed) -> None:
    light_mesh.install_mesh(bed)
    _let_the_webhook_answer_nothing(bed)
    labels = {"istio-injection": "enabled"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": labels}}
    listed = {"apiVersion": "v1", "kind": "List", "items": [space, *(_deployment(name) for name in WORKLOADS)]}
    bed.kubectl("apply", "-f", "-", text=json.dumps(listed))

    def ready() -> bool:
        found = json.loads(bed.kubectl("-n", SPACE, "get", "deployments", "-o", "json"))["items"]
        return all(item["status"].get("readyReplicas", 0) == 2 for item in found)

    wait_until(ready, _READY_S, "the workloads to be ready", 0.5)


def _let_the_webhook_answer_nothing(bed: Testbed) -> None:
    """Take the condition away that the rules cannot evaluate: the webhook is called, refused at once, and ignored."""
    service = json.loads(bed.kubectl("-n", "istio-system", "get", "service", "istiod", "-o", "json"))
    bed.exec(["ip", "address", "replace", f"{service['spec']['clusterIP']}/32", "dev", "lo"])
    patch = [
        {"op": "remove", "path": "/webhooks/0/matchConditions"},
        {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"},
        {"op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 1},
    ]
    target = ("mutatingwebhookconfiguration", "istio-sidecar-injector")
    bed.kubectl("patch", *target, "--type=json", "-p", json.dumps(patch))


def _deployment(name: str) -> Mapping[str, Any]:
    container = {
        "env": [{"name": "PASSWORD", "value": SECRET}],
        "readinessProbe": {"httpGet": {"port": 8080}},
    }
    return light_mesh.fake_deployment(SPACE, name, container, replicas=2, terminationGracePeriodSeconds=1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
