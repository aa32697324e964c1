"""What istiod says of itself and of its proxies. Every replica is asked, for each knows only its own proxies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from meshguard.model.measurement import Measurement, Sample
from meshguard.model.objects import Ref
from meshguard.signals.asking import Silence
from meshguard.signals.exposition import Series, buckets, parse, quantile, total
from meshguard.signals.istiod import MONITORING_PORT, SYNC_PATH, ConnectedProxy, connected_proxies
from meshguard.signals.measure.world import World, name_of, silent

SYNC = f"istiod {SYNC_PATH}"
METRICS = "istiod /metrics"
NOBODY = "no istiod pod has an address"
_CONVERGENCE = "pilot_proxy_convergence_time"

_Synced = Mapping[Ref, "list[ConnectedProxy] | Silence"]
_Metrics = Mapping[Ref, "list[Series] | Silence"]


async def _sync(world: World) -> _Synced:
    istiods = await world.istiods()

    def rows(body: bytes) -> list[ConnectedProxy]:
        return list(connected_proxies(json.loads(body) or (), Ref("Pod", "", "")))

    return await world.ask_all(istiods, MONITORING_PORT, SYNC_PATH, rows)


async def _metrics(world: World) -> _Metrics:
    return await world.ask_all(
        await world.istiods(), MONITORING_PORT, "/metrics", lambda body: list(parse(body.decode()))
    )


async def unsynced(world: World, args: Mapping[str, Any]) -> Measurement:
    """Proxies that leave a kind unacknowledged in both looks; one look alone would count pushes that are under way."""
    before = await _sync(world)
    await world.clock.sleep(args["window"])
    after = await _sync(world)
    stuck_before = {(p.pod, kind) for rows in before.values() for p in _rows(rows) for kind in p.unacknowledged}

    def count(rows: list[ConnectedProxy]) -> list[str]:
        return [
            f"{name_of(p.pod)} {', '.join(stuck)}"
            for p in rows
            if (stuck := [kind for kind in p.unacknowledged if (p.pod, kind) in stuck_before])
        ]

    return _per_replica(after, count)


async def rejecting(world: World, args: Mapping[str, Any]) -> Measurement:
    """Proxies that refuse configuration."""

    def count(rows: list[ConnectedProxy]) -> list[str]:
        return [f"{name_of(p.pod)} {kind}: {words}" for p in rows for kind, words in p.rejected.items()]

    return _per_replica(await _sync(world), count)


def _rows(answer: list[ConnectedProxy] | Silence) -> list[ConnectedProxy]:
    return [] if isinstance(answer, Silence) else answer


def _per_replica(answers: _Synced, count: Callable[[list[ConnectedProxy]], list[str]]) -> Measurement:
    samples = []
    for ref, answer in sorted(answers.items()):
        if not isinstance(answer, Silence):
            found = count(answer)
            samples.append(Sample(name_of(ref), len(found), _first(found)))
    return Measurement(tuple(samples), SYNC, _unseen(answers))


def _unseen(answers: Mapping[Ref, Any]) -> tuple[str, ...]:
    return silent(answers) if answers else (NOBODY,)


def _first(found: list[str], most: int = 3) -> str:
    rest = f" and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(found[:most]) + rest


async def unlisted(world: World, args: Mapping[str, Any]) -> Measurement:
    """Ready pods with a sidecar that no replica lists; unknown as long as one replica is silent."""
    answers = await _sync(world)
    unseen = _unseen(answers)
    listed = {proxy.pod for answer in answers.values() for proxy in _rows(answer)}
    missing: dict[str, list[str]] = {}
    for pod in await world.meshed(args["namespaces"]):
        if pod.ready:
            names = missing.setdefault(pod.ref.namespace, [])
            names += [] if pod.ref in listed else [pod.ref.name]
    if unseen:
        return Measurement((), SYNC, unseen)
    return Measurement(tuple(Sample(ns, len(m), _first(m)) for ns, m in sorted(missing.items())), SYNC)


async def metric(world: World, args: Mapping[str, Any]) -> Measurement:
    """A metric as it is now."""
    answers = await _metrics(world)
    samples, unseen = [], list(_unseen(answers))
    for ref, answer in sorted(answers.items()):
        if not isinstance(answer, Silence):
            value = _value(answer, args)
            if value is None:
                unseen.append(f"{name_of(ref)} has no {args['metric']}")
            else:
                samples.append(Sample(name_of(ref), value))
    return Measurement(tuple(samples), METRICS, tuple(unseen))


def _value(series: list[Series], args: Mapping[str, Any]) -> float | None:
    value = total(series, args["metric"], args["labels"])
    return 0.0 if value is None and args["absent"] == "zero" else value


async def increase(world: World, args: Mapping[str, Any]) -> Measurement:
    """How much a counter rose; one that fell was reset by a restart, and everything since then counts."""
    before = await _metrics(world)
    await world.clock.sleep(args["window"])
    after = await _metrics(world)
    samples, unseen = [], list(_unseen(after))
    for ref, answer in sorted(after.items()):
        first = before.get(ref)
        if isinstance(answer, Silence):
            continue
        if first is None or isinstance(first, Silence):
            unseen.append(f"{name_of(ref)} did not answer the first look")
            continue
        was, is_now = _value(first, args), _value(answer, args)
        if was is None or is_now is None:
            unseen.append(f"{name_of(ref)} has no {args['metric']}")
        else:
            samples.append(Sample(name_of(ref), is_now - was if is_now >= was else is_now))
    return Measurement(tuple(samples), METRICS, tuple(unseen))


async def pushes(world: World, args: Mapping[str, Any]) -> Measurement:
    """Endpoint updates for each proxy; istiod merges what comes within its debounce time, so this is what it sends."""
    sent = await increase(world, {**args, "metric": "pilot_xds_pushes", "labels": {"type": "eds"}, "absent": "zero"})
    connected = await metric(world, {"metric": "pilot_xds", "labels": {}, "absent": "zero"})
    proxies = {sample.subject: sample.value for sample in connected.samples}
    samples = tuple(
        Sample(s.subject, s.value / proxies[s.subject], f"{s.value:.0f} updates for {proxies[s.subject]:.0f} proxies")
        for s in sent.samples
        if proxies.get(s.subject)
    )
    return Measurement(samples, METRICS, sent.unseen or connected.unseen)


async def convergence(world: World, args: Mapping[str, Any]) -> Measurement:
    """A quantile of the time until proxies had a change, over the pushes within the window."""
    before = await _metrics(world)
    await world.clock.sleep(args["window"])
    after = await _metrics(world)
    samples = []
    for ref, answer in sorted(after.items()):
        first = before.get(ref)
        if not isinstance(answer, Silence) and isinstance(first, list):
            was = buckets(first, _CONVERGENCE)
            rose = {bound: count - was.get(bound, 0.0) for bound, count in buckets(answer, _CONVERGENCE).items()}
            pushes = max(rose.values(), default=0.0)
            samples.append(Sample(name_of(ref), quantile(rose, args["quantile"]), f"{pushes:.0f} pushes"))
    return Measurement(tuple(samples), METRICS, _unseen(after))


READERS = {
    "control-plane.unsynced": unsynced,
    "control-plane.rejecting": rejecting,
    "control-plane.unlisted": unlisted,
    "control-plane.metric": metric,
    "control-plane.increase": increase,
    "control-plane.pushes": pushes,
    "control-plane.convergence": convergence,
}
