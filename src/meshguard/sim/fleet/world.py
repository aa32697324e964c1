"""The fleet alone, without objects: pods that go are replaced, operators' decisions carried out. For what-if."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from meshguard.sim.fleet import constants as c
from meshguard.sim.fleet.decisions import Decision
from meshguard.sim.fleet.fleet import Fleet
from meshguard.sim.fleet.parts import Node, Pod, Service
from meshguard.sim.fleet.record import Record
from meshguard.sim.fleet.scenario import Scenario


class World:
    """Plays a scenario with decisions; implements Hands as kubelet, scheduler and ReplicaSets do."""

    def __init__(self, scenario: Scenario, seed: int, decisions: Sequence[Decision] = ()) -> None:
        for decision in decisions:
            scenario = decision.prepare(scenario)
        self.fleet = Fleet(scenario, seed, self)
        self.inject: dict[str, bool] = {s.namespace: True for s in self.fleet.services}
        self._made = 0
        self._follows: dict[str, Pod] = {}
        """For each pod of a rollout that is not ready yet: the old one that goes when it is."""
        self._fill()
        for decision in decisions:
            decision.put(self)

    def _fill(self) -> None:
        replicas, nodes = self.fleet.scenario.fleet.replicas, self.fleet.nodes
        for number in range(replicas):
            for service in self.fleet.services:
                node = nodes[(service.number * replicas + number) % len(nodes)]
                self._create(service, node, settled=True)

    def _create(self, service: Service, node: Node, *, settled: bool = False) -> Pod:
        self._made += 1
        key = f"{service.namespace}/{service.name}-{self._made}"
        return self.fleet.add(key, service, node, meshed=self.inject[service.namespace], settled=settled)

    def _place(self) -> Node:
        """The scheduler knows requests, not use: the node with the fewest pods that is not under pressure."""
        nodes = [n for n in self.fleet.nodes if n.pressed_until < 0] or self.fleet.nodes
        return min(nodes, key=lambda node: (len(node.pods), node.name))

    # Hands

    def evict(self, pod: Pod) -> None:
        """Its ReplicaSet makes another one, which stands for the same old pod in a rollout."""
        self.replace(pod.service, self._follows.pop(pod.key, None))

    def killed(self, pod: Pod, seconds: float) -> None:
        """The kubelet starts it again by itself."""
        pod.flapping = False
        self.fleet.set_ready(pod, False)
        self.fleet.agenda.later(seconds + 2.0, lambda: self.fleet.set_ready(pod, True))

    def answers(self, pod: Pod, *, ready: bool) -> None:
        """Its endpoint follows."""
        self.fleet.set_ready(pod, ready)

    def pressed(self, node: Node, *, pressed: bool) -> None:
        """The scheduler looks at the node itself."""

    def replace(self, service: Service, old: Pod | None = None) -> None:
        """Make a pod; when it is ready, `old` goes."""

        def make() -> None:
            pod = self._create(service, self._place())
            if old is not None:
                self._follows[pod.key] = old
            self.fleet.agenda.later(c.START_S, lambda: self._up(pod, old))

        self.fleet.agenda.later(c.SCHEDULE_S, make)

    def _up(self, pod: Pod, old: Pod | None) -> None:
        if pod.key not in self.fleet.pods:
            return  # it was evicted meanwhile, and has been replaced
        self._follows.pop(pod.key, None)
        self.fleet.set_ready(pod, True)
        if old is not None:
            self.fleet.remove(old)

    # What operators do

    def restart(self, services: Iterable[Service]) -> None:
        """Roll all pods of services, one after the other in each."""
        for service in services:
            self._roll(service, sorted(service.pods))

    def _roll(self, service: Service, keys: list[str]) -> None:
        while keys and keys[0] not in service.pods:
            keys = keys[1:]
        if not keys:
            return
        surge = max(1, service.wanted // 4)
        now, rest = keys[:surge], keys[surge:]
        for key in now:
            if key in service.pods:
                self.replace(service, service.pods[key])
        self.fleet.agenda.later(c.SCHEDULE_S + c.START_S + 1.0, lambda: self._roll(service, rest))

    def left(self, services: Iterable[Service]) -> bool:
        """Whether no pod of these services has a sidecar any more."""
        return not any(pod.meshed for service in services for pod in service.pods.values())

    def play(self, minutes: float = 0.0) -> Record:
        """Play to the end and return the record."""
        end = (minutes or self.fleet.scenario.minutes) * 60
        while self.fleet.now < end:
            self.fleet.step()
        return self.fleet.recorder.record_
