"""The way back into an Istio sidecar mesh: enrol -> restart -> tighten -> verify, STRICT last.

Every step undoes one change of the run and expects to find what the run left. What another open run still needs is
released, not undone; what somebody else has changed since is reported and left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from meshguard.mesh.istio_sidecar import membership, sharing
from meshguard.mesh.istio_sidecar.hazards.world import control_plane
from meshguard.mesh.istio_sidecar.leave import injection_awaits, rollout_waves, traffic_awaits
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents, Draft, Settings
from meshguard.model.change import Change, FieldConflict, read
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
        for change in self.run.changes[ref]:
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
    restart = undo.steps(
        "restart",
        RESTARTABLE,
        "Restart {ref}",
        "the restart mark goes, the template is identical to what it was, and its new pods carry a sidecar",
    )
    callers = undo.steps(
        "tighten-1",
        ("DestinationRule", "AuthorizationPolicy"),
        "Put {ref} back",
        "all servers and callers of the run have their proxies again",
    )
    strict = undo.steps(
        "tighten-2",
        ("PeerAuthentication",),
        "Put {ref} back",
        "STRICT comes last: nobody of the run is outside any more",
    )
    members = tuple(
        workload
        for step in restart
        if step.action is Action.CHANGE and isinstance(workload := snapshot.resources[step.target], Workload)
    )
    scope = Scope(snapshot, frozenset(run.namespaces))
    findings = [*control_plane(scope, Consents()), *undo.findings, *_unserved(snapshot, enrol, members)]
    findings += [Finding(CODES["MG208"], ref, "see the finding on it above") for ref in sorted(set(undo.lost))]
    written = [s for s in (*enrol, *restart, *callers, *strict) if s.action in (Action.CHANGE, Action.DELETE)]
    phases = (
        Phase(
            "enrol",
            "Switch injection on again",
            (Wave(tuple(enrol), injection_awaits(members, settings, injected=True)),),
        ),
        Phase("restart", "Restart with sidecars", _restart_waves(scope, restart, members, settings)),
        Phase("tighten", "Put the policies back, STRICT last", _tighten_waves(scope, callers, strict, settings)),
        Phase("verify", "See that everything is as it was", (Wave((), _verified(scope, members, written)),)),
    )
    return Draft(phases, tuple(findings), _notes(run, (*enrol, *restart, *callers, *strict)), undo.excluded)


def _restart_waves(
    scope: Scope, steps: list[Step], members: tuple[Workload, ...], settings: Settings
) -> tuple[Wave, ...]:
    waves: list[Wave] = []
    for first in range(0, len(steps), settings.wave_size):
        chosen = steps[first : first + settings.wave_size]
        told = {s.target for s in chosen}
        present = [m for m in members if m.ref in told]
        waves += rollout_waves(scope, chosen, present, settings, meshed=True)
    return tuple(waves)


def _tighten_waves(scope: Scope, callers: list[Step], strict: list[Step], settings: Settings) -> tuple[Wave, ...]:
    deadline = settings.converge_deadline_s
    first: list[Await] = []
    rules = [s for s in callers if s.target.kind == "DestinationRule" and s.action is Action.CHANGE]
    if rules:
        named = tuple(str(s.target) for s in rules)
        first.append(
            Await(
                Check.OUTBOUND,
                "the callers' proxies follow the DestinationRules again",
                named,
                {"tls": "rules"},
                deadline,
            )
        )
    policies = tuple(
        f"{s.target.namespace}/{s.target.name}"
        for s in callers
        if s.target.kind == "AuthorizationPolicy" and s.action is Action.CHANGE
    )
    if policies:
        first.append(
            Await(Check.AUTHZ, f"the servers' proxies enforce {', '.join(policies)} again", policies, {}, deadline)
        )
    second: tuple[Await, ...] = ()
    spaces = tuple(sorted({s.target.namespace for s in strict if s.action is not Action.RELEASE}))
    if spaces:
        sentence = f"the proxies in {', '.join(spaces)} demand what the policies say"
        second = (Await(Check.INBOUND, sentence, spaces, {}, deadline),)
    return (Wave(tuple(callers), tuple(first)), Wave(tuple(strict), second))


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


def _unserved(snapshot: Snapshot, enrol: list[Step], members: tuple[Workload, ...]) -> list[Finding]:
    """Find workloads that would come back without a sidecar although everything is put back."""
    restored = []
    for step in enrol:
        try:
            restored.append(changed_resource(snapshot.resources[step.target], step.changes))
        except FieldConflict:
            continue  # named by MG207 already
    after = membership.Memberships(snapshot.replace(restored))
    return [
        Finding(CODES["MG402"], workload.ref, f"it would be {answer.due.due}: {answer.due.reason}")
        for workload in members
        if (answer := after.of(workload)).due.due is not membership.Due.INJECTED
    ]


def _notes(run: OpenRun, steps: Iterable[Step]) -> tuple[str, ...]:
    kept = [str(s.target) for s in steps if s.action is Action.RELEASE]
    notes = [f"Undoes run {run.run}, opened by {run.owner} at {run.started}: {run.reason}"]
    if kept:
        notes.append(f"Stays until the last run that needs it is restored: {', '.join(kept)}.")
    return tuple(notes)
