"""The second shop in the cluster: put up beside the first one, and removed without a trace."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import yaml

from testbed.api import Testbed
from testbed.proofs import kinds_shop
from testbed.proofs.kinds_shop import Member
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
AT_ONCE = 6
"""Workloads that are started at the same time: more would starve each other on a small machine."""
Pod = dict[str, Any]


def set_up(testbed: Testbed) -> None:
    """Put the shop up and wait until all of it is ready. Raises TestbedError."""
    take_down(testbed)
    first, around = manifests()
    _apply(testbed, first)
    testbed.kubectl("wait", "--for=condition=Established", "--timeout=60s", _CLUSTER_WIDE[1])
    _apply(testbed, around)
    members = kinds_shop.members()
    for begin in range(0, len(members), AT_ONCE):
        chosen = members[begin : begin + AT_ONCE]
        _apply(testbed, [manifest for member in chosen for manifest in kinds_shop.manifests_of(member)])
        _wait_for(testbed, chosen)
    # Only now: a Deployment that is paused from its beginning makes no pods.
    pause = '{"spec":{"paused":true}}'
    testbed.kubectl("-n", kinds_shop.ODD, "patch", "deployment", kinds_shop.PAUSED, "--type=merge", "-p", pause)


def take_down(testbed: Testbed) -> None:
    """Remove everything and wait until it is gone. Raises TestbedError."""
    for kind, namespace, name in _ELSEWHERE:
        testbed.kubectl("-n", namespace, "delete", kind, name, "--ignore-not-found")
    testbed.kubectl("delete", "namespace", *kinds_shop.NAMESPACES, "--ignore-not-found", "--timeout=180s")
    testbed.kubectl("delete", *_CLUSTER_WIDE, "--ignore-not-found", "--timeout=60s")


def _wait_for(testbed: Testbed, members: Sequence[Member]) -> None:
    missing: list[str] = []

    def ready() -> bool:
        missing[:] = _not_ready(testbed, members)
        return not missing

    wait_until(ready, _READY_S, "the second shop", 2.0, lambda: "; ".join(missing))


def _not_ready(testbed: Testbed, members: Sequence[Member]) -> list[str]:
    present = pods(testbed)
    return [
        f"{member.ref}: {ready} of {wanted} ready, {len(present[member])} pods"
        for member in members
        if member.served
        for wanted in [member.replicas if member.kind != "DaemonSet" else 1]
        for ready in [sum(map(_is_ready, present[member]))]
        if ready != wanted or len(present[member]) != wanted
    ]


def pods(testbed: Testbed) -> PodsOf:
    """Return the pods of every workload, those that are on their way out included; the cluster is asked once."""
    listed = json.loads(testbed.kubectl("get", "pods", "-A", "-l", "app", "-o", "json"))["items"]
    return PodsOf(listed)


class PodsOf:
    """Pods, to be asked for by the workload that they belong to."""

    def __init__(self, listed: Sequence[Pod]) -> None:
        self._by_name: dict[tuple[str, str], list[Pod]] = defaultdict(list)
        for pod in listed:
            self._by_name[pod["metadata"]["namespace"], pod["metadata"]["labels"]["app"]].append(pod)

    def __getitem__(self, member: Member) -> list[Pod]:
        return self._by_name.get((member.namespace, member.name), [])


def uids(members: Sequence[Pod]) -> frozenset[str]:
    """Which pods these are."""
    return frozenset(pod["metadata"]["uid"] for pod in members)


def is_meshed(pod: Pod) -> bool:
    """Whether the pod carries a sidecar."""
    containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    return any(container["name"] == "istio-proxy" for container in containers)


def _is_ready(pod: Pod) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def manifests() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what must be there first, and what stands around the workloads."""
    files = sorted(MANIFESTS.glob("*.yaml"))
    found = [manifest for file in files for manifest in yaml.safe_load_all(file.read_text()) if manifest]
    early = ("Namespace", "CustomResourceDefinition")
    first = [manifest for manifest in found if manifest["kind"] in early]
    rest = [manifest for manifest in found if manifest["kind"] not in early]
    return first, rest


def _apply(testbed: Testbed, manifests: list[dict[str, Any]]) -> None:
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    testbed.kubectl("apply", "--server-side", "--field-manager=testbed", "-f", "-", text=text)
