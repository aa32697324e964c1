"""Realignment: restart the proxies that do not fit their control plane, and nothing else. Nobody leaves the mesh.

enrol -> restart -> verify. A proxy fits when it was injected by the revision that would inject it now, and when its
version is the one of that revision's istiod.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshguard.mesh.istio_sidecar import control_plane, lifts, membership, names, notes, restart
from meshguard.mesh.istio_sidecar.estimate import Range
from meshguard.mesh.istio_sidecar.hazards import hazards_of_restart
from meshguard.mesh.istio_sidecar.leave import traffic_awaits
from meshguard.mesh.istio_sidecar.restart import Outcome
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Draft, RealignRequest, Selection
from meshguard.model.change import ABSENT, Change, change_at, read
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Namespace, Workload
from meshguard.model.plan import Action, Await, Check, Phase, Step, Wave
from meshguard.model.snapshot import changed_resource
from meshguard.model.versions import release


@dataclass(frozen=True)
class Misfit:
    """A workload whose proxies do not fit, and why."""

    workload: Workload
    revision: str
    """That its next pods would be injected by."""
    why: str


def realign(scope: Scope, request: RealignRequest) -> Draft:
    """Plan the realignment of a scope."""
    settings = request.settings
    enrol = _enrol(scope, request.to_revision)
    restored = [changed_resource(scope.snapshot.resources[s.target], s.changes) for s in enrol]
    after = Scope(scope.snapshot.replace(restored), scope.namespaces, scope.selection)
    found = misfits(after)
    members = Scope(after.snapshot, after.namespaces, _only(after, found))
    findings = [*hazards_of_restart(members, request.consents), *_unserved(after, request.to_revision)]
    restarts = [
        restart.restart_of(
            m.workload,
            number,
            m.why,
            lifts.lift_of(m.workload, room=m.workload.ref not in members.without_room),
        )
        for number, m in enumerate(found, start=1)
    ]
    by_revision = sorted({m.revision for m in found})
    admitted = tuple(
        awaited
        for revision in by_revision
        for awaited in restart.injection_awaits(
            [m.workload for m in found if m.revision == revision], settings, Outcome(meshed=True, revision=revision)
        )
    )
    waves = tuple(
        wave
        for revision in by_revision
        for wave in restart.waves(
            members,
            [r for r, m in zip(restarts, found, strict=True) if m.revision == revision],
            settings,
            Outcome(meshed=True, revision=revision),
            settings.wave_size,
        )
    )
    phases = (
        Phase("enrol", "See that new pods get the right proxy", (Wave(tuple(enrol), admitted),)),
        Phase("restart", "Restart what does not fit its control plane", waves),
        Phase("verify", "See it on pods, proxies and traffic", (Wave((), _verified(members, found)),)),
    )
    if not found:
        return Draft(phases, tuple(findings), ("Every proxy of the scope fits its control plane; nothing to do.",))
    rest = notes.CONVERGING + Range(scope.mesh.drain_s, scope.mesh.drain_s + 5.0)
    said = (
        notes.duration(restarts, settings, rest),
        *(f"{m.workload.ref}: {m.why}." for m in found),
        *notes.headroom(scope.capacity),
    )
    fits = {
        str(w.ref): "its proxies fit their control plane"
        for w in after.leaving
        if w.ref not in {m.workload.ref for m in found}
    }
    return Draft(phases, tuple(findings), said, {**fits, **{str(ref): why for ref, why in scope.kept.items()}})


def misfits(scope: Scope) -> tuple[Misfit, ...]:
    """Return the workloads of a scope with a proxy that does not fit its control plane, in order."""
    found, versions = [], control_plane.versions(scope.snapshot)
    for workload in scope.leaving:
        due = scope.memberships.of(workload).due
        if due.due is not membership.Due.INJECTED:
            continue
        why = _misfit(scope, workload, due.revision, versions.get(due.revision, ""))
        if why:
            found.append(Misfit(workload, due.revision, why))
    return tuple(found)


def _misfit(scope: Scope, workload: Workload, revision: str, wanted: str) -> str:
    others = sorted({membership.revision_of(p) or "unknown" for p in restart.stale_pods(scope, workload, revision)})
    if others:
        return f"its proxies come from revision {', '.join(others)}, its next ones would come from {revision}"
    images = {membership.proxy_image(p).rpartition(":")[2] for p in scope.meshed_workloads[workload.ref]}
    wrong = sorted(tag for tag in images if release(tag) and release(wanted) and release(tag) != release(wanted))
    return f"its proxies are {', '.join(wrong)}, the istiod of revision {revision} is {wanted}" if wrong else ""


def _enrol(scope: Scope, revision: str) -> list[Step]:
    """Return the label changes by which namespaces move to a revision; `istio-injection` would beat it and goes.

    A namespace of which only a part is in the scope keeps its labels; that its proxies stay is a finding then.
    """
    steps: list[Step] = []
    for name in scope.switched if revision else ():
        namespace = scope.snapshot.namespaces[name]
        changes = _labels(namespace, revision)
        if changes:
            steps.append(
                Step(
                    f"enrol-{len(steps) + 1:03d}",
                    Action.CHANGE,
                    namespace.ref,
                    namespace.uid,
                    f"Move namespace {name} to revision {revision}",
                    "istio.io/rev names the revision; istio-injection would beat it",
                    changes,
                )
            )
    return steps


def _labels(namespace: Namespace, revision: str) -> tuple[Change, ...]:
    injection = ("metadata", "labels", names.NS_INJECTION)
    old = read(namespace.doc, injection)
    moves = [Change(injection, old, ABSENT)] if old is not ABSENT else []
    change = change_at(namespace.doc, ("metadata", "labels", names.REVISION), revision)
    return (*moves, *([change] if change.before != change.after else []))


def _only(scope: Scope, found: tuple[Misfit, ...]) -> Selection:
    kept = {w.ref: "it fits" for w in scope.candidates if w.ref not in {m.workload.ref for m in found}}
    return Selection(excluded={**kept, **scope.kept})


def _unserved(scope: Scope, revision: str) -> list[Finding]:
    """Find workloads that would come back without a proxy, or with one of another revision than asked for."""
    out = []
    for workload in scope.leaving:
        due = scope.memberships.of(workload).due
        if due.due is not membership.Due.INJECTED:
            out.append(Finding(CODES["MG402"], workload.ref, f"it would be {due.due}: {due.reason}"))
        elif revision and due.revision != revision and not _is_tag(scope, revision, due.revision):
            out.append(
                Finding(CODES["MG402"], workload.ref, f"it would be injected by {due.revision}, not by {revision}")
            )
    return out


def _is_tag(scope: Scope, tag: str, revision: str) -> bool:
    return any(i.webhook.tag == tag and i.webhook.revision == revision for i in scope.memberships.injectors)


def _verified(scope: Scope, found: tuple[Misfit, ...]) -> tuple[Await, ...]:
    awaits = tuple(
        Await(
            Check.MEMBERSHIP,
            f"every proxy is of revision {revision}",
            tuple(str(m.workload.ref) for m in found if m.revision == revision),
            {"meshed": True, "revision": revision},
            30.0,
        )
        for revision in sorted({m.revision for m in found})
    )
    return (*awaits, *traffic_awaits(scope)) if found else ()
