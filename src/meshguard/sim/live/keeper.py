"""Keeps the fleet and the cluster's objects in step, in both directions.

What people and controllers do to objects reaches the fleet by the store's events; what the fleet's kubelets do (evict,
kill, let probes time out) is written into the objects, and the cluster's own controllers take it from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from meshguard.sim.api.cluster import SimulatedCluster
from meshguard.sim.api.status import Doc
from meshguard.sim.api.store import Change, Event, Key
from meshguard.sim.fleet.fleet import Fleet
from meshguard.sim.fleet.parts import Node, Pod, Service
from meshguard.sim.fleet.record import Sample
from meshguard.sim.fleet.scenario import Scenario
from meshguard.sim.live import configuration, envoy, plane, shop
from meshguard.sim.live.configuration import Configuration
from meshguard.sim.live.counters import Counters
from meshguard.sim.live.kubelets import Kubelets
from meshguard.sim.pods import Asked, Responder, Said

ADMIN = 15000
_PUSHED = (
    "services",
    "destinationrules.networking.istio.io",
    "virtualservices.networking.istio.io",
    "authorizationpolicies.security.istio.io",
    "sidecars.networking.istio.io",
)
_KEPT = 64
"""Generations of configuration that are looked through before old ones are forgotten."""


class Keeper:
    """Implements Hands for the fleet, and Listeners for the pods' ports."""

    def __init__(self, cluster: SimulatedCluster, scenario: Scenario, seed: int) -> None:
        self.cluster = cluster
        self.fleet = Fleet(scenario, seed, self)
        self._kubelets = Kubelets(cluster)
        self._services = {(s.namespace, s.name): s for s in self.fleet.services}
        self._nodes = {node.name: node for node in self.fleet.nodes}
        self._counters, self._convergence = Counters(self.fleet), plane.Convergence()
        self._marks: dict[str, bool] = {}
        self._configurations: dict[int, Configuration] = {}
        self._began = 0.0
        self._resting = True
        """The next second is in the clock's list."""
        self.tasks: list[asyncio.Task[asyncio.AbstractServer]] = []
        self.on_second: Callable[[Sample], None] = lambda sample: None

    def attach(self) -> None:
        """Take the cluster as it is for the beginning, and keep both in step from now on."""
        for entry in self.cluster.store.all("pods"):
            self._seen(entry.key, entry.doc, settled=True)
        make = self.fleet.istiod.make_context

        def context(generation: int, full: bool) -> None:
            make(generation, full)
            self._take(generation)

        self.fleet.istiod.make_context = context
        self._take(0)
        self.cluster.store.listeners.append(self._heard)
        self.cluster.ports.register(self)
        self._began = self.cluster.clock.now()
        self.cluster.clock.busy.append(lambda: not self._resting)
        self.cluster.clock.call_later(1.0, self._tick)

    def _take(self, generation: int) -> None:
        self._configurations[generation] = configuration.taken(self.cluster.store, self._marks)
        if len(self._configurations) > _KEPT:
            used = {pod.seen for pod in self.fleet.pods.values()}
            for old in [g for g in self._configurations if g not in used and g < generation]:
                del self._configurations[old]
            self.fleet.policies.forget_before(min((g for g in used if g >= 0), default=generation))

    # Time

    def _tick(self) -> None:
        """Let a second pass; requests get their turn between two of them, also when the model is behind the clock."""
        self.fleet.step()
        sample = self.fleet.recorder.record_.samples[-1]
        self._counters.second(sample.load)
        self._convergence.add(self.fleet.recorder.converged)
        self.on_second(sample)
        self._resting = False
        asyncio.get_running_loop().call_soon(self._rest)

    def _rest(self) -> None:
        self._resting = True
        self.cluster.clock.call_at(self._began + self.fleet.now + 1.0, self._tick)

    # From the objects

    def _heard(self, storage: str, event: Event) -> None:
        if storage == "pods":
            if event.change is Change.DELETED:
                self._gone(event.new.key)
            else:
                self._seen(event.new.key, event.new.doc)
        elif storage == configuration.PEERS:
            self._policies()
        elif storage in _PUSHED:
            self.fleet.istiod.notify(full=True)
        elif storage == "deployments.apps" and event.new.key in self._services:
            self._services[event.new.key].wanted = event.new.doc["spec"].get("replicas", 1)

    def _policies(self) -> None:
        peers = self.cluster.store.all(configuration.PEERS)
        spaces = {service.namespace for service in self.fleet.services}
        self.fleet.write_policies({s: configuration.mode_of(peers, s, {}, 0) == "STRICT" for s in spaces})
        self.fleet.istiod.notify(full=True)

    def _seen(self, key: Key, doc: Doc, *, settled: bool = False) -> None:
        name, node = "/".join(key), self._nodes.get(doc["spec"].get("nodeName", ""))
        service = self._services.get((key[0], doc["metadata"].get("labels", {}).get(shop.APP, "")))
        if service is None or node is None:
            return
        if doc["status"].get("phase") in ("Failed", "Succeeded"):
            self._gone(key)
            return
        pod = self.fleet.pods.get(name) or self._new(name, service, node, doc, settled=settled)
        self.fleet.set_ready(pod, shop.is_ready(doc))

    def _new(self, name: str, service: Service, node: Node, doc: Doc, *, settled: bool) -> Pod:
        containers = (*doc["spec"]["containers"], *doc["spec"].get("initContainers", ()))
        meshed = any(container["name"] == "istio-proxy" for container in containers)
        pod = self.fleet.add(name, service, node, meshed=meshed, settled=settled)
        self._marks[name] = doc["metadata"].get("labels", {}).get("security.istio.io/tlsMode") == "istio"
        self._counters.born(pod)
        return pod

    def _gone(self, key: Key) -> None:
        name = "/".join(key)
        pod = self.fleet.pods.get(name)
        if pod is not None:
            self.fleet.remove(pod)
            self._counters.gone(pod)
            self._marks.pop(name, None)

    # To the objects (Hands)

    def evict(self, pod: Pod) -> None:
        """The kubelet ends it and says why."""
        self._kubelets.evict(pod)

    def killed(self, pod: Pod, seconds: float) -> None:
        """Its sidecar was ended for memory; the pod is not ready until it runs again."""
        self._kubelets.killed(pod)
        self._counters.born(pod)

        def again() -> None:
            if pod.key in self.fleet.pods and pod.down_until <= self.fleet.now:
                self._kubelets.started_again(pod)

        self.fleet.agenda.later(seconds + 1.0, again)

    def answers(self, pod: Pod, *, ready: bool) -> None:
        """Its Ready condition follows."""
        self._kubelets.ready(pod, ready=ready)

    def pressed(self, node: Node, *, pressed: bool) -> None:
        """Its condition and its taint follow."""
        self._kubelets.pressed(node, pressed=pressed)

    # What listens in the pods (Listeners)

    def responder(self, pod: Mapping[str, object], port: int) -> Responder | None:
        """The admin port of a proxy that runs, and the monitoring port of an istiod."""
        doc: Doc = dict(pod)
        name = f"{doc['metadata']['namespace']}/{doc['metadata']['name']}"
        known = self.fleet.pods.get(name)
        if known is not None and known.meshed and known.down_until <= self.fleet.now and port == ADMIN:
            return lambda asked: self._envoy(asked, known, doc)
        if doc["metadata"].get("labels", {}).get("app") == "istiod" and port == plane.PORT and self.fleet.istiod.alive:
            return lambda asked: self._istiod(asked, name)
        return None

    async def _envoy(self, asked: Asked, pod: Pod, doc: Doc) -> Said:
        has = self._configurations.get(pod.seen)
        return envoy.answer(asked, pod, doc, has, self._counters, self.cluster.clock.wall())

    async def _istiod(self, asked: Asked, name: str) -> Said:
        entries = self.cluster.store.all("pods", shop.ROOT)
        names = ["/".join(e.key) for e in entries if e.doc["metadata"].get("labels", {}).get("app") == "istiod"]
        return plane.answer(asked, self.fleet, self._convergence, (names.index(name), len(names)))
