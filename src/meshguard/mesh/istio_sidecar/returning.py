"""The restarts of a way back: of what the run restarted, of what came meanwhile, with limits, and in which waves.

With a staging each namespace is enrolled just before its first workload comes back, and a wave that is not seen back
goes out again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from meshguard.mesh.istio_sidecar import lifts, order, proxy_resources, restart
from meshguard.mesh.istio_sidecar.capacity import Capacity, bound
from meshguard.mesh.istio_sidecar.meanwhile import NEW, REMARKED, Meanwhile
from meshguard.mesh.istio_sidecar.membership import InjectorConfig, Memberships
from meshguard.mesh.istio_sidecar.restart import TEMPLATE_RESTART_MARK, Outcome, Restart
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.protocol import Order, Settings
from meshguard.model.change import Change
from meshguard.model.objects import Ref, Workload
from meshguard.model.plan import Action, Step, Wave
from meshguard.model.snapshot import Snapshot
from meshguard.model.staging import Staging

_TEMPLATE = TEMPLATE_RESTART_MARK[:2]


@dataclass(frozen=True)
class Returning:
    """What restarts on the way back."""

    snapshot: Snapshot
    undoing: tuple[Step, ...]
    """The steps that undo what the run did to workloads, with limits where they are wanted."""
    anew: Mapping[Ref, str]
    """Workloads that nothing which undoes the run would restart, each with the reason."""
    limits: Mapping[Ref, tuple[Change, ...]]

    @property
    def released(self) -> tuple[Step, ...]:
        """Steps that write nothing."""
        return tuple(step for step in self.undoing if step.action is not Action.CHANGE)

    def restarts(self) -> tuple[Restart, ...]:
        """Return the restarts. What had no room for one more pod on the way out may have none now."""
        steps = {step.target: step for step in self.undoing if step.action is Action.CHANGE}
        members = [self._workload(ref) for ref in (*steps, *(ref for ref in self.anew if ref not in steps))]
        cramped = {*Capacity(self.snapshot).without_room(members), *bound(self.snapshot, members)}
        out = []
        for number, workload in enumerate(members, start=len(self.undoing) + 1):
            step, room = steps.get(workload.ref), workload.ref not in cramped
            if step and workload.ref not in self.anew:
                out.append(_undone(step, workload, room=room))
            else:
                changes = step.changes if step else self.limits.get(workload.ref, ())
                lift = lifts.lift_of(workload, room=room)
                out.append(restart.restart_of(workload, number, self.anew[workload.ref], lift, changes))
        return tuple(out)

    def _workload(self, ref: Ref) -> Workload:
        found = self.snapshot.resources[ref]
        assert isinstance(found, Workload)
        return found


def returning(
    snapshot: Snapshot, undoing: Sequence[Step], lost: Iterable[Ref], meanwhile: Meanwhile, staging: Staging | None
) -> Returning:
    """Return what restarts on the way back; `lost` are objects that somebody else has changed and that stay."""
    told = {s.target for s in undoing if any(c.path[:2] == _TEMPLATE for c in s.changes)} | set(lost)
    anew = {w.ref: REMARKED for w in meanwhile.deployed_anew if w.ref not in told}
    if staging and staging.with_new:
        anew |= {w.ref: NEW for w in meanwhile.new}
    changing = [s.target for s in undoing if s.action is Action.CHANGE]
    limits = _limits(meanwhile.restored, {*changing, *anew}, staging) if staging else {}
    limited = tuple(
        replace(s, changes=proxy_resources.merged(s.changes, limits.get(s.target, ())))
        if s.action is Action.CHANGE
        else s
        for s in undoing
    )
    return Returning(snapshot, limited, anew, limits)


def _limits(restored: Snapshot, members: Iterable[Ref], staging: Staging) -> dict[Ref, tuple[Change, ...]]:
    """Return for each workload the changes by which its proxies get limits, on its template as it will be."""
    if not staging.limits:
        return {}
    memberships, out = Memberships(restored), {}
    configs = {injector.webhook.revision: injector.config for injector in memberships.injectors}
    for ref in members:
        workload = restored.resources[ref]
        assert isinstance(workload, Workload)
        config = configs.get(memberships.of(workload).due.revision, InjectorConfig())
        out[ref] = proxy_resources.limited(workload, staging.limits, config, replace=staging.replace_limits)
    return out


def _undone(step: Step, workload: Workload, *, room: bool) -> Restart:
    """Return one restart; a strategy that the run left changed comes back after it, not with it."""
    with_it = tuple(c for c in step.changes if c.path not in lifts.LIFTED)
    after = tuple(c for c in step.changes if c.path in lifts.LIFTED)
    lift = None if after else lifts.lift_of(workload, room=room)
    changes = (*(lift.changes if lift else ()), *with_it)
    return Restart(workload, replace(step, changes=changes), lift, after)


def _tiers(scope: Scope, restarts: Iterable[Restart], settings: Settings) -> Iterator[list[Restart]]:
    """Return the restarts in the order of the way back, which is the way out's the other way round."""
    by_ref = {r.workload.ref: r for r in restarts}
    backwards = {
        Order.CLIENTS_FIRST: Order.SERVERS_FIRST,
        Order.SERVERS_FIRST: Order.CLIENTS_FIRST,
        Order.TOGETHER: Order.TOGETHER,
    }
    for tier in order.tiers(scope, [r.workload for r in by_ref.values()], backwards[settings.order]):
        yield [by_ref[w.ref] for w in tier]


def at_once(scope: Scope, restarts: Sequence[Restart], settings: Settings) -> tuple[Wave, ...]:
    """Return the waves of a way back whose namespaces are enrolled already."""
    return tuple(
        wave
        for tier in _tiers(scope, restarts, settings)
        for wave in restart.waves(scope, tier, settings, Outcome(meshed=True), settings.wave_size)
    )


def staged(
    scope: Scope, enrol: Sequence[Step], restarts: Sequence[Restart], settings: Settings, staging: Staging
) -> tuple[Wave, ...]:
    """Return the waves of a staging, namespace by namespace, each enrolled before its first workload comes back.

    Until then nothing that scales or is evicted there comes back by itself.
    """
    outcome, waiting = Outcome(meshed=True), {s.target.name: s for s in enrol}
    listed = [r for tier in _tiers(scope, sorted(restarts, key=_by_namespace), settings) for r in tier]
    out: list[Wave] = []
    for size in staging.waves.of(len(listed)):
        batch, listed = listed[:size], listed[size:]
        spaces = sorted({r.workload.ref.namespace for r in batch} & waiting.keys())
        steps = tuple(waiting.pop(name) for name in spaces)
        if steps:
            told = [r.workload for r in batch if r.workload.ref.namespace in spaces]
            out.append(Wave(steps, restart.injection_awaits(told, settings, outcome)))
        for wave in restart.waves(scope, batch, settings, outcome, settings.wave_size):
            out.append(_taken_out_again(wave, batch))
    left = tuple(waiting.values())
    return (*out, *([Wave(left)] if left else []))


def _by_namespace(known: Restart) -> tuple[str, Ref]:
    return (known.workload.ref.namespace, known.workload.ref)


def _taken_out_again(wave: Wave, batch: Iterable[Restart]) -> Wave:
    """Let a wave that is not seen back go out again."""
    undoes = tuple(sorted(str(r.workload.ref) for r in batch))
    return replace(wave, awaits=tuple(replace(awaited, undoes=undoes) for awaited in wave.awaits))
