"""The fleet's second: load, memory, CPU, latency, and what the kubelets do about it."""

from __future__ import annotations

import random
from collections.abc import Iterable
from statistics import NormalDist

from meshguard.sim.fleet import constants as c
from meshguard.sim.fleet.agenda import Agenda
from meshguard.sim.fleet.hands import Hands
from meshguard.sim.fleet.istiod import Istiod
from meshguard.sim.fleet.mtls import Policies, Strict
from meshguard.sim.fleet.parts import Happening, Node, Pod, Service
from meshguard.sim.fleet.recording import Recorder
from meshguard.sim.fleet.scenario import Scenario
from meshguard.sim.fleet.traffic import hop_seconds, look


class Fleet:
    """Services, their pods on nodes, the control plane, and what a person at the shop sees of it."""

    def __init__(self, scenario: Scenario, seed: int, hands: Hands) -> None:
        self.scenario, self.hands = scenario, hands
        self.agenda, self.random = Agenda(), random.Random(seed)
        size, plane = scenario.fleet, scenario.control_plane
        self.services: list[Service] = []
        self.nodes: list[Node] = []
        self._app_mib: dict[str, float] = {}
        self._make(size.services, size.nodes)
        self.pods: dict[str, Pod] = {}
        self.unmeshed = 0
        everything = size.services * size.stands_for
        self.istiod = Istiod(
            self.agenda,
            cores=plane.cores,
            replicas=plane.replicas,
            throttle=plane.push_throttle,
            services=everything,
            stands_for=size.stands_for,
        )
        self._stands_for = size.stands_for
        self.istiod.make_context, self.istiod.deliver = self._context, self._delivered
        strict = scenario.mtls == "STRICT"
        self.policies = Policies({service.namespace: strict for service in self.services})
        self.recorder = Recorder(scenario)
        self._config_mib = everything * c.CLUSTER_MIB + everything * size.replicas * c.ENDPOINT_MIB
        self.proxy_base_mib = c.ENVOY_BASE_MIB + self._config_mib

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return self.agenda.now

    def _make(self, services: int, nodes: int) -> None:
        scenario, spaces = self.scenario, self.scenario.fleet.namespaces
        for number in range(services):
            space = namespace_name(number % spaces)
            self.services.append(Service(number, f"svc-{number:03d}", space, scenario.fleet.replicas))
        for service in self.services:
            others = range(service.number + 1, services)
            service.callees = tuple(sorted(self.random.sample(others, min(3, len(others)))))
        for number in range(1, nodes + 1):
            phase = self.random.random() * c.HOUSEKEEPING_S
            node = Node(f"node{number}", scenario.fleet.node_memory_gib * 1024, scenario.fleet.node_cores, phase)
            self.nodes.append(node)
        # Nodes differ as a normal distribution does, in every seed alike; which node is which is the seed's. The
        # fullest of a cut is as full as the fullest of the whole: it is where everything begins.
        normal, spread, whole = NormalDist(), scenario.calibrated.app_spread, nodes * scenario.fleet.stands_for
        low = 0.5 / whole
        places = [low + (1 - 2 * low) * number / max(1, nodes - 1) for number in range(nodes)]
        factors = [max(0.3, 1.0 + spread * normal.inv_cdf(place)) for place in places]
        self.random.shuffle(factors)
        for node, factor in zip(self.nodes, factors, strict=True):
            self._app_mib[node.name] = scenario.calibrated.app_mib * factor

    # Pods come and go

    def add(self, key: str, service: Service, node: Node, *, meshed: bool, settled: bool = False) -> Pod:
        """A pod has a node; it is not ready yet, unless it has been there for long (`settled`)."""
        sidecars = self.scenario.sidecars
        app = self._app_mib[node.name] * (0.8 + 0.4 * self.random.random())
        weight = 0.9 + 0.2 * self.random.random()
        pod = Pod(key, service, node, meshed, self.now, app, weight, (1, sidecars.minor), sidecars.limit_mib)
        pod.proxy_mib = self.proxy_base_mib if meshed else 0.0
        self.pods[key] = service.pods[key] = node.pods[key] = pod
        self.unmeshed += not meshed
        if settled:
            pod.ready, pod.seen = True, self.istiod.generation
            service.ready += 1
            if meshed:
                self.istiod.connected.add(pod)
        elif meshed:
            self.istiod.connect(pod)
        return pod

    def remove(self, pod: Pod) -> None:
        """A pod is gone."""
        if self.pods.pop(pod.key, None) is None:
            return
        del pod.service.pods[pod.key], pod.node.pods[pod.key]
        self.unmeshed -= not pod.meshed
        self.istiod.forget(pod)
        if pod.ready:
            pod.ready = False
            pod.service.ready -= 1
            self._left(pod)

    def set_ready(self, pod: Pod, ready: bool) -> None:
        """Its Ready condition has changed, and with it an endpoint."""
        if pod.ready == ready or pod.key not in self.pods:
            return
        pod.ready = ready
        pod.service.ready += 1 if ready else -1
        if ready:
            self.istiod.notify(full=False)
        else:
            self._left(pod)

    def _left(self, pod: Pod) -> None:
        pod.service.gone += 1
        self.istiod.notify(full=False)

    def write_policies(self, strict: Strict) -> None:
        """PeerAuthentications have changed."""
        if dict(strict) != dict(self.policies.written):
            self.policies.written = dict(strict)
            self.istiod.notify(full=True)

    # Pushes

    def _context(self, generation: int, full: bool) -> None:
        self.policies.pushed(generation)
        for service in self.services:
            service.gone = 0 if not self.istiod.connected else service.gone
        last_of = {service.number: service.gone for service in self.services if service.gone}
        if last_of:  # callers know it when the last of them has it; half of the way is a fair mean
            self.agenda.later(self._half_way(), lambda: self._forgotten(last_of))

    def _half_way(self) -> float:
        return max(0.05, len(self.istiod.connected) * c.SEND_CORE_S * self.scenario.fleet.stands_for / 16 / 2)

    def _forgotten(self, gone: dict[int, int]) -> None:
        for number, count in gone.items():
            self.services[number].gone = max(0, self.services[number].gone - count)

    def _delivered(self, pod: Pod, generation: int, full: bool) -> None:
        behind = self.scenario.control_plane.minor - pod.version[1]
        if behind > c.NEWEST_MINORS:
            pod.rejected += 1
            self.istiod.rejects += 1
            return
        pod.seen = generation
        cost = self.scenario.calibrated.push_core_s
        # A change of an endpoint in a cut stands for as many as there are in the whole, each pushed to everybody.
        pod.push_core_s = min(10.0, pod.push_core_s + cost * (1.0 if full else c.EDS_SHARE * self._stands_for))

    def end_peak(self) -> None:
        """People go home: the load falls from now on."""
        minutes = max(0.1, self.now / 60)
        self.scenario = self.scenario.with_(load={"endsMinutes": minutes})
        self.happen("peak-ended", "shop", "the load falls")

    # A second

    def step(self) -> None:
        """Let a second pass, with all events in it."""
        self.agenda.run_until(self.now + c.STEP_S)
        load = self.scenario.load_at(self.now)
        self._grow(load)
        for node in self.nodes:
            if (self.now - node.phase) % c.HOUSEKEEPING_S < c.STEP_S:
                self._look_after(node)
            elif node.free_mib() <= 0:
                self._kernel_kills(node)
        seen = look(self.services, self.nodes, self.now, self.policies, mixed=self.unmeshed > 0)
        self.recorder.record(self, load, seen)

    def _grow(self, load: float) -> None:
        """Memory follows the load, pod by pod; CPU is added up for each node."""
        per_pod, base = self.scenario.load.rps_per_pod, self.proxy_base_mib
        at_most = 3 * load * per_pod
        rates = [min(at_most, load * per_pod * s.wanted / max(1, s.ready)) for s in self.services]
        rise, fall = c.STEP_S / c.GROWTH_S, c.STEP_S / c.SHRINK_S
        now = self.now
        for node in self.nodes:
            used, cores, waiting = c.SYSTEM_MIB, 0.0, min(c.LONGEST_WAIT_S, node.hop_s)
            for pod in node.pods.values():
                rate = rates[pod.service.number] * pod.weight if pod.ready else 0.0
                cores += rate * c.APP_CORES_PER_RPS
                if pod.meshed:
                    if pod.down_until <= now:
                        target = base + rate * (c.MIB_PER_RPS + waiting * c.MIB_PER_IN_FLIGHT)
                        apart = target - pod.proxy_mib
                        pod.proxy_mib += apart * (rise if apart > 0 else fall)
                        cores += rate * c.CORES_PER_RPS
                    if pod.push_core_s > 0:
                        cores += (spent := min(pod.push_core_s, c.MAIN_THREAD_CORES * c.STEP_S))
                        pod.push_core_s -= spent
                    if 0 < pod.limit_mib < pod.proxy_mib:
                        self._kill(pod, "over its limit")
                used += pod.app_mib + pod.proxy_mib
            node.used_mib, node.busy = used, cores / node.cores
            node.backlog_s = min(c.TIMEOUT_S, max(0.0, node.backlog_s + (node.busy - 1.0) * c.STEP_S))
            node.hop_s = hop_seconds(node.busy, node.backlog_s)

    # The kubelet

    def _look_after(self, node: Node) -> None:
        """What the kubelet does every ten seconds: memory, and readiness probes."""
        self._probe(node)
        free = node.free_mib()
        if free >= c.EVICTION_MIB and node.pressed_until < self.now and node.pressed_until > 0:
            node.pressed_until = -1.0
            self.hands.pressed(node, pressed=False)
        if free >= c.EVICTION_MIB:
            return
        if node.pressed_until < 0:
            self.happen("node-pressure", node.name, f"{node.used_mib:.0f} of {node.mib:.0f} MiB are used")
            self.hands.pressed(node, pressed=True)
        node.pressed_until = self.now + c.PRESSURE_S
        wanted = c.EVICTION_MIB + c.RECLAIM_SHARE * node.mib
        request = self.scenario.sidecars.request_mib
        ranked = sorted(node.pods.values(), key=lambda p: (request - p.mib, p.key))
        for pod in ranked:
            if node.free_mib() >= wanted:
                break
            self._evict(pod)

    def _evict(self, pod: Pod) -> None:
        node = pod.node
        node.used_mib -= pod.mib
        self.recorder.evicted += 1
        self.recorder.evicting.add(node.name)
        self.happen("evicted", pod.key, f"{node.name} is low on memory")
        self.remove(pod)
        self.hands.evict(pod)

    def _kernel_kills(self, node: Node) -> None:
        """There is nothing left before the kubelet looks: the kernel ends the process that fits worst its request."""
        candidates = [p for p in node.pods.values() if p.meshed and p.down_until <= self.now]
        if candidates:
            self._kill(max(candidates, key=lambda p: (p.proxy_mib, p.key)), f"{node.name} has no memory left")

    def _kill(self, pod: Pod, why: str) -> None:
        pause = min(c.BACKOFF_MOST_S, c.BACKOFF_S * 2**pod.restarts)
        pod.restarts += 1
        pod.down_until = self.now + pause
        pod.node.used_mib -= pod.proxy_mib
        pod.proxy_mib = 0.0
        pod.push_core_s = 0.0
        self.istiod.forget(pod)
        self.recorder.killed += 1
        self.happen("oom-killed", pod.key, why)
        self.hands.killed(pod, pause)
        self.agenda.later(pause, lambda: self._started_again(pod))

    def _started_again(self, pod: Pod) -> None:
        if pod.key in self.pods and pod.meshed:
            pod.proxy_mib = self.proxy_base_mib
            pod.node.used_mib += pod.proxy_mib
            self.istiod.connect(pod)

    def _probe(self, node: Node) -> None:
        """A node without CPU lets probes time out: some pods stop being endpoints, and are again when there is CPU."""
        slow = node.hop_s >= c.PROBE_TIMEOUT_S
        for pod in list(node.pods.values()):
            if pod.flapping and (not slow or self.random.random() < 0.5):
                pod.flapping = False
                self.hands.answers(pod, ready=True)
            elif slow and pod.ready and not pod.flapping and pod.meshed and self.random.random() < c.FLAP_SHARE:
                pod.flapping = True
                self.hands.answers(pod, ready=False)

    def happen(self, kind: str, subject: str, note: str = "") -> None:
        """Write down what a person would want to know of."""
        self.recorder.happened(Happening(self.now, kind, subject, note))

    def memory_of(self, nodes: Iterable[Node]) -> float:
        """Add the memory of all pods up anew; the property test compares it with what nodes say. MiB."""
        return sum(c.SYSTEM_MIB + sum(pod.mib for pod in node.pods.values()) for node in nodes)


def namespace_name(number: int) -> str:
    """The names of the shop's namespaces."""
    names = ("shop-web", "shop-core", "shop-pay", "shop-search", "shop-stock", "shop-mail")
    return names[number] if number < len(names) else f"shop-{number:02d}"
