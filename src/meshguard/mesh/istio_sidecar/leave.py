"""The way out of an Istio sidecar mesh, in the order that keeps traffic alive.

relax -> converge -> un-enrol -> restart -> verify. Nothing restarts before every concerned proxy was seen to take
plaintext; `istio-injection=disabled` on the namespace defeats every webhook rule of every revision, works with
istiod dead, and edits no workload.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshguard.mesh.istio_sidecar import hosts, names, relax, sharing
from meshguard.mesh.istio_sidecar.hazards import hazards
from meshguard.mesh.istio_sidecar.hazards.membership import already_out_reason
from meshguard.mesh.istio_sidecar.hazards.policies import lost_rules
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Draft, LeaveRequest, Settings
from meshguard.model.change import Change, change_at, read
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Workload
from meshguard.model.plan import RUN_PLACEHOLDER, Action, Await, Check, Phase, Step, Wave

RESTART_MARK = "meshguard.dev/restart"
RUN_MARK = "meshguard.dev/run"
TEMPLATE_RESTART_MARK = ("spec", "template", "metadata", "annotations", RESTART_MARK)
#: Kept after the drain time, so that what closes at its end is seen too. Seconds.
DRAIN_MARGIN_S = 5.0
SERVER_FIRST_INTERRUPTION_S = 10


def leave(request: LeaveRequest, scope: Scope, planned_on: Scope) -> Draft:
    """Plan the way out of `scope`; `planned_on` is the same scope without other open runs' policy edits."""
    consents, settings = request.consents, request.settings
    findings = list(hazards(scope, consents))
    ports = relax.server_first_ports(planned_on, settings.client_first_ports) if scope.leaving else ()
    findings += [
        Finding(
            CODES["MG204"],
            port.workload,
            f"port {port.port}: give {CODES['MG204'].consent.split()[0]} {port.consent} to accept it",
            accepted=port.consent in consents.interruptions,
        )
        for port in ports
    ]
    accepted = [port for port in ports if port.consent in consents.interruptions]
    edits = (
        *relax.permissive_edits(planned_on),
        *relax.server_first_edits(planned_on, accepted),
        *relax.destination_rule_edits(planned_on),
        *(relax.authorization_edits(lost_rules(planned_on)) if consents.authz_loss else ()),
    )
    relaxing, conflicts = sharing.steps_of(scope.snapshot, "relax", edits if scope.leaving else ())
    phases = (
        Phase("relax", "Let plaintext live wherever the scope calls or is called", (Wave(relaxing),)),
        Phase("converge", "Wait until the proxies really have it", (Wave((), _converged(scope, relaxing, settings)),)),
        Phase("un-enrol", "Switch injection off", _un_enrol(scope, settings)),
        Phase("restart", "Restart without sidecars", _restart(scope, settings)),
        Phase("verify", "See on pods, proxies and traffic that it is so", (Wave((), _verified(scope)),)),
    )
    excluded = {
        str(w.ref): already_out_reason(scope, w) for w in scope.candidates if w.ref not in scope.meshed_workloads
    }
    return Draft(phases, (*findings, *conflicts), _notes(scope, relaxing, accepted), excluded)


def _converged(scope: Scope, relaxing: Sequence[Step], settings: Settings) -> tuple[Await, ...]:
    servers = sorted({*scope.meshed_namespaces})
    awaits = [
        Await(
            Check.INBOUND,
            f"the proxies in {', '.join(servers)} take plaintext",
            tuple(servers),
            {"plaintext": True},
            settings.converge_deadline_s,
        )
    ]
    rules = [s for s in relaxing if s.target.kind == "DestinationRule"]
    if rules:
        targets = _hosts(scope)
        awaits.append(
            Await(
                Check.OUTBOUND,
                f"callers' proxies choose TLS endpoint by endpoint for {', '.join(targets)}",
                targets,
                {"tls": "auto"},
                settings.converge_deadline_s,
            )
        )
    policies = sorted(
        {f"{s.target.namespace}/{s.target.name}" for s in relaxing if s.target.kind == "AuthorizationPolicy"}
    )
    if policies:
        awaits.append(
            Await(
                Check.AUTHZ,
                f"the servers' proxies enforce {', '.join(policies)} as it is now",
                tuple(policies),
                {},
                settings.converge_deadline_s,
            )
        )
    return tuple(awaits) if scope.leaving else ()


def _un_enrol(scope: Scope, settings: Settings) -> tuple[Wave, ...]:
    steps: list[Step] = []
    for name in sorted({w.ref.namespace for w in scope.leaving}):
        namespace = scope.snapshot.namespaces[name]
        changes = [change_at(namespace.doc, ("metadata", "labels", names.NS_INJECTION), "disabled")]
        mark = ("metadata", "annotations", RUN_MARK)
        changes.append(Change(mark, read(namespace.doc, mark), RUN_PLACEHOLDER))
        steps.append(
            Step(
                f"un-enrol-{len(steps) + 1:03d}",
                Action.CHANGE,
                namespace.ref,
                namespace.uid,
                f"Switch injection off for namespace {name}",
                "istio-injection=disabled defeats every injection rule of every revision; a removed label does not",
                tuple(c for c in changes if c.before != c.after),
            )
        )
    awaits = injection_awaits(scope.leaving, settings, injected=False)
    return (Wave(tuple(steps), awaits),)


