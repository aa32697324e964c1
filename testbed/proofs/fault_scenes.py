"""The cluster that the faults happen in: a small scope with quick pods, what breaks in it, and what is so.

What is so is read from the cluster by kubectl, past the faults, and is compared with what it was before and with what
an exit makes of it when nothing goes wrong. Nothing that meshguard says counts here.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from testbed import light_mesh, sandbox
from testbed.api import Testbed, TestbedError
from testbed.paths import RunPaths
from testbed.proofs import objects
from testbed.waiting import wait_until

CLUSTER, CONTEXT, SPACE = "faults", "testbed-faults", "faults"
WORKLOADS, REPLICAS = ("web-1", "web-2", "web-3"), 2
_READY_S = 180
_RUN = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
_ISTIOD = ("-n", "istio-system", "deployment/istiod")
_INJECTOR = ("mutatingwebhookconfiguration", "istio-sidecar-injector")
_MUTE = """
import socket, sys
listener = socket.create_server((sys.argv[1], 443))
print("listening", flush=True)
sys.stdin.read()
"""

World = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """What the cluster holds: objects without what the server writes, and pods as (workload, has a sidecar, ready)."""

    objects: World
    pods: tuple[tuple[str, bool, bool], ...]


def prepare(bed: Testbed) -> None:
    """Put the mesh and the scope into a fresh light cluster, and wait for its pods."""
    light_mesh.install_mesh(bed)
    bed.exec(["ip", "address", "replace", f"{_service_address(bed)}/32", "dev", "lo"])
    patch = [
        {"op": "remove", "path": "/webhooks/0/matchConditions"},
        {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"},
        {"op": "replace", "path": "/webhooks/0/timeoutSeconds", "value": 1},
    ]
    bed.kubectl("patch", *_INJECTOR, "--type=json", "-p", json.dumps(patch))
    labels = {"istio-injection": "enabled"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": labels}}
    items = [space, light_mesh.strict(SPACE), *(_deployment(name) for name in WORKLOADS)]
    bed.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    settled(bed, meshed=True)


def settled(bed: Testbed, *, meshed: bool) -> None:
    """Wait until all pods are ready, with or without sidecars. Raises TestbedError."""
    wait_until(lambda: not _wrong_pods(facts(bed), meshed=meshed), _READY_S, "the workloads' pods", 0.5)


def facts(bed: Testbed) -> Facts:
    """Read what is so."""
    found = _nameless(objects.concerned(bed, (SPACE,)))
    pods = json.loads(bed.kubectl("-n", SPACE, "get", "pods", "-o", "json"))["items"]
    return Facts(found, tuple(sorted(_pod(pod) for pod in pods)))


def wrong(claimed: World, seen: Facts, *, meshed: bool) -> list[str]:
    """Say in what the cluster is not as somebody claims who says that he is done."""
    return [*objects.differences(dict(claimed), dict(seen.objects)), *_wrong_pods(seen, meshed=meshed)]


def unclean(before: World, after: World, seen: Facts) -> list[str]:
    """Say what is neither as it was nor as it shall be, and what was done before what makes it safe."""
    here, there, now = _leaves(before), _leaves(after), _leaves(seen.objects)
    odd = [
        f"{where} is {now.get(where)!r}, neither {here.get(where)!r} nor {there.get(where)!r}"
        for where in sorted(here.keys() | there.keys() | now.keys())
        if now.get(where) not in (here.get(where), there.get(where))
    ]
    strict = any(where.startswith("PeerAuthentication") and value == "STRICT" for where, value in now.items())
    bare = [workload for workload, meshed, _ in seen.pods if not meshed]
    return [*odd, *(f"{workload} is out, and STRICT is in force" for workload in bare if strict)]


Break = Callable[[Testbed], Any]


@contextmanager
def _istiod_killed(bed: Testbed) -> Iterator[None]:
    bed.kubectl("-n", "istio-system", "delete", "pods", "-l", "app=istiod", "--wait=false")
    yield


@contextmanager
def _istiod_gone(bed: Testbed) -> Iterator[None]:
    bed.kubectl("scale", *_ISTIOD, "--replicas=0")
    try:
        yield
    finally:
        bed.kubectl("scale", *_ISTIOD, "--replicas=1")
        bed.kubectl("rollout", "status", *_ISTIOD, "--timeout=60s")


@contextmanager
def _injector_refuses(bed: Testbed) -> Iterator[None]:
    """The webhook is required and nobody listens where it leads."""
    _required(bed, "Fail")
    try:
        yield
    finally:
        _required(bed, "Ignore")


@contextmanager
def _istiod_overloaded(bed: Testbed) -> Iterator[None]:
    """The webhook is required, its connections are taken, and nothing comes back."""
    command = sandbox.inside(RunPaths(CLUSTER), ["python3", "-c", _MUTE, _service_address(bed)])
    # it ends with its standard input, so also when the proof is killed
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as mute, _injector_refuses(bed):
        if mute.stdout is None or not mute.stdout.readline():
            raise TestbedError("nobody listens in istiod's place")
        yield


@contextmanager
def _policies_refused(bed: Testbed) -> Iterator[None]:
    kind = "ValidatingAdmissionPolicy"
    group = "admissionregistration.k8s.io/v1"
    rule = {
        "operations": ["CREATE", "UPDATE", "DELETE"],
        "apiGroups": ["security.istio.io"],
        "apiVersions": ["*"],
        "resources": ["peerauthentications"],
    }
    message = "configuration is invalid: refused by validation"
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": message}],
    }
    policy = {"apiVersion": group, "kind": kind, "metadata": {"name": "refuse"}, "spec": spec}
    binding = {
        "apiVersion": group,
        "kind": f"{kind}Binding",
        "metadata": {"name": "refuse"},
        "spec": {"policyName": "refuse", "validationActions": ["Deny"]},
    }
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [policy, binding]})
    bed.kubectl("apply", "-f", "-", text=text)
    try:
        yield
    finally:
        bed.kubectl("delete", "-f", "-", text=text)
        wait_until(lambda: _policy_edits_pass(bed), 60, "the validation to be gone", 0.5)


@contextmanager
def no_room(bed: Testbed) -> Iterator[None]:
    """No further pod is allowed, so no workload can surge: nothing rolls out."""
    quota = ("-n", SPACE, "quota", "full")
    bed.kubectl("-n", SPACE, "create", "quota", "full", "--hard=pods=1")
    try:
        yield
    finally:
        bed.kubectl(quota[0], quota[1], "delete", *quota[2:])
        # the controllers' own pauses after refusals grow long: an edit makes them look again
        bed.kubectl("-n", SPACE, "delete", "replicasets", "--all", "--wait=false", check=False)


SCENES: Mapping[str, Break] = {
    "istiod killed": _istiod_killed,
    "istiod scaled to 0": _istiod_gone,
    "istiod overloaded": _istiod_overloaded,
    "webhook without endpoints": _injector_refuses,
    "validation refuses": _policies_refused,
    "no room for pods": no_room,
}


def begin(scenes: ExitStack, bed: Testbed, name: str) -> None:
    """Break what the scene says; the stack's end puts it right."""
    scenes.enter_context(SCENES[name](bed))


