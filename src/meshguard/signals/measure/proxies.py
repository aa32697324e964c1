"""What the proxies say of themselves: refused configuration, certificates, memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from meshguard.model.measurement import Measurement, Sample
from meshguard.model.objects import Pod, dig
from meshguard.model.proxy import ProxyFacts
from meshguard.signals.admin import ADMIN_PORT
from meshguard.signals.asking import Silence
from meshguard.signals.measure.quantity import in_bytes
from meshguard.signals.measure.world import World, name_of, silent

STATS = "envoy stats"
CERTIFICATES = "envoy /certs"
MEMORY = "envoy /memory"
PROXY_CONTAINER = "istio-proxy"
_REJECTED = ("cluster_manager.cds.update_rejected", "listener_manager.lds.update_rejected")


async def rejected(world: World, args: Mapping[str, Any]) -> Measurement:
    """Configuration updates that a proxy refused within the window."""
    pods = await world.meshed(args["namespaces"])
    before = await world.counters(pods)
    await world.clock.sleep(args["window"])
    after = await world.counters(pods)
    samples = []
    unseen = list(silent(after))
    for ref, facts in sorted(after.items()):
        first = before[ref]
        if not isinstance(facts, ProxyFacts):
            continue
        if not isinstance(first, ProxyFacts):
            unseen.append(f"{name_of(ref)} did not answer the first look")
            continue
        samples.append(Sample(name_of(ref), sum(rise(first, facts, counter) for counter in _REJECTED)))
    return Measurement(tuple(samples), STATS, tuple(unseen))


def rise(before: ProxyFacts, after: ProxyFacts, counter: str) -> int:
    """How much a counter rose; Envoy makes many only when they are used first, and a restart begins at 0."""
    was, is_now = before.counters.get(counter, 0), after.counters.get(counter, 0)
    return is_now - was if is_now >= was else is_now


async def certificates(world: World, args: Mapping[str, Any]) -> Measurement:
    """Remaining lifetime of the workload certificate, for each pod."""
    pods = await world.meshed(args["namespaces"])
    answers = await world.ask_all(pods, ADMIN_PORT, "/certs", lambda body: list(expiries(json.loads(body))))
    now = datetime.fromisoformat(world.clock.wall())
    samples, unseen = [], list(silent(answers))
    for ref, answer in sorted(answers.items()):
        if isinstance(answer, Silence):
            continue
        if answer:
            expiry = min(answer)
            samples.append(Sample(name_of(ref), (expiry - now).total_seconds(), f"until {expiry.isoformat()}"))
        else:
            unseen.append(f"{name_of(ref)} holds no workload certificate")
    return Measurement(tuple(samples), CERTIFICATES, tuple(unseen))


def expiries(answer: Mapping[str, Any]) -> Iterator[datetime]:
    """When the proxy's own certificates end; those of authorities are another question."""
    for entry in answer.get("certificates") or ():
        for certificate in entry.get("cert_chain") or ():
            names = [str(name.get("uri", "")) for name in certificate.get("subject_alt_names") or ()]
            if any(name.startswith("spiffe://") for name in names):
                yield datetime.fromisoformat(certificate["expiration_time"])


async def memory(world: World, args: Mapping[str, Any]) -> Measurement:
    """Envoy's own memory as a share of its container's limit; the agent beside it needs the rest."""
    pods = await world.meshed(args["namespaces"])
    limits = {pod.ref: limit for pod in pods if (limit := memory_limit(pod))}
    answers = await world.ask_all([p for p in pods if p.ref in limits], ADMIN_PORT, "/memory", _physical_bytes)
    samples = [
        Sample(name_of(ref), used / limits[ref], f"{used / 2**20:.0f} of {limits[ref] / 2**20:.0f} MiB")
        for ref, used in sorted(answers.items())
        if not isinstance(used, Silence)
    ]
    left_out = tuple(f"{name_of(pod.ref)} has no memory limit" for pod in pods if pod.ref not in limits)
    return Measurement(tuple(samples), MEMORY, silent(answers), left_out)


def _physical_bytes(body: bytes) -> float:
    told = json.loads(body)
    return float(told.get("total_physical_bytes") or told["heap_size"])


def memory_limit(pod: Pod) -> float:
    """The memory limit of the pod's proxy in bytes, 0 where it has none."""
    for container in (*pod.containers, *pod.init_containers):
        if container.get("name") == PROXY_CONTAINER:
            return in_bytes(str(dig(container, "resources", "limits", "memory", default="0")))
    return 0.0


READERS = {
    "proxies.rejected": rejected,
    "proxies.certificate": certificates,
    "proxies.memory": memory,
}
