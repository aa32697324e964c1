"""Callers narrowed down by what was observed: only servers that the scope was seen to call need to take plaintext.

Observation can only be trusted where it is complete. One workload that cannot be judged, or was not watched long
enough, and nothing is narrowed: every meshed namespace counts as called, as without telemetry.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from meshguard.mesh.istio_sidecar import hosts
from meshguard.mesh.istio_sidecar.scope import Scope, Server
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.objects import Ref
from meshguard.model.observed import Observed

#: Shorter than this, a quiet service looks like one that nobody calls. Seconds.
WATCHED_AT_LEAST_S = 600.0


@dataclass(frozen=True)
class Narrowing:
    """What the observation comes to for a scope."""

    source: str
    seconds: float
    """How far the observation reaches back, by the workload that it knows least of."""
    spared: tuple[Server, ...] = ()
    """Servers that nobody of the scope was seen to call: they stay as they are."""
    useless: str = ""
    """Why nothing is narrowed."""

    @property
    def window(self) -> str:
        """For a sentence: `2 h 5 min`."""
        minutes = int(self.seconds // 60)
        days, hours, rest = minutes // 1440, minutes % 1440 // 60, minutes % 60
        parts = ((days, "d"), (hours, "h"), (rest, "min"))
        return " ".join(f"{amount} {unit}" for amount, unit in parts if amount) or f"{self.seconds:.0f} s"


def narrowing(scope: Scope, observed: Observed) -> Narrowing:
    """Say which of the servers that the scope may call it was not seen to call."""
    callers = [w.ref for w in scope.leaving]
    seconds = min((observed.seconds.get(ref, 0.0) for ref in callers), default=0.0)
    for ref in callers:
        if ref not in observed.calls:
            return Narrowing(observed.source, seconds, useless=f"{ref}: {observed.unseen.get(ref, 'not watched')}")
    if seconds < WATCHED_AT_LEAST_S:
        return Narrowing(observed.source, seconds, useless=f"it reaches back {seconds:.0f} s only")
    named = frozenset[str]().union(*(observed.calls[ref] for ref in callers))
    called = [host for host in hosts.mesh_hosts(scope.snapshot) if host.name in named]
    own = frozenset(callers)
    spared = tuple(
        server
        for server in scope.callable
        if server.workload not in own and not any(host.selects(server.namespace, server.labels) for host in called)
    )
    return Narrowing(observed.source, seconds, spared)


def spared(scope: Scope, narrowed: Narrowing | None) -> Iterator[Finding]:
    """Servers that go on refusing plaintext because of what was observed, once for each namespace."""
    if narrowed is None:
        return
    seen = f"not seen to be called by the scope ({narrowed.source}, {narrowed.window} back)"
    found: dict[str, list[str]] = {}
    for server in narrowed.spared:
        if scope.peers.effective(server.namespace, server.labels).strict_somewhere:
            found.setdefault(server.namespace, []).append(f"{server.workload.kind} {server.workload.name}")
    for namespace, names in sorted(found.items()):
        yield Finding(CODES["MG225"], Ref("Namespace", "", namespace), f"{', '.join(names)}: {seen}")