def injection_awaits(members: Sequence[Workload], settings: Settings, *, injected: bool) -> tuple[Await, ...]:
    """Return what admission must answer for the next pods of these workloads."""
    if not members:
        return ()
    spaces = ", ".join(sorted({w.ref.namespace for w in members}))
    return (
        Await(
            Check.INJECTION,
            f"pods created in {spaces} come out {'with' if injected else 'without'} a sidecar",
            tuple(str(w.ref) for w in members),
            {"injected": injected},
            settings.converge_deadline_s,
        ),
    )


def _restart(scope: Scope, settings: Settings) -> tuple[Wave, ...]:
    waves: list[Wave] = []
    for first in range(0, len(scope.leaving), settings.wave_size):
        members = scope.leaving[first : first + settings.wave_size]
        steps = tuple(_restart_step(w, first + i + 1) for i, w in enumerate(members))
        waves += rollout_waves(scope, steps, members, settings, meshed=False)
    return tuple(waves)


def _restart_step(workload: Workload, number: int) -> Step:
    before = read(workload.doc, TEMPLATE_RESTART_MARK)
    return Step(
        f"restart-{number:03d}",
        Action.CHANGE,
        workload.ref,
        workload.uid,
        f"Restart {workload.ref}",
        "its new pods come without a sidecar; the mark is removed on the way back, so that the template ends identical",
        (Change(TEMPLATE_RESTART_MARK, before, RUN_PLACEHOLDER),),
        restarts=True,
    )


def rollout_waves(
    scope: Scope, steps: Sequence[Step], members: Sequence[Workload], settings: Settings, *, meshed: bool
) -> tuple[Wave, ...]:
    """Return the wave that restarts these workloads, and one that waits until their callers know the new pods.

    The second look comes after the first: before the rollout the callers know exactly the old pods, which would do.
    """
    if not members:
        return (Wave(tuple(steps)),)
    subject = tuple(str(w.ref) for w in members)
    count = f"{len(members)} workload(s)"
    deadline = settings.rollout_deadline_s
    gone = Await(
        Check.ROLLED_OUT, f"every old pod of {count} is gone and the new ones are ready", subject, {}, deadline
    )
    carried = Await(
        Check.MEMBERSHIP,
        f"the pods of {count} are {'with' if meshed else 'without'} a sidecar",
        subject,
        {"meshed": meshed},
        deadline,
    )
    waves = [Wave(tuple(steps), (gone, carried))]
    targets = _hosts(scope, members)
    if targets:
        sentence = f"the callers' proxies know the new pods of {', '.join(targets)}"
        waves.append(Wave((), (Await(Check.ENDPOINTS, sentence, targets, {}, settings.converge_deadline_s),)))
    return tuple(waves)


def _verified(scope: Scope) -> tuple[Await, ...]:
    if not scope.leaving:
        return ()
    subject = tuple(str(w.ref) for w in scope.leaving)
    awaits = [Await(Check.MEMBERSHIP, "no pod of the scope carries a sidecar", subject, {"meshed": False}, 30.0)]
    return (*awaits, *traffic_awaits(scope))


def traffic_awaits(scope: Scope) -> tuple[Await, ...]:
    """Return the watch over the callers' traffic, past the time in which old connections drain."""
    targets = _hosts(scope)
    if not targets:
        return ()
    watch = scope.mesh.drain_s + DRAIN_MARGIN_S
    return (
        Await(
            Check.TRAFFIC,
            f"the callers' proxies see no failed connects to the scope for {watch:.0f} s (drain time and a margin)",
            targets,
            {"watchSeconds": watch},
            2 * watch + 30,
        ),
    )


def _hosts(scope: Scope, members: Sequence[Workload] | None = None) -> tuple[str, ...]:
    chosen = scope.candidates if members is None else members
    return tuple(
        sorted(
            {
                hosts.fqdn(service)
                for w in chosen
                for service in scope.services_before(w.ref.namespace, w.template_labels)
            }
        )
    )


def _notes(scope: Scope, relaxing: Sequence[Step], interrupted: Sequence[relax.ServerFirstPort]) -> tuple[str, ...]:
    if not scope.leaving:
        return ("Nothing in the scope is in the mesh.",)
    opened = sorted({s.target.namespace for s in relaxing if s.target.kind == "PeerAuthentication"})
    notes = [
        "Callers: every meshed namespace may call every other; nothing narrows it.",
        f"Plaintext is accepted until the restore in: {', '.join(opened) or 'no further namespace'}.",
        f"Lost until the restore for {', '.join(sorted(scope.namespaces))}: mutual TLS, mesh retries and timeouts, "
        "per-request balancing of gRPC, mesh telemetry.",
        f"Long-lived connections to edited servers close within the drain time ({scope.mesh.drain_s:.0f} s).",
    ]
    notes += [
        f"{port.workload} port {port.port}: up to about {SERVER_FIRST_INTERRUPTION_S} s of interruption on the way out,"
        " and the same on the way back."
        for port in interrupted
    ]
    return tuple(notes)
