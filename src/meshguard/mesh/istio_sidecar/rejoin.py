"""The way back into an Istio sidecar mesh: enrol -> restart -> tighten -> verify, STRICT last.

Every step undoes one change of the run and expects to find what the run left. What another open run still needs is
released, not undone; what somebody else has changed since is reported and left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from meshguard.mesh.istio_sidecar import lifts, membership, notes, order, restart, sharing
from meshguard.mesh.istio_sidecar.capacity import Capacity, bound
from meshguard.mesh.istio_sidecar.destination_rules import rule_host
from meshguard.mesh.istio_sidecar.hazards.control_plane import is_down
from meshguard.mesh.istio_sidecar.leave import traffic_awaits
from meshguard.mesh.istio_sidecar.pacing import one_by_one
from meshguard.mesh.istio_sidecar.restart import Outcome, Restart
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents, Draft, Order, Selection, Settings
from meshguard.model.change import Change, FieldConflict, net, read
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.kinds import RESTARTABLE
from meshguard.model.objects import Ref, Workload
from meshguard.model.plan import Action, Await, Check, Phase, Step, Wave
from meshguard.model.snapshot import OpenRun, Snapshot, changed_resource


@dataclass
class _Undo:
    """The undo steps of a run while they are collected."""

    snapshot: Snapshot
    run: OpenRun
    others: tuple[OpenRun, ...]
    findings: list[Finding] = field(default_factory=list)
    excluded: dict[str, str] = field(default_factory=dict)
    lost: list[Ref] = field(default_factory=list)
    """Objects of the enrolment that cannot be brought back."""

    def steps(self, phase: str, kinds: Iterable[str], sentence: str, why: str) -> list[Step]:
        """Return the steps that undo what the run did to objects of these kinds."""
        chosen = set(kinds)
        steps: list[Step] = []
        for ref in sorted(set(self.run.changes) | set(self.run.created)):
            if ref.kind in chosen:
                for action, changes, words in self._undo(ref):
                    steps.append(
                        Step(
                            f"{phase}-{len(steps) + 1:03d}",
                            action,
                            ref,
                            self._uid(ref),
                            words or sentence.format(ref=ref),
                            why,
                            changes,
                            self.run.manifests.get(ref) if action is Action.DELETE else None,
                            restarts=ref.kind in RESTARTABLE,
                        )
                    )
        return steps

    def _uid(self, ref: Ref) -> str:
        resource = self.snapshot.resources.get(ref)
        return self.run.created.get(ref) or (resource.uid if resource else "")

    def _undo(self, ref: Ref) -> list[tuple[Action, tuple[Change, ...], str]]:
        resource = self.snapshot.resources.get(ref)
        if resource is None:
            self.excluded[str(ref)] = "it is not there any more"
            return []
        if ref in self.run.created:
            keepers = sharing.holders(self.others, ref)
            if keepers:
                return [(Action.RELEASE, (), f"Keep {ref}: run {keepers[0].run} needs it")]
            return [(Action.DELETE, (), f"Delete {ref}, which the run created")]
        undo, release = [], []
        for change in net(self.run.changes[ref]):
            keepers = sharing.holders(self.others, ref, change.path)
            found = read(resource.doc, change.path)
            if keepers:
                release.append(change)
            elif found == change.after:
                undo.append(change.inverse())
            elif found != change.before:
                self._conflict(ref, change, found)
        return [
            part
            for part in (
                (Action.CHANGE, tuple(undo), ""),
                (Action.RELEASE, tuple(release), f"Keep {ref} as it is: another open run needs it"),
            )
            if part[1]
        ]

    def _conflict(self, ref: Ref, change: Change, found: object) -> None:
        self.findings.append(
            Finding(CODES["MG207"], ref, f"{'.'.join(change.path)} is {found!r}, the run left {change.after!r}")
        )
        if ref.kind in ("Namespace", *RESTARTABLE) and change.path[-1] != "meshguard.dev/run":
            self.lost.append(ref)


def rejoin(snapshot: Snapshot, run: OpenRun, settings: Settings) -> Draft:
    """Plan the way back of an open run on the cluster as it is now."""
    others = tuple(other for other in snapshot.open_runs if other.run != run.run)
    undo = _Undo(snapshot, run, others)
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
    restarts = _restarts(snapshot, restarting)
    members = tuple(r.workload for r in restarts)
    scope = _scope(snapshot, run)
    findings = [*is_down(scope, Consents()), *undo.findings, *_unserved(snapshot, [*enrol, *restarting], members)]
    findings += [Finding(CODES["MG208"], ref, "see the finding on it above") for ref in sorted(set(undo.lost))]
    written = [
        s for s in (*enrol, *restarting, *rules, *judging, *strict) if s.action in (Action.CHANGE, Action.DELETE)
    ]
    switched = [w for w in members if w.ref.namespace in {s.target.name for s in enrol}]
    phases = (
        Phase(
            "enrol",
            "Switch injection on again",
            (Wave(tuple(enrol), restart.injection_awaits(switched, settings, Outcome(meshed=True))),),
        ),
        Phase("restart", "Restart with sidecars", _restart_waves(scope, restarting, restarts, settings)),
        Phase("tighten", "Put the policies back, STRICT last", _tighten_waves(scope, rules, judging, strict, settings)),
        Phase("verify", "See that everything is as it was", (Wave((), _verified(scope, members, written)),)),
    )
    said = (
        *_notes(run, (*enrol, *restarting, *rules, *judging, *strict)),
        *notes.of_restore(scope, restarts, settings),
    )
    return Draft(phases, tuple(findings), said, undo.excluded)


def _scope(snapshot: Snapshot, run: OpenRun) -> Scope:
    """Return what the run is about: whole namespaces where it changed their label, else its workloads."""
    switched = {ref.name for ref in run.changes if ref.kind == "Namespace"}
    chosen = frozenset(ref for ref in run.changes if ref.kind in RESTARTABLE and ref.namespace not in switched)
    return Scope(snapshot, frozenset(run.namespaces), Selection(chosen))


def _restarts(snapshot: Snapshot, steps: Iterable[Step]) -> tuple[Restart, ...]:
    """Return the restarts that undo a run's. What had no room for one more pod on the way out may have none now."""
    found = [
        (step, workload)
        for step in steps
        if step.action is Action.CHANGE and isinstance(workload := snapshot.resources[step.target], Workload)
    ]
    members = [workload for _, workload in found]
    cramped = {*Capacity(snapshot).without_room(members), *bound(snapshot, members)}
    return tuple(_restart(step, workload, room=workload.ref not in cramped) for step, workload in found)


