"""Which TLS mode is effective? What the rules compute against what istiod really sends, read from the Envoys.

    python -m testbed.proofs.policies        (QUICK=1: 30 policy sets instead of 204)

A policy set is what is in force for one server at one time: PeerAuthentications at namespace, workload and port
level under a STRICT mesh, and DestinationRules of every namespace at host, port and subset level. Compared are, for
every set, the modes of each port of the server's inbound listener, and in every caller's proxy the encryption of each
cluster and the mark of each endpoint. Besides, every edit that would take ISTIO_MUTUAL out of the round's rules is
shown to the API server and istiod's validation as a dry run. The last line is one JSON object.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshguard.clock import WallClock
from meshguard.cluster.connect import open_cluster
from meshguard.cluster.kubernetes_cluster import KubernetesCluster
from meshguard.mesh.istio_sidecar import hosts, membership, tls_relaxation
from meshguard.mesh.istio_sidecar.client_tls import Client, ClientSide, ClientTls, client_of
from meshguard.mesh.istio_sidecar.destination_rules import demands_mesh_tls
from meshguard.mesh.istio_sidecar.mesh_config import mesh_config
from meshguard.mesh.istio_sidecar.peer_authentication import PeerPolicies
from meshguard.mesh.istio_sidecar.proofs import inbound_differences
from meshguard.mesh.istio_sidecar.reach import Reach
from meshguard.model.objects import Pod, Ref, Resource
from meshguard.model.proxy import Endpoint, ProxyFacts, ProxyUnreachable, UpstreamTls
from meshguard.model.snapshot import Snapshot
from meshguard.ports import Rejected
from meshguard.signals.reader import EnvoySignals
from testbed.api import Testbed
from testbed.proofs import own_cluster
from testbed.proofs import policy_stage as stage
from testbed.proofs.policy_sets import Key, Manifest, PolicySets, key_of, markers, subset_of
from testbed.proofs.record import Proof, is_quick

SEED = int(os.environ.get("SEED", "20261101"))
SETS, QUICK_SETS = 204, 30
CONVERGE_DEADLINE_S = 60.0
LOOK_EVERY_S = 0.3
PROXY_DEADLINE_S = 20.0
WRITES_AT_ONCE = 8
POLICY_KINDS = ("PeerAuthentication", "DestinationRule", "Sidecar")
READ_KINDS = ("Pod", "Service", "ServiceEntry", *POLICY_KINDS)


class ProofError(Exception):
    """The proof could not be made; the text says why."""


@dataclass
class Compared:
    """How much was compared, over all rounds or in one."""

    inbound_ports: int = 0
    clusters: int = 0
    endpoints: int = 0
    leftover_subsets: int = 0
    """Clusters of subsets that no rule in effect has any more. istiod forgets to take them away when a rule that the
    caller cannot see displaces the one they came from; nothing can route to them."""


class World:
    """The policies of one round, and what the rules make of them."""

    def __init__(self, snapshot: Snapshot) -> None:
        mesh = mesh_config(snapshot)
        self._snapshot, self._mesh = snapshot, mesh
        self._peers = PeerPolicies(snapshot, mesh.root_namespace)
        self._side, self._reach = ClientSide(snapshot, mesh), Reach(snapshot, mesh)
        self.pods = [p for p in snapshot.pods if p.ip and not p.terminating]
        self._by_address = {p.ip: p for p in self.pods}
        self.proxied = [p for p in self.pods if membership.is_meshed(p)]
        self.hosts = [h for h in hosts.mesh_hosts(snapshot) if h.namespace in stage.NAMESPACES]

    def relaxed(self) -> tls_relaxation.Relaxed:
        """The edits that drop ISTIO_MUTUAL from every rule that has it."""
        rules = [r for r in self._snapshot.of_kind("DestinationRule") if demands_mesh_tls(r)]
        return tls_relaxation.relax(self._snapshot, self._mesh, rules)

    def uid(self, ref: Ref) -> str:
        """The identity of an object."""
        return self._snapshot.resources[ref].uid

    def differences(self, facts: Mapping[Ref, ProxyFacts], compared: Compared) -> dict[str, list[str]]:
        """For each server's namespace what the proxies have otherwise."""
        found: dict[str, list[str]] = {namespace: [] for namespace in stage.NAMESPACES}
        for pod in self.proxied:
            proxy = facts[pod.ref]
            found[pod.ref.namespace] += self._inbound(pod, proxy, compared)
            for host in self.hosts:
                found[host.namespace] += self._outbound(client_of(pod), host, proxy, compared)
        return found

    def _inbound(self, pod: Pod, proxy: ProxyFacts, compared: Compared) -> list[str]:
        compared.inbound_ports += len(proxy.inbound or {})
        return list(inbound_differences(proxy, self._peers.effective(pod.ref.namespace, pod.labels)))

    def _outbound(self, client: Client, host: hosts.MeshHost, proxy: ProxyFacts, compared: Compared) -> list[str]:
        knows = self._reach.knows(client.namespace, client.labels, host)
        expected = self._side.towards(client, host) if knows else {}
        has = {key: tls for key, tls in (proxy.clusters or {}).items() if key.rsplit(":", 1)[0] == host.name}
        wrong = []
        for key in sorted(expected.keys() | has.keys()):
            wanted, found = expected.get(key), has.get(key)
            if wanted is None and "/" in key:
                compared.leftover_subsets += 1
                continue
            compared.clusters += 1
            if wanted is None or found is not wanted.cluster:
                words = wanted.cluster.value if wanted else "no such cluster"
                wrong.append(f"{client.namespace} -> {key}: {found.value if found else 'none'}, computed {words}")
            elif wanted.cluster is UpstreamTls.PER_ENDPOINT:
                wrong += self._marks(client, key, wanted, (proxy.endpoints or {}).get(key, ()), compared)
        return wrong

    def _marks(
        self, client: Client, key: str, tls: ClientTls, endpoints: Sequence[Endpoint], compared: Compared
    ) -> list[str]:
        wrong = []
        for endpoint in endpoints:
            compared.endpoints += 1
            address, port = endpoint.address.rsplit(":", 1)
            pod = self._by_address[address]
            mode = self._peers.effective(pod.ref.namespace, pod.labels).of(int(port))
            marked = tls.marks(proxied=membership.is_meshed(pod), mode=mode)
            if endpoint.tls is not marked:
                wrong.append(f"{client.namespace} -> {key} at {pod.ref.name}: mark {endpoint.tls}, computed {marked}")
        return wrong


