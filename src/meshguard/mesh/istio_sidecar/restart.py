"""Restarting workloads, whatever for: the mark on the template, waves, and what must be seen after each.

"Restarted" means that every old pod is gone, seen, and that the callers' proxies know the new ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from meshguard.mesh.istio_sidecar import lifts, membership, names
from meshguard.mesh.istio_sidecar.hosts import fqdn
from meshguard.mesh.istio_sidecar.lifts import Lift
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Settings
from meshguard.model.change import Change, change_at, read
from meshguard.model.objects import Pod, Ref, Workload
from meshguard.model.plan import RUN_PLACEHOLDER, Action, Await, Check, Step, Wave

RESTART_MARK = "meshguard.dev/restart"
TEMPLATE_RESTART_MARK = ("spec", "template", "metadata", "annotations", RESTART_MARK)
TEMPLATE_INJECT = ("spec", "template", "metadata", "labels", names.POD_INJECT)
#: Pods of an OnDelete set that are deleted at the same time: a tenth of them, at least one.
RENEWED_AT_ONCE = 10
NOTHING_ELSE: Mapping[str, object] = {}


@dataclass(frozen=True)
class Outcome:
    """How the restarted pods shall come out."""

    meshed: bool
    revision: str = ""
    """Of their proxies; "" where any will do."""
    endpoints: bool = True
    """Whether the callers' proxies can be expected to learn of the new pods."""

    @property
    def words(self) -> str:
        """For a sentence: `without a sidecar`, `with a sidecar of revision 1-28`."""
        if not self.meshed:
            return "without a sidecar"
        return "with a sidecar" + (f" of revision {self.revision}" if self.revision else "")

    @property
    def expect(self) -> dict[str, object]:
        """As the check MEMBERSHIP reads it."""
        return {"meshed": self.meshed, **({"revision": self.revision} if self.revision else {})}


@dataclass(frozen=True)
class Restart:
    """One workload's restart: the step that marks its template, and the change of strategy that it needs."""

    workload: Workload
    step: Step
    lift: Lift | None = None
    lifted: tuple[Change, ...] = ()
    """What gives the strategy back, where no lift of this plan does."""

    @property
    def after(self) -> tuple[Change, ...]:
        """What is to be changed once every old pod is gone."""
        return self.lift.inverse if self.lift else self.lifted


def restart_of(workload: Workload, number: int, why: str, lift: Lift | None, extra: Iterable[Change] = ()) -> Restart:
    """Return the restart of a workload by the mark on its template; `extra` changes of the template go with it."""
    mark = Change(TEMPLATE_RESTART_MARK, read(workload.doc, TEMPLATE_RESTART_MARK), RUN_PLACEHOLDER)
    if workload.ref.kind == "Rollout":  # a custom resource would keep the empty mapping that the mark leaves behind
        mark = change_at(workload.doc, TEMPLATE_RESTART_MARK, RUN_PLACEHOLDER)
    step = Step(
        f"restart-{number:03d}",
        Action.CHANGE,
        workload.ref,
        workload.uid,
        f"Restart {workload.ref}" + (f" ({lift.why}: {lift.lost} meanwhile)" if lift else ""),
        why,
        (*(lift.changes if lift else ()), *extra, mark),
        restarts=True,
    )
    return Restart(workload, step, lift)


def inject_off(workload: Workload) -> Change:
    """Return the change of a template after which no webhook rule injects its pods; one of the API server's."""
    return change_at(workload.doc, TEMPLATE_INJECT, "false")


def waves(
    scope: Scope, restarts: Sequence[Restart], settings: Settings, outcome: Outcome, size: int
) -> tuple[Wave, ...]:
    """Return the waves that restart these workloads, `size` of them at a time."""
    out: list[Wave] = []
    for first in range(0, len(restarts), size):
        out += _rollout(scope, restarts[first : first + size], settings, outcome)
    return tuple(out)


def _rollout(scope: Scope, restarts: Sequence[Restart], settings: Settings, outcome: Outcome) -> list[Wave]:
    """Restart at the same time; then delete what waits for it; then look at the callers.

    The callers come in a wave of their own: before the rollout they know exactly the old pods, which would do.
    """
    renewed = [r for r in restarts if lifts.renews_on_delete(r.workload)]
    rolling = [r for r in restarts if r not in renewed]
    steps = tuple(r.step for r in restarts)
    out = [Wave(steps, _gone([r.workload for r in rolling], settings, outcome))]
    out += _deletions(scope, [r.workload for r in renewed], settings)
    if renewed:
        out.append(Wave((), _gone([r.workload for r in renewed], settings, outcome, {"renewed": True})))
    given_back = tuple(_give_back(r) for r in restarts if r.after)
    targets = hosts_of(scope, [r.workload for r in restarts]) if outcome.endpoints else ()
    if given_back or targets:
        out.append(Wave(given_back, (*_known(targets, settings), *_rebuilt(scope, targets, settings))))
    return out


