"""The second shop as a snapshot: its plan says what the table says, before anything of it runs."""

from __future__ import annotations

import json
from typing import Any

from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.protocol import LeaveRequest
from meshguard.model.objects import Resource
from meshguard.model.plan import Plan
from meshguard.model.snapshot import resource_of
from meshguard.plan.build import plan_exit
from testbed.proofs import kinds_plan, kinds_shop, kinds_stage
from tests.builders import World, obj, shop

JOB = kinds_shop.Member("job", kinds_shop.ODD, "", "Job", replicas=1)


def second_shop() -> World:
    """Every object of the second shop, each workload with pods that have sidecars."""
    first, around = kinds_stage.manifests()
    workloads = [manifest for member in kinds_shop.members() for manifest in kinds_shop.manifests_of(member)]
    world = shop().add(*(_resource(document) for document in (*first, *around, *workloads)))
    return world.add(
        *(_pod(m, number) for m in (*kinds_shop.members(), JOB) for number in range(m.replicas if m.served else 0))
    )


def _resource(document: dict[str, Any]) -> Resource:
    kind, name = document["kind"], document["metadata"]["name"]
    spec = {**document.get("spec", {}), **({"paused": True} if name == kinds_shop.PAUSED else {})}
    status = {"desiredNumberScheduled": 1} if kind == "DaemonSet" else {}
    metadata = {"uid": f"uid-{name}", **document["metadata"]}
    return resource_of({**document, "metadata": metadata, "spec": spec, "status": status}, kind)


def _pod(member: kinds_shop.Member, number: int) -> Resource:
    owned = [] if member.kind == "Pod" else [{"kind": member.kind, "name": member.name, "controller": True}]
    return obj(
        "Pod",
        member.namespace,
        member.name if member.kind == "Pod" else f"{member.name}-{number}",
        labels={"app": member.name, "version": "v1", "security.istio.io/tlsMode": "istio"},
        annotations={"sidecar.istio.io/status": json.dumps({"revision": "default"})},
        ownerReferences=owned,
        spec={"containers": [{"name": member.name}, {"name": "istio-proxy"}]},
        status={"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
    )


def the_plan() -> Plan:
    return plan_exit(second_shop().snapshot(), IstioSidecar(), LeaveRequest(frozenset(kinds_shop.LEAVING)))


def test_the_plan_of_the_second_shop_says_what_the_table_says() -> None:
    assert kinds_plan.differences(the_plan().to_json()) == []


def test_a_plan_that_says_less_is_told_apart() -> None:
    said = the_plan().to_json()
    said["findings"] = [f for f in said["findings"] if f["code"] not in ("MG301", "MG306")]
    wrong = kinds_plan.differences(said)
    assert "the plan does not say MG306 of StatefulSet kinds-stop/held" in wrong
    assert "Deployment kinds-stop/recreate does not block" in wrong


def test_costs_are_read_from_the_words_of_the_plan() -> None:
    costs = kinds_plan.costs(the_plan().to_json())
    assert costs["Deployment kinds-stop/recreate"] == kinds_plan.Cost(4, 38)
    assert not {m.ref for m in kinds_shop.SERVERS if m.surges} & costs.keys()
