"""A data plane that says what a test has written down for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from meshguard.model.objects import Pod, Ref
from meshguard.model.proxy import Connected, ProxyFacts, ProxyUnreachable


class FakeSignals:
    """Implements `ports.DataPlane`; a pod without facts is unreachable, and no istiod knows anybody."""

    def __init__(self, facts: Mapping[Ref, ProxyFacts] | None = None) -> None:
        self.facts = dict(facts or {})
        self.silent: dict[Ref, ProxyUnreachable] = {}
        self.connected_pods: frozenset[Ref] = frozenset()
        self.silent_istiods: dict[Ref, str] = {}
        self.asked: list[tuple[frozenset[Ref], frozenset[str]]] = []

    async def proxies(
        self, pods: Sequence[Pod], parts: Collection[str], *, hosts: Collection[str] = ()
    ) -> Mapping[Ref, ProxyFacts | ProxyUnreachable]:
        self.asked.append((frozenset(pod.ref for pod in pods), frozenset(parts)))
        silent = {pod.ref: self.silent.get(pod.ref, ProxyUnreachable(pod.ref, "no answer")) for pod in pods}
        return {ref: self.facts.get(ref, silence) for ref, silence in silent.items()}

    async def connected(self, istiods: Sequence[Pod]) -> Connected:
        answered = frozenset(pod.ref for pod in istiods) - self.silent_istiods.keys()
        return Connected(self.connected_pods, answered, self.silent_istiods)