class Rounds:
    """Puts one round after the other on the stage and compares."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        self._cluster, self._signals = cluster, EnvoySignals(cluster, deadline_s=PROXY_DEADLINE_S)
        self._there: dict[Key, Resource] = {}
        self._manifests: dict[Key, Manifest] = {}
        self._slots = asyncio.Semaphore(WRITES_AT_ONCE)
        self.compared = Compared()
        self.relaxed: Counter[str] = Counter()

    async def play(self, number: int, wanted: Mapping[Key, Manifest]) -> dict[str, list[str]]:
        """Make the round's policies exist, wait for the proxies, and say what differs. Raises ProofError."""
        await asyncio.gather(*(self._remove(key) for key, m in self._manifests.items() if wanted.get(key) is not m))
        await asyncio.gather(*(self._create(m) for key, m in wanted.items() if key not in self._there))
        await asyncio.gather(*map(self._create, markers(number)))
        world = World(await self._snapshot())
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CONVERGE_DEADLINE_S
        agreed = 0
        while True:
            facts, missing = await self._facts(world, subset_of(number))
            differing = {} if missing else world.differences(facts, compared := Compared())
            wrong = any(differing.values())
            agreed = 0 if missing or wrong else agreed + 1
            if agreed == 2 or (not missing and loop.time() > deadline):
                break  # twice in a row: the marker may be a moment ahead of the listener
            if loop.time() > deadline:
                raise ProofError(f"round {number} did not reach {', '.join(missing)} in {CONVERGE_DEADLINE_S:.0f} s")
            await asyncio.sleep(LOOK_EVERY_S)
        self._add(compared)
        for ref, why in await self._refused_edits(world):
            differing[ref.namespace].append(f"{ref} cannot be relaxed as computed: {why}")
        await asyncio.gather(*(self._remove(key_of(marker)) for marker in markers(number)))
        return differing

    async def _refused_edits(self, world: World) -> list[tuple[Ref, str]]:
        """Show every edit that drops ISTIO_MUTUAL to the API server, as a dry run; return what it refuses."""
        relaxed = world.relaxed()
        refused = []
        for ref, changes in relaxed.changes.items():
            try:
                await self._cluster.change(ref, world.uid(ref), changes, dry_run=True)
            except Rejected as error:
                refused.append((ref, str(error)))
        self.relaxed += Counter(edits=len(relaxed.changes), refused=len(refused), stuck=len(relaxed.stuck))
        return refused

    def _add(self, compared: Compared) -> None:
        self.compared.inbound_ports += compared.inbound_ports
        self.compared.clusters += compared.clusters
        self.compared.endpoints += compared.endpoints
        self.compared.leftover_subsets += compared.leftover_subsets

    async def _create(self, manifest: Manifest) -> None:
        async with self._slots:
            key = key_of(manifest)
            self._there[key], self._manifests[key] = await self._cluster.create(manifest), manifest

    async def _remove(self, key: Key) -> None:
        async with self._slots:
            known = self._there.pop(key)
            del self._manifests[key]
            await self._cluster.delete(known.ref, known.uid)

    async def _snapshot(self) -> Snapshot:
        spaces = stage.ALL_NAMESPACES
        lists = await asyncio.gather(*(self._cluster.list(kind, spaces) for kind in READ_KINDS))
        root = await self._cluster.list("PeerAuthentication", ("istio-system",))
        config = await self._cluster.get(Ref("ConfigMap", "istio-system", "istio"))
        found = [*(r for members in lists for r in members), *root, *([config] if config else [])]
        return Snapshot(await self._cluster.identity(), "", {r.ref: r for r in found})

    async def _facts(self, world: World, subset: str) -> tuple[dict[Ref, ProxyFacts], list[str]]:
        """Read every proxy; also name those that do not have the round yet."""
        wanted = [stage.MARKER_HOST, *(host.name for host in world.hosts)]
        answers = await self._signals.proxies(world.proxied, ["inbound", "clusters", "endpoints"], hosts=wanted)
        facts = {ref: answer for ref, answer in answers.items() if isinstance(answer, ProxyFacts)}
        sign = f"{stage.MARKER_HOST}:8080/{subset}"
        late = [f"{ref.name}: {a.reason}" for ref, a in answers.items() if isinstance(a, ProxyUnreachable)]
        late += [f"{ref.name} has no {sign}" for ref in facts if sign not in (facts[ref].clusters or {})]
        return facts, late


