"""The way back of a fault, from its record alone: what it changed is put back, what it made is deleted.

Pods that came while the fault was on may be what the fault made of them, although their template never changed: in
namespaces whose labels the fault changed they are made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from meshguard.mesh.protocol import Mesh, Settings
from meshguard.model.change import Change, net, read
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.kinds import RESTARTABLE
from meshguard.model.objects import Pod, Ref
from meshguard.model.plan import Action, Await, Check, Direction, Phase, Plan, Step, Wave
from meshguard.model.snapshot import OpenRun, Snapshot
from meshguard.plan.apply import apply


@dataclass
class _Undo:
    snapshot: Snapshot
    run: OpenRun
    steps: list[Step] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    excluded: dict[str, str] = field(default_factory=dict)

    def collect(self) -> None:
        """Collect the steps, objects that were made last."""
        for ref in sorted(self.run.changes):
            self._give_back(ref)
        for ref in sorted(self.run.created):
            if ref in self.snapshot.resources or ref.kind in _UNSEEN:
                self._add(
                    Action.DELETE, ref, self.run.created[ref], f"Delete {ref}, which the fault made", manifest=True
                )
            else:
                self.excluded[str(ref)] = "it is not there any more"

    def _give_back(self, ref: Ref) -> None:
        resource = self.snapshot.resources.get(ref)
        if resource is None:
            self.excluded[str(ref)] = "it is not there any more"
            return
        changes = []
        for change in net(self.run.changes[ref]):
            found = read(resource.doc, change.path)
            if found == change.after:
                changes.append(change.inverse())
            elif found != change.before:
                detail = f"{'.'.join(change.path)} is {found!r}, the fault left {change.after!r}"
                self.findings.append(Finding(CODES["MG207"], ref, detail))
        if changes:
            self._add(Action.CHANGE, ref, resource.uid, f"Put {ref} back", tuple(changes))

    def _add(
        self,
        action: Action,
        ref: Ref,
        uid: str,
        sentence: str,
        changes: tuple[Change, ...] = (),
        *,
        manifest: bool = False,
    ) -> None:
        why = f"the fault of run {self.run.run} is over"
        made_from = self.run.manifests.get(ref) if manifest else None
        number = len(self.steps) + 1
        restarts = ref.kind in RESTARTABLE and any(c.path[:2] == ("spec", "template") for c in changes)
        self.steps.append(Step(f"undo-{number:03d}", action, ref, uid, sentence, why, changes, made_from, restarts))


#: Kinds that a snapshot does not hold.
_UNSEEN = ("LimitRange",)

Admitted = Callable[[Snapshot], Mapping[Ref, str]]
"""For each workload that would be injected the revision that would do it; the mesh's rules know."""


def plan_undo(snapshot: Snapshot, mesh: Mesh, run: OpenRun, settings: Settings, admitted: Admitted) -> Plan:
    """Plan the way back of a fault on the cluster as it is now.

    Labels come first and are seen in admission; then the workloads whose templates the fault changed restart.
    """
    undo = _Undo(snapshot, run)
    undo.collect()
    restarts = tuple(step for step in undo.steps if step.restarts)
    first = tuple(step for step in undo.steps if not step.restarts)
    stale = _made_meanwhile(snapshot, run)
    owners = sorted({snapshot.workload_of_pod[pod.ref] for pod in stale})
    concerned = [*(step.target for step in restarts), *owners]
    due = admitted(_after(snapshot, first))
    phases = (
        Phase(
            "undo",
            "Put everything back",
            (
                Wave(first, (*_scaled(first, settings), *_admission(run, concerned, due, settings))),
                *([Wave(restarts, _ready_again(restarts, settings))] if restarts else []),
            ),
        ),
        Phase("renew", "Make pods anew that came meanwhile", _renewals(stale, owners, settings)),
        Phase("verify", "See that nothing is left", (Wave((), _identical(undo.steps)),)),
    )
    return Plan(
        Direction.RESTORE,
        mesh.name,
        snapshot.cluster.uid,
        snapshot.cluster.context,
        run.namespaces,
        phases,
        tuple(undo.findings),
        (f"Undoes the fault of run {run.run}, made by {run.owner} at {run.started}: {run.reason}",),
        excluded=undo.excluded,
        of_run=run.run,
    )


