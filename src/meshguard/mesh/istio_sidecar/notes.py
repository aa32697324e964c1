"""What a person must know before consenting to an exit: what is lost, how long it takes, who is open meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from meshguard.mesh.istio_sidecar import control_plane, estimate, relax
from meshguard.mesh.istio_sidecar.capacity import Capacity
from meshguard.mesh.istio_sidecar.estimate import Range
from meshguard.mesh.istio_sidecar.narrowing import Narrowing
from meshguard.mesh.istio_sidecar.peer_authentication import Mode
from meshguard.mesh.istio_sidecar.proxy_resources import LIMIT_NAMES, own_limits
from meshguard.mesh.istio_sidecar.restart import Restart
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Settings
from meshguard.model.plan import Step
from meshguard.model.quantities import in_words
from meshguard.model.staging import Staging

SERVER_FIRST_INTERRUPTION_S = 10
#: From a policy edit until the last proxy has it: istiod's debounce and push, and our own look at the proxies. Seconds.
CONVERGING = Range(2.0, 20.0)
#: More nodes than this are summed up. Lines.
NODES_SHOWN = 8


def of_exit(
    scope: Scope,
    relaxing: Sequence[Step],
    interrupted: Sequence[relax.ServerFirstPort],
    restarts: Sequence[Restart],
    settings: Settings,
    narrowed: Narrowing | None,
    *,
    alive: bool,
) -> tuple[str, ...]:
    """Return the sentences, most important first."""
    idle = (
        f"No pod of {', '.join(scope.idle)} carries a sidecar, although the label asks for one: only the label is "
        "changed, so that no next pod gets one.",
    )
    if not scope.leaving:
        return idle if scope.idle else ("Nothing in the scope is in the mesh.",)
    opened = sorted({s.target.namespace for s in relaxing if s.target.kind == "PeerAuthentication"})
    out = [] if alive else list(_outage(scope, restarts))
    out += [
        duration(restarts, settings, (CONVERGING + Range(_watch(scope), _watch(scope))) if alive else Range(2.0, 10.0)),
        *_interruptions(restarts, ", and again on the way back"),
        *(
            f"{port.workload} port {port.port}: up to about {SERVER_FIRST_INTERRUPTION_S} s of interruption on the way "
            "out, and the same on the way back."
            for port in interrupted
        ),
        *headroom(scope.capacity),
        _callers(scope, narrowed),
        f"Plaintext is accepted until the restore in: {', '.join(opened) or 'no further namespace'}.",
        f"Lost until the restore for {', '.join(sorted(scope.namespaces))}: mutual TLS, mesh retries and timeouts, "
        "per-request balancing of gRPC, mesh telemetry.",
        f"Long-lived connections to edited servers close within the drain time ({scope.mesh.drain_s:.0f} s).",
    ]
    return (*out, *(idle if scope.idle else ()))


def _watch(scope: Scope) -> float:
    return scope.mesh.drain_s + 5.0


def duration(restarts: Sequence[Restart], settings: Settings, rest: Range) -> str:
    """Say how long the plan takes: the restarts by what the templates say, the rest by what it waits for."""
    rolling = estimate.of_waves(restarts, settings.wave_size)
    return f"Expected duration: {rolling + rest}, of which restarts {rolling} ({len(restarts)} workload(s))."


def of_restore(scope: Scope, restarts: Sequence[Restart], settings: Settings) -> tuple[str, ...]:
    """Return what the way back costs: time, and who is without a ready pod meanwhile."""
    if not restarts:
        return ()
    watch = _watch(scope)
    return (
        duration(restarts, settings, CONVERGING + Range(watch, watch)),
        *_interruptions(restarts, ""),
        *headroom(scope.capacity),
    )


def of_staging(staging: Staging, restarts: Sequence[Restart]) -> tuple[str, ...]:
    """Return what is particular to a way back in waves: how large they are, what guards them, who gets limits."""
    sizes = staging.waves.of(len(restarts))
    out = [
        f"Waves: {', '.join(map(str, sizes)) or 'none'} of {len(restarts)} workload(s) ({staging.waves}). One that is "
        "not seen back, or after which the gate does not hold, goes out again by its pod label, as a run of its own.",
        "Each namespace is enrolled just before its first workload comes back; from then on every new pod there comes "
        "with a sidecar, also those of workloads whose wave has not come yet.",
    ]
    if staging.limits:
        limited = [r for r in restarts if any(c.path[-1] in LIMIT_NAMES for c in r.step.changes)]
        own = sorted(str(r.workload.ref) for r in restarts if own_limits(r.workload))
        out.append(f"Proxy limits {staging.limits}: set for {len(limited)} of {len(restarts)} workload(s).")
        if own:
            words = "are replaced" if staging.replace_limits else "stay (see --replace-limits)"
            out.append(f"Limits of their own, which {words}: {', '.join(own)}.")
    return tuple(out)


def _interruptions(restarts: Sequence[Restart], again: str) -> list[str]:
    out = []
    for restart in restarts:
        ref, missing = restart.workload.ref, estimate.interruption(restart)
        if missing.high:
            each = " on each node in turn" if ref.kind == "DaemonSet" else ""
            out.append(f"Interruption: {ref} has no ready pod for {missing}{each}{again}.")
        elif lost := estimate.lost(restart):
            out.append(f"Less capacity: {ref} lacks {lost} for {estimate.duration(restart)}{again}.")
    return out


def headroom(capacity: Capacity) -> list[str]:
    """Say how much memory is free on each node that takes pods, the fullest first."""
    rooms = sorted(capacity.nodes, key=lambda room: room.free["memory"])
    lines = [
        f"Node {room.node.ref.name}: {in_words(room.free['memory'])} of memory and {room.free['cpu']:.1f} cores are "
        f"not requested by anybody; {room.free['pods']:.0f} more pods fit."
        for room in rooms[:NODES_SHOWN]
    ]
    if len(rooms) > NODES_SHOWN:
        lines.append(f"{len(rooms) - NODES_SHOWN} further nodes have more memory free than these.")
    return lines


def _callers(scope: Scope, narrowed: Narrowing | None) -> str:
    if narrowed and not narrowed.useless:
        called = sorted({s.namespace for s in scope.called} - scope.namespaces)
        return (
            f"Callers: narrowed by {narrowed.source}, which reaches back {narrowed.window}: the scope was seen to call "
            f"servers in {', '.join(called) or 'no other namespace'}. A call to any other server that demands mutual "
            "TLS is reset until the restore."
        )
    if narrowed:
        return (
            f"Callers: not narrowed, although that was asked for ({narrowed.source}: {narrowed.useless}); every meshed "
            "namespace may call every other."
        )
    if len(scope.called) == len(scope.servers):
        return "Callers: every meshed namespace may call every other; nothing narrows it."
    spaces = ", ".join(sorted({s.namespace for s in scope.called}))
    return f"Callers: the scope's Sidecar objects let it call servers in {spaces} only; the others stay as they are."


def _outage(scope: Scope, restarts: Sequence[Restart]) -> list[str]:
    """Say what an exit costs while no istiod answers: what proxies know stays frozen."""
    rolling = estimate.of_waves(restarts, max(1, len(restarts)))
    outside = [s for s in scope.servers if s.workload not in {w.ref for w in scope.leaving}]
    strict = sorted(
        {str(s.workload) for s in outside if scope.peers.effective(s.namespace, s.labels).mode is Mode.STRICT}
    )
    out = [
        "No istiod answers: proxies keep the policies and endpoints that they have. All workloads restart at once, and "
        f"nothing waits for proxies. Expected outage between the workloads of the scope: {rolling}."
    ]
    if strict:
        out.append(
            "Calls from the scope to these servers, which stay and demand mutual TLS, fail until an istiod is back: "
            f"{_shortened(strict)}. Take them into the scope to end that sooner."
        )
    if outside and any(scope.services_before(w.ref.namespace, w.template_labels) for w in scope.leaving):
        callers = sorted({s.namespace for s in outside})
        out.append(
            f"Calls to the scope from proxies that stay ({', '.join(callers)}) fail until an istiod tells them of the "
            "new pods."
        )
    if control_plane.deaf_validators(scope.snapshot):
        out.append("No policy is edited: the validation webhook refuses every edit until an istiod is back.")
    return out


def _shortened(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
