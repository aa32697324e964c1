"""The way out of an Istio sidecar mesh, in the order that keeps traffic alive.

relax -> converge -> un-enrol -> restart -> verify. Nothing restarts before every concerned proxy was seen to take
plaintext; `istio-injection=disabled` on the namespace defeats every webhook rule of every revision, works with
istiod dead, and edits no workload. Where only some of a namespace leave, the label of their templates does the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshguard.mesh.istio_sidecar import (
    control_plane,
    headless,
    hosts,
    lifts,
    names,
    notes,
    order,
    protection,
    relax,
    restart,
    sharing,
)
from meshguard.mesh.istio_sidecar.combine import combined
from meshguard.mesh.istio_sidecar.edits import Edit
from meshguard.mesh.istio_sidecar.hazards import hazards
from meshguard.mesh.istio_sidecar.hazards.membership import already_out_reason
from meshguard.mesh.istio_sidecar.hazards.policies import lost_rules
from meshguard.mesh.istio_sidecar.narrowing import Narrowing, spared
from meshguard.mesh.istio_sidecar.peer_authentication import Mode
from meshguard.mesh.istio_sidecar.restart import Outcome, Restart
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Consents, Draft, LeaveRequest, Order, Settings
from meshguard.model.change import Change, change_at, read
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref
from meshguard.model.plan import RUN_PLACEHOLDER, Action, Await, Check, Phase, Step, Wave

RUN_MARK = "meshguard.dev/run"
#: Kept after the drain time, so that what closes at its end is seen too. Seconds.
DRAIN_MARGIN_S = 5.0


def leave(request: LeaveRequest, scope: Scope, planned_on: Scope, narrowed: Narrowing | None = None) -> Draft:
    """Plan the way out of `scope`; `planned_on` is the same scope without other open runs' policy edits."""
    consents, settings = request.consents, request.settings
    alive = control_plane.is_alive(scope.snapshot)
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
    wanted = scope.leaving and (alive or not control_plane.deaf_validators(scope.snapshot))
    later = _later(planned_on, accepted) if wanted else _Later()
    edits = _edits(planned_on, consents, accepted, later) if wanted else ()
    first, second = (protection.allowed(planned_on, part, accepted) for part in (edits, later.edits))
    relaxing, conflicts = sharing.steps_of(scope.snapshot, "relax", first.edits)
    letting_go, more_conflicts = sharing.steps_of(scope.snapshot, "let-go", second.edits)
    findings += [*first.findings, *second.findings, *conflicts, *more_conflicts, *spared(scope, narrowed)]
    restarts = _restarts(scope, settings, alive=alive)
    listed = [r for tier in restarts for r in tier]
    phases = (
        Phase("relax", "Let plaintext live wherever the scope calls or is called", (Wave(relaxing),)),
        Phase(
            "converge",
            "Wait until the proxies really have it",
            (
                Wave((), _converged(scope, relaxing, later, settings) if alive else ()),
                *([Wave(letting_go, _let_go(later, settings) if alive else ())] if letting_go else []),
            ),
        ),
        Phase("un-enrol", "Switch injection off", _un_enrol(scope, settings)),
        Phase("restart", "Restart without sidecars", _restart(scope, restarts, settings, alive=alive)),
        Phase("verify", "See on pods, proxies and traffic that it is so", (Wave((), _verified(scope, alive=alive)),)),
    )
    excluded = {
        str(w.ref): already_out_reason(scope, w) for w in scope.candidates if w.ref not in scope.meshed_workloads
    }
    excluded |= {str(ref): why for ref, why in scope.kept.items()}
    said = notes.of_exit(scope, relaxing, accepted, listed, settings, narrowed, alive=alive)
    return Draft(phases, tuple(findings), said, excluded)


@dataclass(frozen=True)
class _Later:
    """Edits after which callers send plaintext: made once every server takes it."""

    edits: tuple[Edit, ...] = ()
    hosts: tuple[str, ...] = ()

    @property
    def targets(self) -> frozenset[Ref]:
        """The rules that are edited."""
        return frozenset(edit.target for edit in self.edits)


