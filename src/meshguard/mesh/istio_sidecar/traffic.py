"""Watching callers' own counters for a while: the traffic itself says whether the change was harmless."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from meshguard.model.objects import Ref
from meshguard.model.proxy import ProxyFacts

#: Envoy's per-cluster counters that mean a caller was not served for a reason that mesh membership can cause.
FAILURES = ("upstream_cx_connect_fail", "upstream_cx_connect_timeout", "ssl.fail_verify_error", "ssl.connection_error")


@dataclass
class Watch:
    """Watches the failure counters of calls to some hosts; a failure starts the watch anew."""

    hosts: frozenset[str]
    seconds: float
    since: float
    _baseline: dict[tuple[Ref, str], int] = field(default_factory=dict)

    def elapsed(self, now: float) -> float:
        """How long nothing has failed. Seconds, at most the length of the watch."""
        return min(now - self.since, self.seconds)

    def observe(self, facts: Iterable[ProxyFacts], now: float) -> tuple[str, ...]:
        """Take one look; return what keeps the watch from ending well."""
        failed = []
        for proxy in facts:
            for name, value in proxy.counters.items():
                if not self._counts(name):
                    continue
                known = self._baseline.get((proxy.pod, name))
                if known is not None and value > known:
                    failed.append(f"{proxy.pod.name}: {name} rose by {value - known}")
                self._baseline[(proxy.pod, name)] = value
        if failed:
            self.since = now
            return tuple(failed)
        return ("nothing has failed so far",) if self.elapsed(now) < self.seconds else ()

    def _counts(self, name: str) -> bool:
        return name.endswith(FAILURES) and any(f"|{host}." in name or f"|{host};." in name for host in self.hosts)
