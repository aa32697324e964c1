"""The way back into an Istio sidecar mesh: enrol -> restart -> tighten -> verify, STRICT last.

Every step undoes one change of the run and expects to find what the run left. With a staging the workloads come back
in waves, and there is no phase of enrolment before them; see the module `returning`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from meshguard.mesh.istio_sidecar import membership, notes, restart
from meshguard.mesh.istio_sidecar.destination_rules import rule_host
from meshguard.mesh.istio_sidecar.hazards.control_plane import is_down
from meshguard.mesh.istio_sidecar.leave import traffic_awaits
from meshguard.mesh.istio_sidecar.meanwhile import Meanwhile
from meshguard.mesh.istio_sidecar.pacing import one_by_one
from meshguard.mesh.istio_sidecar.restart import Outcome, Restart
from meshguard.mesh.istio_sidecar.returning import Returning, at_once, returning, staged
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.istio_sidecar.undo import Undo
from meshguard.mesh.protocol import Consents, Draft, Selection, Settings
from meshguard.model.change import FieldConflict
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.kinds import RESTARTABLE
from meshguard.model.objects import Workload
from meshguard.model.plan import Action, Await, Check, Phase, Step, Wave
from meshguard.model.snapshot import OpenRun, Snapshot, changed_resource
from meshguard.model.staging import Staging


def rejoin(snapshot: Snapshot, run: OpenRun, settings: Settings, staging: Staging | None = None) -> Draft:
    """Plan the way back of an open run on the cluster as it is now, at once or as the staging says."""
    others = tuple(other for other in snapshot.open_runs if other.run != run.run)
    undo = Undo(snapshot, run, others)
    enrol = undo.steps(
        "enrol", ("Namespace",), "Put the labels of {ref} back", "its next pods shall carry a sidecar again"
    )
    restarting = undo.steps(
        "restart",
        RESTARTABLE,
        "Restart {ref}",
        "the restart mark goes, the template is identical to what it was, and its new pods carry a sidecar",
    )
    rules = undo.steps(
        "tighten-1",
        ("DestinationRule",),
        "Put {ref} back",
        "all servers of the run have their proxies again",
    )
    judging = undo.steps(
        "tighten-2",
        ("AuthorizationPolicy",),
        "Put {ref} back",
        "all callers of the run have their proxies again, and speak mutual TLS",
    )
    strict = undo.steps(
        "tighten-3",
        ("PeerAuthentication",),
        "Put {ref} back",
        "STRICT comes last: nobody of the run is outside any more",
    )
    meanwhile = Meanwhile(_restored(snapshot, [*enrol, *restarting]), run, others)
    back = returning(snapshot, restarting, undo.lost, meanwhile, staging)
    restarts = back.restarts()
    members = tuple(r.workload for r in restarts)
    scope = _scope(snapshot, run, restarts)
    findings = [*is_down(scope, Consents()), *undo.findings, *_unserved(meanwhile.restored, members)]
    findings += meanwhile.findings(with_new=bool(staging and staging.with_new))
    findings += [Finding(CODES["MG208"], ref, "see the finding on it above") for ref in sorted(set(undo.lost))]
    planned = (*enrol, *back.undoing, *rules, *judging, *strict)
    written = [s for s in planned if s.action in (Action.CHANGE, Action.DELETE)]
    phases = (
        *_back_in(scope, enrol, back, restarts, settings, staging),
        Phase("tighten", "Put the policies back, STRICT last", _tighten_waves(scope, rules, judging, strict, settings)),
        Phase("verify", "See that everything is as it was", (Wave((), _verified(scope, members, written)),)),
    )
    said = (*_notes(run, planned), *notes.of_restore(scope, restarts, settings))
    if staging:
        said = (*said, *notes.of_staging(staging, restarts))
    return Draft(phases, tuple(findings), said, undo.excluded)


def _back_in(
    scope: Scope,
    enrol: Sequence[Step],
    back: Returning,
    restarts: Sequence[Restart],
    settings: Settings,
    staging: Staging | None,
) -> tuple[Phase, ...]:
    """Return the phases after which every workload has its sidecar again."""
    first = [Wave(back.released)] if back.released else []
    if staging:
        waves = staged(scope, enrol, restarts, settings, staging)
        return (Phase("restart", "Come back wave by wave", (*first, *waves)),)
    spaces = {step.target.name for step in enrol}
    switched = [r.workload for r in restarts if r.workload.ref.namespace in spaces]
    admitted = restart.injection_awaits(switched, settings, Outcome(meshed=True))
    return (
        Phase("enrol", "Switch injection on again", (Wave(tuple(enrol), admitted),)),
        Phase("restart", "Restart with sidecars", (*first, *at_once(scope, restarts, settings))),
    )


def _restored(snapshot: Snapshot, steps: Iterable[Step]) -> Snapshot:
    """Return the snapshot with namespaces and workloads as the steps put them back."""
    restored = []
    for step in steps:
        if step.action is not Action.CHANGE:
            continue
        try:
            restored.append(changed_resource(snapshot.resources[step.target], step.changes))
        except FieldConflict:
            continue  # named by MG207 already
    return snapshot.replace(restored)


def _scope(snapshot: Snapshot, run: OpenRun, restarts: Iterable[Restart]) -> Scope:
    """Return what the way back is about: whole namespaces where the run changed their label, else its workloads."""
    switched = {ref.name for ref in run.changes if ref.kind == "Namespace"}
    members = {*run.changes, *(r.workload.ref for r in restarts)}
    chosen = frozenset(ref for ref in members if ref.kind in RESTARTABLE and ref.namespace not in switched)
    return Scope(snapshot, frozenset(run.namespaces), Selection(chosen))


def _tighten_waves(
    scope: Scope, rules: list[Step], judging: list[Step], strict: list[Step], settings: Settings
) -> tuple[Wave, ...]:
    """Servers judge callers by identity again only when every caller was seen to show one; STRICT comes after all."""
    deadline = settings.converge_deadline_s
    first: tuple[Await, ...] = ()
    patterns = tuple(sorted({_host_of(scope.snapshot, s) for s in rules if s.action is not Action.RELEASE}))
    if patterns:
        sentence = f"the callers' proxies follow the DestinationRules for {', '.join(patterns)} again"
        first = (Await(Check.OUTBOUND, sentence, patterns, {"tls": "computed"}, deadline),)
    between: tuple[Await, ...] = ()
    policies = tuple(f"{s.target.namespace}/{s.target.name}" for s in judging if s.action is Action.CHANGE)
    if policies:
        sentence = f"the servers' proxies enforce {', '.join(policies)} again"
        between = (Await(Check.AUTHZ, sentence, policies, {}, deadline),)
    return (
        Wave(tuple(rules), first),
        Wave(tuple(judging), between),
        *one_by_one(scope, strict, settings),
    )


def _host_of(snapshot: Snapshot, step: Step) -> str:
    return rule_host(snapshot.resources[step.target])


def _verified(scope: Scope, members: tuple[Workload, ...], written: list[Step]) -> tuple[Await, ...]:
    if not written and not members:
        return ()
    fields = {str(s.target): [c.to_json() for c in s.changes] for s in written if s.action is Action.CHANGE}
    gone = sorted(str(s.target) for s in written if s.action is Action.DELETE)
    identical = Await(
        Check.IDENTICAL,
        "every object that the run touched is as the snapshot recorded it",
        (*sorted(fields), *gone),
        {"fields": fields, "gone": gone},
        30.0,
    )
    subject = tuple(str(m.ref) for m in members)
    present = (
        (Await(Check.MEMBERSHIP, "every pod of the run carries a sidecar", subject, {"meshed": True}, 30.0),)
        if members
        else ()
    )
    return (identical, *present, *traffic_awaits(scope))


def _unserved(restored: Snapshot, members: tuple[Workload, ...]) -> list[Finding]:
    """Find workloads that would come back without a sidecar although everything is put back.

    Where only a dry-run create can tell (MG110), the plan's waits tell.
    """
    after = membership.Memberships(restored)
    wanted = {m.ref for m in members}
    workloads = (w for w in restored.workloads if w.ref in wanted)
    return [
        Finding(CODES["MG402"], workload.ref, f"it would be {answer.due.due}: {answer.due.reason}")
        for workload in sorted(workloads, key=lambda w: w.ref)
        if (answer := after.of(workload)).due.due in (membership.Due.NOT_INJECTED, membership.Due.REFUSED)
    ]


def _notes(run: OpenRun, steps: Iterable[Step]) -> tuple[str, ...]:
    kept = [str(s.target) for s in steps if s.action is Action.RELEASE]
    notes = [f"Undoes run {run.run}, opened by {run.owner} at {run.started}: {run.reason}"]
    if kept:
        notes.append(f"Stays until the last run that needs it is restored: {', '.join(kept)}.")
    return tuple(notes)
