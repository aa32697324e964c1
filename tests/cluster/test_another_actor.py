"""Another actor on a real API server while a run goes on: scales, deploys, deletes, re-labels, reverts in a loop."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshguard import app, execution
from meshguard.consent import consents_from
from meshguard.engine.outcome import Outcome, Result
from meshguard.mesh.protocol import Consents
from meshguard.model.scopes import Asked
from meshguard.model.staging import ProxyLimits, Staging, WaveSizes
from testbed import light_mesh
from testbed.api import Testbed
from testbed.waiting import wait_until
from tests.cluster.proxyless import without_proxies

pytestmark = pytest.mark.testbed

NAME = "rejoin-others"
CONTEXT = f"testbed-{NAME}"
WEB, CORE = light_mesh.WEB, light_mesh.CORE
REVERT_S = 5.0
READY_S = 120
CONSENTS = ("accept-authz-loss", "accept-fail-open")
STRICT = json.dumps({"spec": {"mtls": {"mode": "STRICT"}}})
STAGING = Staging(WaveSizes(("1", "rest")), ProxyLimits(memory="256Mi"))


@pytest.fixture(scope="module")
def mesh(able_machine: None) -> Iterator[Testbed]:
    """A light cluster with a mesh of its own."""
    bed = Testbed(NAME)
    bed.up()
    try:
        light_mesh.install(bed)
        yield bed
    finally:
        bed.down()


@pytest.fixture(autouse=True)
def _no_proxies_and_no_hurry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mesh: Testbed) -> None:
    without_proxies(monkeypatch, mesh, tmp_path)


TARGET = app.Target(CONTEXT)


def begun(of_run: str = "", staging: Staging | None = None) -> str:
    """Open an exit of shop-core, or the way back of a run."""

    async def begin() -> str:
        async with app.session(TARGET) as opened:
            if of_run:
                plan = await app.make_restore_plan(opened, of_run, Consents(), staging)
            else:
                plan = await app.make_exit_plan(opened, Asked(frozenset({CORE})), consents_from(CONSENTS))
            assert plan.blockers == ()
            return (await execution.begin(opened, plan, execution.Terms("test"))).run

    return asyncio.run(begin())


def carried_out(run: str, before: dict[str, Callable[[], None]] | None = None) -> Outcome:
    """Carry a run out; what is given for a phase happens just before it."""
    for phase in execution.plan_of(TARGET, run).phases:
        (before or {}).get(phase.name, lambda: None)()
        outcome = asyncio.run(execution.run_phase(TARGET, run, phase.name))
        if not outcome.goes_on:
            return outcome
    return outcome


def object_of(bed: Testbed, kind: str, name: str, space: str = CORE) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bed.kubectl("-n", space, "get", kind, name, "-o", "json"))
    return found


def sidecars(bed: Testbed, space: str = CORE) -> dict[str, set[bool]]:
    """For each app whether its pods carry a sidecar."""
    out: dict[str, set[bool]] = {}
    for pod in json.loads(bed.kubectl("-n", space, "get", "pods", "-o", "json"))["items"]:
        if "deletionTimestamp" not in pod["metadata"]:
            has = any(c["name"] == "istio-proxy" for c in pod["spec"]["containers"])
            out.setdefault(pod["metadata"]["labels"]["app"], set()).add(has)
    return out


class Reverting:
    """A reconciler: every few seconds it makes an object what its repository says."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act, self._over, self.turns = act, threading.Event(), 0
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._over.is_set():
            self._act()
            self.turns += 1
            self._over.wait(REVERT_S)

    def __enter__(self) -> Reverting:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def restored(bed: Testbed, run: str) -> Outcome:
    outcome = carried_out(begun(run))
    wait_until(lambda: set().union(*sidecars(bed).values()) == {True}, READY_S, "everybody to be back")
    return outcome


def carried_out_until(run: str, last: str) -> Outcome:
    """Carry the phases of a run out up to this one."""
    for phase in execution.plan_of(TARGET, run).phases:
        outcome = asyncio.run(execution.run_phase(TARGET, run, phase.name))
        if phase.name == last or not outcome.goes_on:
            return outcome
    raise AssertionError(f"the plan has no phase {last}")


def manifest(bed: Testbed, name: str) -> dict[str, Any]:
    """What would create the Deployment once more, under the name that it has."""
    found = object_of(bed, "deployment", name)
    metadata = {"name": name, "namespace": CORE}
    template = found["spec"]["template"]
    template["metadata"] = {"labels": template["metadata"]["labels"]}
    spec = {key: found["spec"][key] for key in ("replicas", "selector", "template")}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def renamed(bed: Testbed, name: str) -> dict[str, Any]:
    """The same as the cart, under another name."""
    twin: dict[str, Any] = json.loads(json.dumps(manifest(bed, "cart")).replace('"cart"', f'"{name}"'))
    return twin


def apply(bed: Testbed, *manifests: dict[str, Any]) -> None:
    """Create Deployments, and wait until they are ready."""
    bed.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}))
    for each in manifests:
        name = each["metadata"]["name"]
        bed.kubectl("-n", CORE, "rollout", "status", f"deployment/{name}", f"--timeout={READY_S}s")


def test_a_reconciler_that_reverts_the_label_ends_the_exit_and_is_named(mesh: Testbed) -> None:
    run = begun()

    def revert() -> None:
        mesh.kubectl("label", "namespace", CORE, "istio-injection=enabled", "--overwrite")

    assert carried_out_until(run, "un-enrol").goes_on
    with Reverting(revert) as reconciler:
        wait_until(lambda: reconciler.turns > 0, READY_S, "the reconciler's first turn")
        outcome = asyncio.run(execution.run_phase(TARGET, run, "restart"))
    assert (outcome.result, outcome.goes_on) == (Result.PARTIAL, False), outcome
    assert f"Namespace {CORE}: metadata.labels.istio-injection is 'enabled'" in outcome.sentence
    label = object_of(mesh, "namespace", CORE)["metadata"]["labels"]["istio-injection"]
    assert label == "enabled", "nobody fights the reconciler"
    assert restored(mesh, run).goes_on