def _policy_edits_pass(bed: Testbed) -> bool:
    text = json.dumps({**light_mesh.strict(SPACE), "metadata": {"namespace": SPACE, "name": "probe"}})
    return "created" in bed.kubectl("create", "--dry-run=server", "-f", "-", text=text, check=False)


def _required(bed: Testbed, policy: str) -> None:
    patch = [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": policy}]
    bed.kubectl("patch", *_INJECTOR, "--type=json", "-p", json.dumps(patch))


def _service_address(bed: Testbed) -> str:
    service = json.loads(bed.kubectl("-n", "istio-system", "get", "service", "istiod", "-o", "json"))
    return str(service["spec"]["clusterIP"])


def _pod(pod: Mapping[str, Any]) -> tuple[str, bool, bool]:
    sidecar = any(container["name"] == "istio-proxy" for container in pod["spec"]["containers"])
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    return pod["metadata"]["labels"]["app"], sidecar, ready and "deletionTimestamp" not in pod["metadata"]


def _wrong_pods(seen: Facts, *, meshed: bool) -> list[str]:
    wanted = tuple((name, meshed, True) for name in sorted(WORKLOADS) for _ in range(REPLICAS))
    return [] if seen.pods == wanted else [f"pods are {seen.pods}, not {wanted}"]


def _nameless(found: Any) -> Any:
    """Without the run's own name, which differs from run to run."""
    return json.loads(_RUN.sub("RUN", json.dumps(found)))


def _leaves(value: Any, where: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {k: v for key, inner in value.items() for k, v in _leaves(inner, f"{where}.{key}".strip(".")).items()}
    return {} if value in ({}, None) else {where: value}


def _deployment(name: str) -> Mapping[str, Any]:
    container = {"readinessProbe": {"httpGet": {"port": 8080}}}
    return light_mesh.fake_deployment(SPACE, name, container, replicas=REPLICAS, terminationGracePeriodSeconds=1)