def _restart(step: Step, workload: Workload, *, room: bool) -> Restart:
    """Return one restart; a strategy that the run left changed comes back after it, not with it."""
    with_it = tuple(c for c in step.changes if c.path not in lifts.LIFTED)
    after = tuple(c for c in step.changes if c.path in lifts.LIFTED)
    lift = None if after else lifts.lift_of(workload, room=room)
    changes = (*(lift.changes if lift else ()), *with_it)
    return Restart(workload, replace(step, changes=changes), lift, after)


def _restart_waves(
    scope: Scope, steps: list[Step], restarts: tuple[Restart, ...], settings: Settings
) -> tuple[Wave, ...]:
    released = tuple(step for step in steps if step.action is not Action.CHANGE)
    by_ref = {r.workload.ref: r for r in restarts}
    backwards = {
        Order.CLIENTS_FIRST: Order.SERVERS_FIRST,
        Order.SERVERS_FIRST: Order.CLIENTS_FIRST,
        Order.TOGETHER: Order.TOGETHER,
    }
    waves = [
        wave
        for tier in order.tiers(scope, [r.workload for r in restarts], backwards[settings.order])
        for wave in restart.waves(
            scope, [by_ref[w.ref] for w in tier], settings, Outcome(meshed=True), settings.wave_size
        )
    ]
    return (*([Wave(released)] if released else []), *waves)


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
    if not written:
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


def _unserved(snapshot: Snapshot, steps: list[Step], members: tuple[Workload, ...]) -> list[Finding]:
    """Find workloads that would come back without a sidecar although everything is put back."""
    restored = []
    for step in steps:
        if step.action is not Action.CHANGE:
            continue
        try:
            restored.append(changed_resource(snapshot.resources[step.target], step.changes))
        except FieldConflict:
            continue  # named by MG207 already
    restored_snapshot = snapshot.replace(restored)
    after = membership.Memberships(restored_snapshot)
    workloads = (w for w in restored_snapshot.workloads if w.ref in {m.ref for m in members})
    return [
        Finding(CODES["MG402"], workload.ref, f"it would be {answer.due.due}: {answer.due.reason}")
        for workload in sorted(workloads, key=lambda w: w.ref)
        if (answer := after.of(workload)).due.due is not membership.Due.INJECTED
    ]


def _notes(run: OpenRun, steps: Iterable[Step]) -> tuple[str, ...]:
    kept = [str(s.target) for s in steps if s.action is Action.RELEASE]
    notes = [f"Undoes run {run.run}, opened by {run.owner} at {run.started}: {run.reason}"]
    if kept:
        notes.append(f"Stays until the last run that needs it is restored: {', '.join(kept)}.")
    return tuple(notes)
