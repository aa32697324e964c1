"""How a change reaches the proxies: debounce, push context, a queue with one place for each proxy, a throttle, sends.

Source: Istio, pilot/pkg/xds/discovery.go and pushqueue.go. While a push is made, later events are merged into the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from meshguard.sim.fleet import constants as c
from meshguard.sim.fleet.agenda import Agenda
from meshguard.sim.fleet.parts import Pod


class Istiod:
    """All replicas together; each serves its share of the proxies."""

    def __init__(
        self, agenda: Agenda, *, cores: float, replicas: int, throttle: int, services: float, stands_for: float
    ) -> None:
        self._agenda = agenda
        self.alive = True
        self._cores, self._replicas = cores, replicas
        self._width = (throttle or c.default_throttle(cores)) * replicas
        self._streams_s = c.default_throttle(cores) * replicas
        self._services, self._stands_for = services, stands_for
        self.generation = 0
        self.pushes = 0
        self.sends = 0
        self.rejects = 0
        self.triggers = 0
        self.convergence: list[float] = []
        """How long each send of the last second took, from the first event that it carries."""
        self.core_s = 0.0
        """CPU time spent so far."""
        self._pending_since: float | None = None
        self._latest = 0.0
        self._full = False
        self._timer = False
        self._busy = False
        self._sending = False
        self._queue: dict[Pod, tuple[int, bool, float]] = {}
        self._next_stream = 0.0
        self.connected: set[Pod] = set()
        self.make_context: Callable[[int, bool], None] = lambda generation, full: None
        """Told of each new generation, when its push context is made."""
        self.deliver: Callable[[Pod, int, bool], None] = lambda pod, generation, full: None

    @property
    def queued(self) -> int:
        """Proxies that wait for a push."""
        return len(self._queue)

    @property
    def mib(self) -> float:
        """Memory of all replicas."""
        return self._replicas * c.ISTIOD_BASE_MIB + len(self.connected) * self._stands_for * c.ISTIOD_MIB_PER_PROXY

    def connect(self, pod: Pod) -> None:
        """A proxy opens its stream; it waits for its turn and then gets everything."""
        turn = max(self._agenda.now, self._next_stream)
        self._next_stream = turn + self._stands_for / self._streams_s
        self._agenda.at(turn, lambda: self._accept(pod))

    def _accept(self, pod: Pod) -> None:
        if not self.alive or not pod.meshed or pod.key not in pod.service.pods:
            return
        self.connected.add(pod)
        self._enqueue([pod], self.generation, True, self._agenda.now)

    def forget(self, pod: Pod) -> None:
        """A proxy is gone."""
        self.connected.discard(pod)
        self._queue.pop(pod, None)

    def notify(self, *, full: bool) -> None:
        """Something has changed: `full` for configuration, else endpoints only."""
        if not self.alive:
            return
        now = self._agenda.now
        self.triggers += 1
        if self._pending_since is None:
            self._pending_since = now
        self._latest = now
        self._full = self._full or full
        if not self._timer:
            self._timer = True
            self._agenda.later(c.DEBOUNCE_S, self._debounced)

    def _debounced(self) -> None:
        self._timer = False
        if self._pending_since is None:
            return
        now = self._agenda.now
        quiet, waited = now - self._latest, now - self._pending_since
        if self._busy:
            return  # the end of the push under way comes back here
        if quiet + 1e-9 < c.DEBOUNCE_S and waited < c.DEBOUNCE_MOST_S:
            self._timer = True
            self._agenda.later(c.DEBOUNCE_S - quiet, self._debounced)
            return
        self._push(self._pending_since, self._full)

    def _push(self, since: float, full: bool) -> None:
        self._pending_since, self._full, self._busy = None, False, True
        context = c.CONTEXT_S * self._services / 1000
        self.core_s += context

        def ready() -> None:
            self.generation += 1
            self.pushes += 1
            self._busy = False
            self.make_context(self.generation, full)
            self._enqueue(sorted(self.connected, key=lambda pod: pod.key), self.generation, full, since)
            if self._pending_since is not None and not self._timer:
                self._timer = True
                self._agenda.later(c.DEBOUNCE_S, self._debounced)

        self._agenda.later(context, ready)

    def _enqueue(self, pods: Iterable[Pod], generation: int, full: bool, since: float) -> None:
        for pod in pods:
            waiting = self._queue.get(pod)
            self._queue[pod] = (
                generation,
                full or (waiting[1] if waiting else False),
                waiting[2] if waiting else since,
            )
        if self._queue and not self._sending:
            self._send()

    def _send(self) -> None:
        """Send to as many as the throttle lets, and go on when they have it."""
        batch: list[tuple[Pod, tuple[int, bool, float]]] = []
        while self._queue and len(batch) * self._stands_for < self._width:
            pod = next(iter(self._queue))
            batch.append((pod, self._queue.pop(pod)))
        self._sending = True
        work = sum(self._cost(full) for _, (_, full, _) in batch) * self._stands_for
        self.core_s += work
        took = max(c.SEND_LEAST_S, work / (self._cores * self._replicas))
        self._agenda.later(took, lambda: self._sent(batch))

    def _cost(self, full: bool) -> float:
        return c.SEND_CORE_S * self._services / 300 * (1.0 if full else c.EDS_SHARE)

    def _sent(self, batch: list[tuple[Pod, tuple[int, bool, float]]]) -> None:
        now, self._sending = self._agenda.now, False
        for pod, (generation, full, since) in batch:
            if pod not in self.connected:
                continue
            self.sends += 1
            self.convergence.append(now - since)
            self.deliver(pod, generation, full)
        if self._queue:
            self._send()

    def stop(self) -> None:
        """Every replica is gone; proxies keep what they have."""
        self.alive = False
        self.connected.clear()
        self._queue.clear()
        self._pending_since = None
