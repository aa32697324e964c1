"""Room for one more pod: every resource of a node and every line of a quota can be what is short."""

from __future__ import annotations

from typing import Any

import pytest

from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.model.objects import Ref
from tests.builders import World, obj, shop

ODD = Ref("Deployment", "shop-core", "odd")
PLENTY = {"cpu": "64", "memory": "64Gi", "pods": "110"}
RESOURCES = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "2Gi"}}


def why_no_room(world: World, **short: str) -> str:
    """Say what `odd` lacks on a node that has plenty of everything but this."""
    status: dict[str, Any] = {
        "allocatable": {**PLENTY, **short},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    world.deployment("shop-core", "odd", container={"resources": RESOURCES}).add(obj("Node", "", "n", status=status))
    return Scope(world.snapshot(), frozenset({"shop-core"})).no_room.get(ODD, "")


def test_a_node_with_plenty_has_room() -> None:
    assert why_no_room(shop()) == ""


@pytest.mark.parametrize(("resource", "left"), [("cpu", "500m"), ("memory", "512Mi"), ("pods", "0")])
def test_each_resource_of_a_node_can_be_short(resource: str, left: str) -> None:
    assert why_no_room(shop(), **{resource: left}).startswith("no node has 1 cores and 1.0 GiB free")


@pytest.mark.parametrize(
    ("line", "hard"),
    [
        ("pods", "2"),
        ("count/pods", "2"),
        ("cpu", "500m"),
        ("memory", "512Mi"),
        ("requests.cpu", "500m"),
        ("requests.memory", "512Mi"),
        ("limits.cpu", "1500m"),
        ("limits.memory", "1536Mi"),
    ],
)
def test_each_line_of_a_quota_can_be_short(line: str, hard: str) -> None:
    used = hard if line.endswith("pods") else "0"
    quota = obj("ResourceQuota", "shop-core", "team", status={"hard": {line: hard}, "used": {line: used}})
    assert why_no_room(shop().add(quota)) == f"the quota team ({line}) leaves no room for one more pod"