def _later(planned_on: Scope, ports: Sequence[relax.ServerFirstPort]) -> _Later:
    """Set rules to plaintext where callers would hold on to TLS, and relax those where nothing but the rule gave TLS.

    The second are rules for a namespace whose own mode is DISABLE: without them its callers send plaintext, also to a
    workload that is STRICT by itself.
    """
    plain = headless.plaintext_edits(planned_on)
    concerned = relax.mesh_tls_rules(planned_on, ports)
    without_auto = {
        host.name
        for host in hosts.mesh_hosts(planned_on.snapshot)
        if planned_on.peers.namespace_mode(host.namespace) is Mode.DISABLE
    }
    known = {edit.target for edit in plain}
    bared = [
        edit
        for edit in relax.destination_rule_edits(planned_on, ports)
        if edit.target not in known and without_auto & set(concerned[edit.target])
    ]
    names_of = {name for edit in bared for name in concerned[edit.target]}
    held = headless.patterns(headless.held_hosts(planned_on))
    return _Later((*plain, *bared), tuple(sorted({*held, *names_of})))


def _edits(
    planned_on: Scope, consents: Consents, ports: Sequence[relax.ServerFirstPort], later: _Later
) -> tuple[Edit, ...]:
    """All edits but those that come later."""
    rules = relax.destination_rule_edits(planned_on, ports)
    edits = (
        *relax.permissive_edits(planned_on),
        *relax.server_first_edits(planned_on, ports),
        *(edit for edit in rules if edit.target not in later.targets),
        *(relax.authorization_edits(lost_rules(planned_on, consents)) if consents.authz_loss else ()),
    )
    return combined(planned_on.snapshot, edits)


def _converged(scope: Scope, relaxing: Sequence[Step], later: _Later, settings: Settings) -> tuple[Await, ...]:
    servers = sorted({s.namespace for s in scope.called} & set(scope.meshed_namespaces) - _out_of_reach(scope))
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
        targets = tuple(host for host in restart.hosts_of(scope, scope.candidates) if host not in later.hosts)
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


def _out_of_reach(scope: Scope) -> set[str]:
    """The root namespace has no scope of its own: only the whole mesh can be told to take plaintext there."""
    return set() if scope.edits_mesh_policy else {scope.mesh.root_namespace}


def _let_go(later: _Later, settings: Settings) -> tuple[Await, ...]:
    sentence = f"callers' proxies send plaintext to {', '.join(later.hosts)}"
    return (Await(Check.OUTBOUND, sentence, later.hosts, {"tls": "computed"}, settings.converge_deadline_s),)


def _un_enrol(scope: Scope, settings: Settings) -> tuple[Wave, ...]:
    steps: list[Step] = []
    for name in sorted({*scope.switched, *scope.idle}):
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
    members = [
        *(w for w in scope.leaving if w.ref.namespace in scope.switched),
        *(w for w in scope.candidates if w.ref.namespace in scope.idle),
    ]
    return (Wave(tuple(steps), restart.injection_awaits(members, settings, Outcome(meshed=False))),)


def _restarts(scope: Scope, settings: Settings, *, alive: bool) -> tuple[tuple[Restart, ...], ...]:
    """Return the restarts in their order; without an istiod all come at once, which makes the outage shortest."""
    asked = settings.order if alive else Order.TOGETHER
    numbers = {w.ref: number for number, w in enumerate(scope.leaving, start=1)}
    labelled = {w.ref for w in scope.labelled}
    return tuple(
        tuple(
            restart.restart_of(
                workload,
                numbers[workload.ref],
                "its new pods come without a sidecar; the mark is removed on the way back, so that the template ends "
                "identical",
                lifts.lift_of(workload, room=workload.ref not in scope.without_room),
                (restart.inject_off(workload),) if workload.ref in labelled else (),
            )
            for workload in tier
        )
        for tier in order.tiers(scope, scope.leaving, asked)
    )


def _restart(scope: Scope, tiers: Sequence[Sequence[Restart]], settings: Settings, *, alive: bool) -> tuple[Wave, ...]:
    outcome = Outcome(meshed=False, endpoints=alive)
    size = settings.wave_size if alive else max(1, len(scope.leaving))
    return tuple(wave for tier in tiers for wave in restart.waves(scope, tier, settings, outcome, size))


def _verified(scope: Scope, *, alive: bool) -> tuple[Await, ...]:
    if not scope.leaving:
        return ()
    subject = tuple(str(w.ref) for w in scope.leaving)
    awaits = [Await(Check.MEMBERSHIP, "no pod of the scope carries a sidecar", subject, {"meshed": False}, 30.0)]
    return (*awaits, *(traffic_awaits(scope) if alive else ()))


def traffic_awaits(scope: Scope) -> tuple[Await, ...]:
    """Return the watch over the callers' traffic, past the time in which old connections drain."""
    targets = restart.hosts_of(scope, scope.candidates)
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