async def prove(testbed: Testbed, sets: int, proof: Proof) -> int:
    """Play rounds until that many sets were compared; return how many of them differ. Raises ProofError."""
    drawn, differing, count = PolicySets(SEED), 0, 0
    async with await open_cluster("testbed", WallClock(), kubeconfig=str(testbed.kubeconfig)) as cluster:
        rounds = Rounds(cluster)
        for number in range(-(-sets // len(stage.NAMESPACES))):
            wanted = drawn.next_round()
            for namespace, wrong in (await rounds.play(number, wanted)).items():
                count += 1
                differing += bool(wrong)
                for line in wrong:
                    print(f"round {number}, {namespace}: {line}", flush=True)
            print(f"round {number}: {len(wanted)} policies, {count} sets compared, {differing} differ", flush=True)
        proof.count("compared", vars(rounds.compared))
        proof.count("edits by dry run", rounds.relaxed)
    proof.note({"seed": SEED, "callers": len(stage.NAMESPACES), "mesh": "STRICT, the testbed's own"})
    proof.say({"policy_sets": count, "differences": differing})
    return differing


def main() -> int:
    """Run the proof; 0 when nothing differs."""
    testbed = own_cluster.up()
    with Proof("policies", quick=is_quick()) as proof:
        try:
            stage.set_up(testbed)
            differing = asyncio.run(prove(testbed, QUICK_SETS if is_quick() else SETS, proof))
        except ProofError as error:
            print(f"policies: {error}", file=sys.stderr)
            return 1
        finally:
            stage.take_down(testbed, wait=False)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
