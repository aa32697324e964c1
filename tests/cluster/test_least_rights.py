"""With exactly what `meshguard rbac` prints a person gets out and back; with any one right less it is named before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshguard import app, execution
from meshguard.consent import consents_from
from meshguard.engine.outcome import Result
from meshguard.mesh.istio_sidecar.rights import RIGHTS
from meshguard.mesh.protocol import Consents
from meshguard.model.plan import Plan
from meshguard.model.rights import Purpose
from meshguard.model.scopes import Asked
from meshguard.plan.rights import roles
from meshguard.plan.scopes import PlanError
from meshguard.ports import ClusterError
from testbed import light_mesh
from testbed.api import Testbed
from testbed.waiting import wait_until
from tests.cluster.proxyless import without_proxies

pytestmark = pytest.mark.testbed

RBAC = "rbac.authorization.k8s.io"
AT_ONCE = 2
GRANTED_S = 120
#: A kind that is not installed here: no plan of this shop touches it.
NOT_HERE = "rollouts"
CONTEXT = "testbed-rights"
RECORDS = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "meshguard-system"}}
CONSENTS = (
    "accept-authz-loss",
    f"accept-interruption {light_mesh.WEB}/legacy",
    f"accept-interruption {light_mesh.WEB}/edge",
    f"accept-interruption {light_mesh.WEB}/sessions",
)
Lacking = tuple[str, str, str, str]
"""Verb, resource and API group as a rule names them, and the namespace of its Role."""


@pytest.fixture(scope="module")
def mesh(able_machine: None) -> Iterator[Testbed]:
    """A light cluster with a mesh of its own."""
    bed = Testbed("rights")
    bed.up()
    light_mesh.install(bed)
    yield bed
    bed.down()


@pytest.fixture
def _no_proxies_and_no_hurry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mesh: Testbed) -> None:
    without_proxies(monkeypatch, mesh, tmp_path)


def single(purpose: Purpose) -> dict[str, Lacking]:
    """Every verb of every rule, by the name of the group that it is granted to."""
    manifests = [role.manifest() for role in roles(purpose, RIGHTS, [light_mesh.WEB])]
    verbs = [
        (verb, rule["resources"][0], rule["apiGroups"][0], manifest["metadata"].get("namespace", ""))
        for manifest in manifests
        for rule in manifest["rules"]
        for verb in rule["verbs"]
    ]
    return {f"{purpose.value}-{number}": granted for number, granted in enumerate(verbs)}


def grants(group: str, granted: Lacking) -> Iterator[dict[str, Any]]:
    """A Role with this one verb, bound to the group."""
    verb, resource, api, namespace = granted
    metadata = {"name": group, **({"namespace": namespace} if namespace else {})}
    kind = "Role" if namespace else "ClusterRole"
    head = {"apiVersion": f"{RBAC}/v1", "metadata": metadata}
    yield {**head, "kind": kind, "rules": [{"apiGroups": [api], "resources": [resource], "verbs": [verb]}]}
    subject = {"apiGroup": RBAC, "kind": "Group", "name": group}
    reference = {"apiGroup": RBAC, "kind": kind, "name": group}
    yield {**head, "kind": f"{kind}Binding", "roleRef": reference, "subjects": [subject]}


def person(groups: Iterable[str]) -> app.Target:
    return app.Target(CONTEXT, as_user="jane", as_groups=tuple(groups))


async def planned(opened: app.Session, of_run: str) -> Plan:
    if of_run:
        return await app.make_restore_plan(opened, of_run, Consents())
    return await app.make_exit_plan(opened, Asked(frozenset({light_mesh.WEB})), consents_from(CONSENTS))


async def objections(target: app.Target, of_run: str, plan: Plan | None = None) -> str:
    """What this person is told of rights before anything is changed; with a `plan` it is not made anew."""
    try:
        async with app.session(target) as opened:
            made = plan or await planned(opened, of_run)
            told = [f.detail for f in made.findings if f.code.id in ("MG702", "MG703", "MG704")]
            return "; ".join([*told, *await app.missing_rights(opened, made)])
    except (ClusterError, PlanError) as error:
        return str(error)


async def unnamed_one_by_one(purpose: Purpose, of_run: str) -> dict[Lacking, str]:
    """Take one verb away after the other; return what was said where it was not that verb."""
    every, turns = single(purpose), asyncio.Semaphore(AT_ONCE)
    async with app.session(person(every)) as opened:
        plan = await planned(opened, of_run)

    async def without(group: str) -> str:
        async with turns:
            known = plan if every[group][0] != "list" else None
            return await objections(person(every.keys() - {group}), of_run, known)

    told = await asyncio.gather(*(without(group) for group in every))
    return {every[group]: said for group, said in zip(every, told, strict=True) if not names(said, every[group])}


def names(told: str, lacking: Lacking) -> bool:
    """Whether the sentence names the right, in our words or in the API server's."""
    verb, resource, *_ = lacking
    return f"{verb} {resource}" in told or f'cannot {verb} resource "{resource}"' in told


def carried_out(purpose: Purpose, of_run: str = "") -> str:
    """Do it as a person with exactly the printed Roles; return the run."""
    target = person(single(purpose))

    async def begun() -> str:
        async with app.session(target) as opened:
            return (await execution.begin(opened, await planned(opened, of_run), execution.Terms("test"))).run

    run = asyncio.run(begun())
    for phase in execution.plan_of(target, run).phases:
        assert asyncio.run(execution.run_phase(target, run, phase.name)).result is Result.DONE
    return run


def concerned(mesh: Testbed) -> dict[str, Any]:
    kinds = "namespaces,deployments,statefulsets,daemonsets,peerauthentications,destinationrules,authorizationpolicies"
    listed = json.loads(mesh.kubectl("get", kinds, "-A", "-o", "json"))["items"]
    return {
        f"{o['kind']} {o['metadata'].get('namespace', '')}/{o['metadata']['name']}": (
            o["metadata"].get("labels"),
            o["metadata"].get("annotations", {}).get("meshguard.dev/run"),
            o.get("spec"),
        )
        for o in listed
        if o["metadata"]["name"] != "meshguard-system"
    }


@pytest.mark.usefixtures("_no_proxies_and_no_hurry")
def test_the_printed_roles_are_enough_and_each_rule_of_them_is_needed(mesh: Testbed) -> None:
    before = concerned(mesh)
    every = {**single(Purpose.EXIT), **single(Purpose.RESTORE)}
    documents = [RECORDS, *(o for group, granted in every.items() for o in grants(group, granted))]
    listed = {"apiVersion": "v1", "kind": "List", "items": documents}
    mesh.kubectl("apply", "--server-side", "-f", "-", text=json.dumps(listed))
    # the authorizer learns of new Roles a little later
    wait_until(lambda: not asyncio.run(objections(person(every), "")), GRANTED_S, "the Roles to be granted", 1)
    left = asyncio.run(unnamed_one_by_one(Purpose.EXIT, ""))
    assert {resource for _, resource, *_ in left} == {NOT_HERE}, left
    assert concerned(mesh) == before
    run = carried_out(Purpose.EXIT)
    assert concerned(mesh) != before
    left = asyncio.run(unnamed_one_by_one(Purpose.RESTORE, run))
    assert {resource for _, resource, *_ in left} == {NOT_HERE}, left
    carried_out(Purpose.RESTORE, run)
    assert concerned(mesh) == before