def test_a_reconciler_that_makes_a_policy_strict_again_ends_the_exit_and_is_named(mesh: Testbed) -> None:
    run = begun()

    def revert() -> None:
        mesh.kubectl("-n", WEB, "patch", "peerauthentication", "default", "--type=merge", "-p", STRICT)

    assert carried_out_until(run, "relax").goes_on
    with Reverting(revert) as reconciler:
        wait_until(lambda: reconciler.turns > 0, READY_S, "the reconciler's first turn")
        outcome = carried_out(run)
    assert (outcome.result, outcome.goes_on) == (Result.PARTIAL, False), outcome
    assert f"PeerAuthentication {WEB}/default: spec.mtls.mode is 'STRICT'" in outcome.sentence
    assert restored(mesh, run).goes_on


def test_scaled_and_deployed_anew_in_the_middle_the_exit_takes_it_as_it_is(mesh: Testbed) -> None:
    run = begun()

    def others() -> None:
        mesh.kubectl("-n", CORE, "scale", "deployment/cart", "--replicas=3")
        mesh.kubectl("-n", CORE, "set", "image", "deployment/cart", "app=shop:v2")

    assert carried_out(run, {"restart": others}).result is Result.DONE
    assert sidecars(mesh) == {"cart": {False}}
    assert restored(mesh, run).result is Result.DONE
    spec = object_of(mesh, "deployment", "cart")["spec"]
    assert (spec["replicas"], spec["template"]["spec"]["containers"][0]["image"]) == (3, "shop:v2")


def test_days_later_a_run_comes_back_among_what_others_have_done(mesh: Testbed) -> None:
    """One deployed anew without the mark, one new, one deleted, a policy and a workload's size edited by others."""
    kept, anew = manifest(mesh, "cart"), renamed(mesh, "anew")
    apply(mesh, anew, renamed(mesh, "doomed"))
    run = begun()
    assert carried_out(run).result is Result.DONE
    mesh.kubectl("replace", "-f", "-", text=json.dumps(anew))
    apply(mesh, renamed(mesh, "newcomer"))
    mesh.kubectl("-n", CORE, "delete", "deployment", "doomed", "--wait=true")
    mesh.kubectl("-n", CORE, "scale", "deployment/cart", "--replicas=4")
    disable = json.dumps({"spec": {"mtls": {"mode": "DISABLE"}}})
    mesh.kubectl("-n", WEB, "patch", "peerauthentication", "default", "--type=merge", "-p", disable)
    mesh.kubectl("-n", CORE, "rollout", "status", "deployment/anew", f"--timeout={READY_S}s")
    assert sidecars(mesh) == {"cart": {False}, "anew": {False}, "newcomer": {False}}
    back = begun(run, STAGING)
    plan = execution.plan_of(TARGET, back)
    assert plan.excluded == {f"Deployment {CORE}/doomed": "it is not there any more"}
    told = {f.code.id: str(f.object) for f in plan.findings if f.code.id in ("MG117", "MG207")}
    assert told == {"MG117": f"Deployment {CORE}/newcomer", "MG207": f"PeerAuthentication {WEB}/default"}
    outcome = carried_out(back)
    assert outcome.result is Result.PARTIAL, outcome
    assert f"PeerAuthentication {WEB}/default" in "".join(outcome.conflicts)
    assert sidecars(mesh) == {"cart": {True}, "anew": {True}, "newcomer": {False}}
    assert object_of(mesh, "peerauthentication", "default", WEB)["spec"]["mtls"]["mode"] == "DISABLE"
    assert object_of(mesh, "deployment", "cart")["spec"]["replicas"] == 4
    for name in ("cart", "anew"):
        annotations = object_of(mesh, "deployment", name)["spec"]["template"]["metadata"]["annotations"]
        assert annotations["sidecar.istio.io/proxyMemoryLimit"] == "256Mi"
    mesh.kubectl("-n", WEB, "patch", "peerauthentication", "default", "--type=merge", "-p", STRICT)
    mesh.kubectl("-n", CORE, "delete", "deployment", "newcomer", "anew", "--wait=true")
    mesh.kubectl("replace", "-f", "-", text=json.dumps(kept))
    mesh.kubectl("-n", CORE, "rollout", "status", "deployment/cart", f"--timeout={READY_S}s")


def test_a_workload_that_is_deleted_in_the_middle_of_the_way_back_is_not_waited_for(mesh: Testbed) -> None:
    apply(mesh, renamed(mesh, "spare"))
    run = begun()
    assert carried_out(run).result is Result.DONE

    def deleted() -> None:
        mesh.kubectl("-n", CORE, "delete", "deployment", "spare", "--wait=true")

    outcome = carried_out(begun(run), {"restart": deleted})
    assert outcome.result is Result.DONE, outcome
    assert sidecars(mesh)["cart"] == {True}


def test_a_workload_that_is_deleted_before_its_restart_stops_the_exit(mesh: Testbed) -> None:
    apply(mesh, renamed(mesh, "spare"))
    run = begun()

    def deleted() -> None:
        mesh.kubectl("-n", CORE, "delete", "deployment", "spare", "--wait=true")

    outcome = carried_out(run, {"restart": deleted})
    assert (outcome.result, outcome.goes_on) == (Result.PARTIAL, False), outcome
    assert f"Deployment {CORE}/spare" in "".join(outcome.conflicts)
    assert restored(mesh, run).goes_on
