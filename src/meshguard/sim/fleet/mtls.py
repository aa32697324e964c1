"""Which calls fail because membership and policy disagree.

Source: Istio, PeerAuthentication and auto mTLS. A meshed caller chooses by the endpoint's mark, so it can speak to
both; an unmeshed caller speaks plaintext, and a proxy whose policy is STRICT resets it. What counts is the policy that
the server's proxy has, not the one that was written.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshguard.sim.fleet.parts import Service

Strict = Mapping[str, bool]
"""For each namespace whether its proxies refuse plaintext."""


class Policies:
    """What was pushed, by generation."""

    def __init__(self, first: Strict) -> None:
        self.written: Strict = first
        self._by_generation: dict[int, Strict] = {0: first}

    def pushed(self, generation: int) -> None:
        """A push context was made: it carries what is written now."""
        self._by_generation[generation] = self.written

    def strict(self, generation: int, namespace: str) -> bool:
        """Whether a proxy with this generation of configuration refuses plaintext."""
        found = self._by_generation.get(generation)
        return bool(found and found.get(namespace, False))

    @property
    def anywhere(self) -> bool:
        """Whether any proxy could refuse plaintext."""
        return any(any(strict.values()) for strict in self._by_generation.values())

    def forget_before(self, generation: int) -> None:
        """No proxy has anything older."""
        for old in [g for g in self._by_generation if g < generation]:
            del self._by_generation[old]


def refusing(service: Service, policies: Policies) -> float:
    """The share of a service's ready pods that refuse plaintext."""
    ready = [pod for pod in service.pods.values() if pod.ready]
    if not ready:
        return 0.0
    refused = sum(1 for p in ready if p.meshed and policies.strict(p.seen, service.namespace))
    return refused / len(ready)


def unmeshed(service: Service) -> float:
    """The share of a service's ready pods that call without a proxy."""
    ready = [pod for pod in service.pods.values() if pod.ready]
    return sum(1 for pod in ready if not pod.meshed) / len(ready) if ready else 0.0
