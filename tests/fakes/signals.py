"""A data plane that says what a test has written down for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from meshguard.model.objects import Pod, Ref
from meshguard.model.proxy import ProxyFacts, ProxyUnreachable


class FakeSignals:
    """Implements `ports.Signals`; a pod without facts is unreachable."""

    def __init__(self, facts: Mapping[Ref, ProxyFacts] | None = None) -> None:
        self.facts = dict(facts or {})
        self.asked: list[tuple[frozenset[Ref], frozenset[str]]] = []

    async def proxies(
        self, pods: Sequence[Pod], parts: Collection[str], *, hosts: Collection[str] = ()
    ) -> Mapping[Ref, ProxyFacts | ProxyUnreachable]:
        self.asked.append((frozenset(pod.ref for pod in pods), frozenset(parts)))
        return {pod.ref: self.facts.get(pod.ref, ProxyUnreachable(pod.ref, "no answer")) for pod in pods}
