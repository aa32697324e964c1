"""The second shop in the cluster: put up beside the first one, and removed without a trace."""

from __future__ import annotations

import json
from typing import Any

import yaml

from testbed.api import Testbed
from testbed.proofs import kinds_shop
from testbed.sample_shop import SOURCE
from testbed.waiting import wait_until

MANIFESTS = SOURCE / "kinds"
#: What is in no namespace of the shop's own: kind, namespace, name.
_ELSEWHERE = (
    ("destinationrule", "istio-system", "kinds-subset"),
    ("destinationrule", "load", "kinds-port"),
)
_CLUSTER_WIDE = ("persistentvolume/kinds-archive", "customresourcedefinition/rollouts.argoproj.io")
_READY_S = 600


def set_up(testbed: Testbed) -> None:
    """Put the shop up and wait until all of it is ready. Raises TestbedError."""
    take_down(testbed)
    first, rest = manifests()
    _apply(testbed, first)
    testbed.kubectl("wait", "--for=condition=Established", "--timeout=60s", _CLUSTER_WIDE[1])
    _apply(testbed, rest)
    missing: list[str] = []

    def ready() -> bool:
        missing[:] = not_ready(testbed)
        return not missing

    wait_until(ready, _READY_S, "the second shop", 1.0, lambda: "; ".join(missing))
    # Only now: a Deployment that is paused from its beginning makes no pods.
    pause = '{"spec":{"paused":true}}'
    testbed.kubectl("-n", kinds_shop.ODD, "patch", "deployment", kinds_shop.PAUSED, "--type=merge", "-p", pause)


def take_down(testbed: Testbed) -> None:
    """Remove everything and wait until it is gone. Raises TestbedError."""
    for kind, namespace, name in _ELSEWHERE:
        testbed.kubectl("-n", namespace, "delete", kind, name, "--ignore-not-found")
    testbed.kubectl("delete", "namespace", *kinds_shop.NAMESPACES, "--ignore-not-found", "--timeout=180s")
    testbed.kubectl("delete", *_CLUSTER_WIDE, "--ignore-not-found", "--timeout=60s")


def not_ready(testbed: Testbed) -> list[str]:
    """Say which pods of the shop are missing or not ready."""
    return [
        f"{member.ref}: {ready} of {wanted} ready, {len(pods)} pods"
        for member in kinds_shop.members()
        if member.served
        for pods in [pods_of(testbed, member)]
        for ready, wanted in [(sum(map(_is_ready, pods)), member.replicas if member.kind != "DaemonSet" else 1)]
        if ready != wanted or len(pods) != wanted
    ]


def pods_of(testbed: Testbed, member: kinds_shop.Member) -> list[dict[str, Any]]:
    """Return the pods of a workload, those that are on their way out included."""
    return pods(testbed, member.namespace, f"app={member.name}")


def pods(testbed: Testbed, namespace: str, selector: str) -> list[dict[str, Any]]:
    """Return the pods that a selector chooses."""
    listed = json.loads(testbed.kubectl("-n", namespace, "get", "pods", "-l", selector, "-o", "json"))
    items: list[dict[str, Any]] = listed["items"]
    return items


def is_meshed(pod: dict[str, Any]) -> bool:
    """Whether the pod carries a sidecar."""
    containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    return any(container["name"] == "istio-proxy" for container in containers)


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def manifests() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what must be there first, and the rest."""
    files = sorted(MANIFESTS.glob("*.yaml"))
    found = [manifest for file in files for manifest in yaml.safe_load_all(file.read_text()) if manifest]
    early = ("Namespace", "CustomResourceDefinition")
    first = [manifest for manifest in found if manifest["kind"] in early]
    rest = [manifest for manifest in found if manifest["kind"] not in early]
    return first, [*rest, *kinds_shop.manifests()]


def _apply(testbed: Testbed, manifests: list[dict[str, Any]]) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    testbed.kubectl("apply", "--server-side", "--field-manager=testbed", "-f", "-", text=text)
