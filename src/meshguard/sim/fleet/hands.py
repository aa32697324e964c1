"""What the fleet wants done to pods. Who does it is another's: a plain model, or the controllers of a simulated API."""

from __future__ import annotations

from typing import Protocol

from meshguard.sim.fleet.parts import Node, Pod


class Hands(Protocol):
    """Does to pods what the kubelet does."""

    def evict(self, pod: Pod) -> None:
        """Its node is out of memory: end it. It is gone from the fleet already."""
        ...

    def killed(self, pod: Pod, seconds: float) -> None:
        """Its sidecar was killed for memory and is started again after so long."""
        ...

    def answers(self, pod: Pod, *, ready: bool) -> None:
        """It began or ceased to answer its readiness probe."""
        ...

    def pressed(self, node: Node, *, pressed: bool) -> None:
        """A node began or ceased to be under memory pressure."""
        ...