def _after(snapshot: Snapshot, steps: Iterable[Step]) -> Snapshot:
    """Return the snapshot as the steps leave it; objects that it does not hold do not matter to admission."""
    for step in steps:
        if step.target in snapshot.resources:
            snapshot = apply(step, snapshot)
    return snapshot


def _admission(run: OpenRun, concerned: Iterable[Ref], due: Mapping[Ref, str], settings: Settings) -> tuple[Await, ...]:
    """After a change of labels the webhook's own cache may lag: its answer is awaited before a pod is made."""
    relabelled = {ref.name for ref in run.changes if ref.kind == "Namespace"}
    by_revision: dict[str, list[str]] = {}
    for ref in sorted(set(concerned)):
        if ref.namespace in relabelled and ref in due:
            by_revision.setdefault(due[ref], []).append(str(ref))
    return tuple(
        Await(
            Check.INJECTION,
            f"the next pods of {len(subject)} workload(s) come out with a sidecar of revision {revision}",
            tuple(subject),
            {"injected": True, "revision": revision},
            settings.converge_deadline_s,
        )
        for revision, subject in sorted(by_revision.items())
    )


def _scaled(steps: Iterable[Step], settings: Settings) -> tuple[Await, ...]:
    subject = tuple(str(s.target) for s in steps if s.target.kind in RESTARTABLE and s.action is Action.CHANGE)
    if not subject:
        return ()
    sentence = f"{len(subject)} workload(s) are as large as they were, and ready"
    return (Await(Check.ROLLED_OUT, sentence, subject, {}, settings.rollout_deadline_s),)


def _ready_again(steps: tuple[Step, ...], settings: Settings) -> tuple[Await, ...]:
    sentence = f"every pod of {len(steps)} workload(s) is of its own template again, and ready"
    return (Await(Check.ROLLED_OUT, sentence, tuple(str(s.target) for s in steps), {}, settings.rollout_deadline_s),)


def _made_meanwhile(snapshot: Snapshot, run: OpenRun) -> list[Pod]:
    relabelled = {ref.name for ref in run.changes if ref.kind == "Namespace"}
    restarted = {ref for ref in run.changes if ref.kind in RESTARTABLE}
    return [
        pod
        for pod in snapshot.pods
        if pod.ref.namespace in relabelled
        and pod.created >= run.started[:19]
        and not pod.terminating
        and (owner := snapshot.workload_of_pod[pod.ref]).kind in RESTARTABLE
        and owner not in restarted
    ]


def _renewals(stale: list[Pod], owners: list[Ref], settings: Settings) -> tuple[Wave, ...]:
    if not owners:
        return ()
    steps = tuple(
        Step(
            f"renew-{pod.ref.namespace}-{pod.ref.name}",
            Action.RENEW,
            pod.ref,
            pod.uid,
            f"Delete {pod.ref}, so that it comes anew",
            "it came while the fault was on",
        )
        for pod in stale
    )
    gone = {"gone": sorted(pod.uid for pod in stale)}
    sentence = f"{len(stale)} pod(s) that came during the fault are replaced, and ready"
    subject = tuple(str(ref) for ref in owners)
    return (Wave(steps, (Await(Check.ROLLED_OUT, sentence, subject, gone, settings.rollout_deadline_s),)),)


def _identical(steps: Iterable[Step]) -> tuple[Await, ...]:
    fields = {str(s.target): [c.to_json() for c in s.changes] for s in steps if s.action is Action.CHANGE}
    gone = sorted(str(s.target) for s in steps if s.action is Action.DELETE)
    if not fields and not gone:
        return ()
    sentence = "every object that the fault touched is as it was"
    return (Await(Check.IDENTICAL, sentence, (*sorted(fields), *gone), {"fields": fields, "gone": gone}, 60.0),)