def _gone(
    members: Sequence[Workload], settings: Settings, outcome: Outcome, expect: Mapping[str, object] = NOTHING_ELSE
) -> tuple[Await, ...]:
    if not members:
        return ()
    subject = tuple(str(w.ref) for w in members)
    count = f"{len(members)} workload(s)"
    deadline = settings.rollout_deadline_s
    return (
        Await(
            Check.ROLLED_OUT, f"every old pod of {count} is gone and the new ones are ready", subject, expect, deadline
        ),
        Await(Check.MEMBERSHIP, f"the pods of {count} are {outcome.words}", subject, outcome.expect, deadline),
    )


def _known(targets: tuple[str, ...], settings: Settings) -> tuple[Await, ...]:
    if not targets:
        return ()
    sentence = f"the callers' proxies know the new pods of {', '.join(targets)}"
    return (Await(Check.ENDPOINTS, sentence, targets, {}, settings.converge_deadline_s),)


def _rebuilt(scope: Scope, targets: Collection[str], settings: Settings) -> tuple[Await, ...]:
    """Callers of headless services have one answer for all pods: it must fit the new ones."""
    direct = tuple(sorted({host.name for host in scope.hosts if host.passthrough and host.name in targets}))
    if not direct:
        return ()
    sentence = f"the callers' clusters of {', '.join(direct)} fit the pods that are there now"
    return (Await(Check.OUTBOUND, sentence, direct, {"tls": "computed"}, settings.converge_deadline_s),)


def _give_back(restart: Restart) -> Step:
    ref = restart.workload.ref
    return Step(
        restart.step.id.replace("restart", "strategy"),
        Action.CHANGE,
        ref,
        restart.workload.uid,
        f"Give {ref} its update strategy back",
        "it was changed for the length of the restart only",
        restart.after,
    )


def _deletions(scope: Scope, members: Sequence[Workload], settings: Settings) -> list[Wave]:
    """Return one wave for each bunch of pods that is deleted together; all sets go on at the same time."""
    bunches = {w.ref: _bunches(scope.snapshot.pods_of_workload.get(w.ref, ())) for w in members}
    longest = max((len(b) for b in bunches.values()), default=0)
    out = []
    for turn in range(longest):
        pods = [pod for bunch in bunches.values() if turn < len(bunch) for pod in bunch[turn]]
        concerned = [ref for ref, bunch in bunches.items() if turn < len(bunch)]
        out.append(Wave(tuple(_renew(pod) for pod in pods), (_renewed(concerned, pods, settings),)))
    return out


def _bunches(pods: Sequence[Pod]) -> list[list[Pod]]:
    """Highest ordinal first, as the controller of a StatefulSet does it."""
    ordered = sorted(pods, key=lambda pod: (len(pod.ref.name), pod.ref.name), reverse=True)
    size = max(1, len(ordered) // RENEWED_AT_ONCE)
    return [ordered[first : first + size] for first in range(0, len(ordered), size)]


def _renew(pod: Pod) -> Step:
    return Step(
        f"renew-{pod.ref.namespace}-{pod.ref.name}",
        Action.RENEW,
        pod.ref,
        pod.uid,
        f"Delete {pod.ref}, so that its set makes it anew",
        "old pods of its set stay until somebody deletes them",
    )


def _renewed(refs: Sequence[Ref], pods: Sequence[Pod], settings: Settings) -> Await:
    named = ", ".join(pod.ref.name for pod in pods)
    return Await(
        Check.ROLLED_OUT,
        f"{named} came anew and every pod of the set is ready",
        tuple(str(ref) for ref in refs),
        {"gone": sorted(pod.uid for pod in pods)},
        settings.rollout_deadline_s,
    )


def injection_awaits(members: Sequence[Workload], settings: Settings, outcome: Outcome) -> tuple[Await, ...]:
    """Return what admission must answer for the next pods of these workloads."""
    if not members:
        return ()
    spaces = ", ".join(sorted({w.ref.namespace for w in members}))
    return (
        Await(
            Check.INJECTION,
            f"pods created in {spaces} come out {outcome.words}",
            tuple(str(w.ref) for w in members),
            {"injected": outcome.meshed, **({"revision": outcome.revision} if outcome.revision else {})},
            settings.converge_deadline_s,
        ),
    )


def hosts_of(scope: Scope, members: Iterable[Workload]) -> tuple[str, ...]:
    """Return the services that these workloads stand behind, as full names."""
    return tuple(
        sorted(
            {fqdn(service) for w in members for service in scope.services_before(w.ref.namespace, w.template_labels)}
        )
    )


def stale_pods(scope: Scope, workload: Workload, revision: str) -> tuple[Pod, ...]:
    """Return the workload's pods whose proxy comes from another revision than this one."""
    return tuple(pod for pod in scope.meshed_workloads.get(workload.ref, ()) if membership.revision_of(pod) != revision)
