"""Faults of the control plane: istiod away, istiod without processor time, an injector that nobody answers for."""

from __future__ import annotations

from meshguard.mesh.istio_sidecar import restart
from meshguard.mesh.istio_sidecar.faults import targets
from meshguard.mesh.istio_sidecar.faults.targets import FaultError
from meshguard.mesh.protocol import Draft, Settings
from meshguard.model.change import ABSENT, Change, read
from meshguard.model.kinds import KINDS
from meshguard.model.objects import Resource, Workload, dig
from meshguard.model.plan import RUN_PLACEHOLDER, Action, Await, Check, Phase, Step, Wave
from meshguard.model.snapshot import Snapshot

_REPLICAS = ("spec", "replicas")
_SELECTED = "meshguard.dev/nobody"


def istiod_down(snapshot: Snapshot, settings: Settings, revision: str = targets.DEFAULT_REVISION) -> Draft:
    """Scale a revision's istiod to nothing: no pushes, no certificates, and an injector that cannot be reached."""
    steps, subject = [], []
    for number, workload in enumerate(targets.istiods(snapshot, revision), start=1):
        if workload.replicas == 0:
            raise FaultError(f"{workload.ref} is scaled to nothing already; nothing was changed")
        change = Change(_REPLICAS, read(workload.doc, _REPLICAS), 0)
        sentence, why = f"Scale {workload.ref} to 0", "no control plane shall answer"
        step = Step(f"scale-{number:03d}", Action.CHANGE, workload.ref, workload.uid, sentence, why, (change,))
        steps.append(step)
        subject.append(str(workload.ref))
    gone = Await(
        Check.ROLLED_OUT, f"every istiod of {revision} is gone", tuple(subject), {}, settings.rollout_deadline_s
    )
    return Draft((Phase("fault", "Take the control plane away", (Wave(tuple(steps), (gone,)),)),))


def istiod_starved(snapshot: Snapshot, settings: Settings, cpu: str, revision: str = targets.DEFAULT_REVISION) -> Draft:
    """Give istiod next to no processor time: a LimitRange gives its new pods the limit that they do not set."""
    targets.quantity("cpu", cpu)
    members = targets.istiods(snapshot, revision)
    limited = [w.ref for w in members if _cpu_limit(w)]
    if limited:
        raise FaultError(f"{limited[0]} sets a limit of its own, which a LimitRange does not change")
    spaces = sorted({w.ref.namespace for w in members})
    made = []
    for number, namespace in enumerate(spaces, start=1):
        ref = targets.created("LimitRange", namespace, "starve")
        limits = [{"type": "Container", "default": {"cpu": cpu}, "defaultRequest": {"cpu": "10m"}}]
        manifest = {
            "apiVersion": KINDS[ref.kind].api_version,
            "kind": ref.kind,
            "metadata": {"name": ref.name, "namespace": namespace},
            "spec": {"limits": limits},
        }
        sentence = f"Limit new containers in {namespace} to {cpu} of a processor"
        made.append(
            Step(f"limit-{number:03d}", Action.CREATE, ref, "", sentence, "for istiod's next pod", (), manifest)
        )
    restarts = [
        restart.restart_of(w, number, "its next pod gets the limit", None) for number, w in enumerate(members, start=1)
    ]
    subject = tuple(str(w.ref) for w in members)
    sentence = f"istiod of {revision} runs with {cpu} of a processor"
    ready = Await(Check.ROLLED_OUT, sentence, subject, {}, settings.rollout_deadline_s)
    waves = (Wave(tuple(made)), Wave(tuple(r.step for r in restarts), (ready,)))
    return Draft((Phase("fault", "Starve the control plane", waves),))


def _cpu_limit(workload: Workload) -> object:
    return dig(workload.template_containers, 0, "resources", "limits", "cpu")


def injector_without_endpoints(
    snapshot: Snapshot, settings: Settings, revision: str = targets.DEFAULT_REVISION
) -> Draft:
    """Let the service of a revision's istiod select nobody: the webhook stays, and every pod it is for is refused.

    Connected proxies keep their streams; new ones find nobody.
    """
    members = targets.istiods(snapshot, revision)
    services = [
        service for service in snapshot.of_kind("Service") if any(_selects(service, workload) for workload in members)
    ]
    if not services:
        raise FaultError(f"no service stands before istiod of {revision}; nothing was changed")
    steps = []
    for number, service in enumerate(services, start=1):
        change = Change(("spec", "selector", _SELECTED), ABSENT, RUN_PLACEHOLDER)
        sentence = f"Let {service.ref} select nobody"
        why = "its webhook has failurePolicy Fail: without an endpoint no pod can be created"
        steps.append(Step(f"cut-{number:03d}", Action.CHANGE, service.ref, service.uid, sentence, why, (change,)))
    return Draft((Phase("fault", "Cut the injector off", (Wave(tuple(steps)),)),))


def _selects(service: Resource, workload: Workload) -> bool:
    selector = dig(service.doc, "spec", "selector", default={})
    same = service.ref.namespace == workload.ref.namespace
    return bool(selector) and same and selector.items() <= workload.template_labels.items()
