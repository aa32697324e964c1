"""The judge of Istio sidecar plans: for each check it reads what is needed and compares with what should be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from meshguard.mesh.istio_sidecar import hosts, membership, proofs
from meshguard.mesh.istio_sidecar.client_tls import Client, ClientSide, ClientTls, client_of
from meshguard.mesh.istio_sidecar.mesh_config import MeshConfig
from meshguard.mesh.istio_sidecar.peer_authentication import EffectiveMode, PeerPolicies
from meshguard.mesh.istio_sidecar.traffic import Watch
from meshguard.model.change import Change, read
from meshguard.model.objects import Pod, Ref, Resource, Workload
from meshguard.model.plan import Await, Check
from meshguard.model.proxy import ProxyFacts, ProxyUnreachable
from meshguard.model.snapshot import Snapshot
from meshguard.model.verdict import Truth, Verdict, tally
from meshguard.ports import Clock, Cluster, DataPlane, Measurements, Rejected
from meshguard.verify import gate
from meshguard.verify.rollout import rollout_missing, still_rolling
from meshguard.verify.unreachable import istiods_of, unreachable

ENVOY = "envoy config_dump"
KUBERNETES = "kubernetes"
ADMISSION = "admission by dry run"
STATS = "envoy stats"
#: How often a watch over traffic says how far it has come; every change is an entry of the journal.
SAID_EVERY_S = 10
ADMITTED_AT_ONCE = 16


@dataclass(frozen=True)
class _World:
    """What several checks of one moment share."""

    snapshot: Snapshot

    def meshed_pods(self, namespaces: Collection[str] = ()) -> list[Pod]:
        """Running pods with a sidecar, in all namespaces or in some."""
        return [
            pod
            for pod in self.snapshot.pods
            if membership.is_meshed(pod)
            and not pod.terminating
            and pod.ip
            and (pod.ref.namespace in (namespaces or {pod.ref.namespace}))
        ]


@dataclass(frozen=True)
class _Answers:
    """What some proxies said."""

    facts: Sequence[ProxyFacts]
    unseen: tuple[str, ...]
    """Those that must still be waited for, and why they said nothing."""
    unreachable: int
    """Those that nobody waits for."""

    def tally(self, late: int, missing: tuple[str, ...]) -> Verdict:
        """Make the verdict: `late` of those that answered lack what is `missing`."""
        total = len(self.facts) + len(self.unseen) + self.unreachable
        return tally(len(self.facts) - late, total, missing, self.unseen, ENVOY, self.unreachable)


class IstioJudge:
    """Answers the awaits of a plan for Istio sidecars; implements the engine's Judge."""

    def __init__(
        self, cluster: Cluster, signals: DataPlane, clock: Clock, mesh: MeshConfig, measurements: Measurements
    ) -> None:
        self._cluster, self._signals, self._clock, self._mesh = cluster, signals, clock, mesh
        self._measurements = measurements
        self._watches: dict[tuple[str, ...], Watch] = {}
        self._reading: dict[tuple[str, frozenset[str]], asyncio.Future[Sequence[Resource]]] = {}
        self._checks: Mapping[Check, Callable[[Await], Awaitable[Verdict]]] = {
            Check.INJECTION: self._injection,
            Check.INBOUND: self._inbound,
            Check.OUTBOUND: self._outbound,
            Check.AUTHZ: self._authz,
            Check.ROLLED_OUT: self._rolled_out,
            Check.MEMBERSHIP: self._membership,
            Check.ENDPOINTS: self._endpoints,
            Check.TRAFFIC: self._traffic,
            Check.IDENTICAL: self._identical,
            Check.HYPOTHESIS: self._hypothesis,
        }

    async def judge(self, awaited: Await) -> Verdict:
        """Say whether the condition holds now. Raises ClusterError when the cluster cannot be asked."""
        return await self._checks[awaited.check](awaited)

    async def _read(self, *kinds: str, namespaces: Collection[str] = ()) -> Snapshot:
        lists = await asyncio.gather(*(self._list(kind, frozenset(namespaces)) for kind in kinds))
        resources = {resource.ref: resource for members in lists for resource in members}
        return Snapshot(await self._cluster.identity(), self._clock.wall(), resources)

    async def _list(self, kind: str, namespaces: frozenset[str]) -> Sequence[Resource]:
        """List once for all conditions that ask at the same time; the answer is newer than the wave that they await."""
        key = (kind, namespaces)
        if key not in self._reading:
            self._reading[key] = asyncio.ensure_future(self._cluster.list(kind, namespaces))
            self._reading[key].add_done_callback(lambda _: self._reading.pop(key))
        return await asyncio.shield(self._reading[key])

    async def _proxies(
        self, snapshot: Snapshot, pods: Sequence[Pod], parts: Collection[str], hosts_wanted: Collection[str] = ()
    ) -> _Answers:
        """Ask these proxies; of those that nobody takes questions for, ask every istiod (see `verify.unreachable`)."""
        answers = await self._signals.proxies(pods, parts, hosts=hosts_wanted)
        silent = [answer for answer in answers.values() if isinstance(answer, ProxyUnreachable)]
        deserted = {answer.pod for answer in silent if answer.nobody_there}
        gone: frozenset[Ref] = frozenset()
        if deserted:
            connected = await self._signals.connected(istiods_of(snapshot))
            suspects = [pod for pod in pods if pod.ref in deserted]
            gone = unreachable(suspects, connected, snapshot, len(_World(snapshot).meshed_pods()))
        return _Answers(
            [answer for answer in answers.values() if isinstance(answer, ProxyFacts)],
            tuple(f"{answer.pod.name}: {answer.reason}" for answer in silent if answer.pod not in gone),
            len(gone),
        )

    def _mode_of(self, snapshot: Snapshot) -> Callable[[Pod], EffectiveMode]:
        peers = PeerPolicies(snapshot, self._mesh.root_namespace)
        return lambda pod: peers.effective(pod.ref.namespace, pod.labels)

    async def _injection(self, awaited: Await) -> Verdict:
        wanted = bool(awaited.expect["injected"])
        workloads = await self._workloads(awaited.subject)
        missing = []
        chosen = proofs.representatives(workloads)
        for workload, admitted in zip(chosen, await self._admitted(chosen), strict=True):
            if isinstance(admitted, Rejected):
                missing.append(f"a pod of {workload.ref} would be refused: {admitted}")
                continue
            injected = membership.proxy_kind(admitted) is not membership.ProxyKind.NONE
            revision = awaited.expect.get("revision", "")
            if injected != wanted:
                missing.append(
                    f"a pod of {workload.ref} would still come out {'with' if injected else 'without'} a sidecar"
                )
            elif revision and membership.revision_of(admitted) != revision:
                missing.append(f"a pod of {workload.ref} would not be injected by revision {revision} yet")
        return tally(len(chosen) - len(missing), len(chosen), tuple(missing), (), ADMISSION)

    async def _admitted(self, workloads: Sequence[Workload]) -> list[Pod | Rejected]:
        """What admission makes of the next pod of each, so many at the same time as the API server is not hurt by."""
        slots = asyncio.Semaphore(ADMITTED_AT_ONCE)

        async def admit(workload: Workload) -> Pod | Rejected:
            async with slots:
                try:
                    return Pod(workload.ref, await self._cluster.admit_pod(proofs.probe_pod(workload)))
                except Rejected as error:
                    return error

        return await asyncio.gather(*(admit(workload) for workload in workloads))

    async def _workloads(self, subject: Iterable[str]) -> list[Workload]:
        refs = [Ref.parse(text) for text in subject]
        spaces = sorted({ref.namespace for ref in refs})
        snapshot = await self._read(*sorted({ref.kind for ref in refs}), namespaces=spaces)
        found = (snapshot.resources.get(ref) for ref in refs)
        return [workload for workload in found if isinstance(workload, Workload)]

    async def _inbound(self, awaited: Await) -> Verdict:
        snapshot = await self._read("Pod", "PeerAuthentication")
        pods = _World(snapshot).meshed_pods(awaited.subject)
        mode_of = self._mode_of(snapshot)
        seen = await self._proxies(snapshot, pods, ["inbound"])
        by_ref = {pod.ref: pod for pod in pods}
        missing: list[str] = []
        late: set[Ref] = set()
        for proxy in seen.facts:
            effective = mode_of(by_ref[proxy.pod])
            wrong = list(proofs.inbound_differences(proxy, effective))
            if awaited.expect.get("plaintext") and effective.strict_somewhere:
                wrong.append(f"{proxy.pod.name} is under a STRICT policy")
            missing += wrong
            late |= {proxy.pod} if wrong else set()
        return seen.tally(len(late), tuple(missing))

    async def _outbound(self, awaited: Await) -> Verdict:
        snapshot = await self._read("Pod", "Service", "ServiceEntry", "DestinationRule", "PeerAuthentication")
        known = hosts.mesh_hosts(snapshot)
        wanted = [host for host in known if any(hosts.covers(pattern, host.name) for pattern in awaited.subject)]
        pods = _World(snapshot).meshed_pods()
        seen = await self._proxies(snapshot, pods, ["clusters"], [host.name for host in wanted])
        by_ref, side = {pod.ref: pod for pod in pods}, ClientSide(snapshot, self._mesh)
        missing = tuple(
            difference
            for proxy in seen.facts
            for host in wanted
            for difference in proofs.outbound_differences(
                proxy, side.towards(client_of(by_ref[proxy.pod]), host), auto=awaited.expect["tls"] == "auto"
            )
        )
        late = len({difference.split()[0] for difference in missing})
        return seen.tally(late, missing)

    async def _authz(self, awaited: Await) -> Verdict:
        snapshot = await self._read("Pod", "AuthorizationPolicy")
        pods = _World(snapshot).meshed_pods()
        policies = [
            p for p in snapshot.of_kind("AuthorizationPolicy") if f"{p.ref.namespace}/{p.ref.name}" in awaited.subject
        ]
        concerned = [
            pod for pod in pods if any(proofs.enforces(policy, pod, self._mesh.root_namespace) for policy in policies)
        ]
        seen = await self._proxies(snapshot, concerned, ["authz"])
        by_ref = {pod.ref: pod for pod in concerned}
        missing = tuple(
            difference
            for proxy in seen.facts
            for policy in policies
            if proofs.enforces(policy, by_ref[proxy.pod], self._mesh.root_namespace)
            for difference in proofs.authz_differences(proxy, policy)
        )
        late = len({difference.split()[0] for difference in missing})
        return seen.tally(late, missing)

    async def _rolled_out(self, awaited: Await) -> Verdict:
        refs = [Ref.parse(text) for text in awaited.subject]
        spaces = sorted({ref.namespace for ref in refs})
        kinds = sorted({ref.kind for ref in refs})
        if (rolling := await self._still_rolling(refs)) is not None:
            return rolling
        snapshot = await self._read(*kinds, "Pod", "ReplicaSet", namespaces=spaces)
        missing = []
        for ref in refs:
            workload = snapshot.resources.get(ref)
            pods = snapshot.pods_of_workload.get(ref, ())
            if not isinstance(workload, Workload):  # somebody has deleted it: its pods go, and no new ones come
                missing += [f"{ref} was deleted, {len(pods)} pod(s) still there"] if pods else []
                continue
            wrong = rollout_missing(workload, pods, awaited.expect.get("gone", ()))
            if wrong:
                missing.append(f"{ref}: {wrong}")
        return tally(len(refs) - len(missing), len(refs), tuple(missing), (), KUBERNETES)

    async def _still_rolling(self, refs: Collection[Ref]) -> Verdict | None:
        """The verdict as long as controllers themselves say that they are not done; thousands of pods are not read."""
        kinds, spaces = sorted({ref.kind for ref in refs}), sorted({ref.namespace for ref in refs})
        snapshot = await self._read(*kinds, namespaces=spaces)
        found = [workload for ref in refs if isinstance(workload := snapshot.resources.get(ref), Workload)]
        missing = tuple(f"{w.ref}: {words}" for w in sorted(found, key=_ref) if (words := still_rolling(w)))
        return tally(len(refs) - len(missing), len(refs), missing, (), KUBERNETES) if missing else None

    async def _membership(self, awaited: Await) -> Verdict:
        refs = {Ref.parse(text) for text in awaited.subject}
        spaces = sorted({ref.namespace for ref in refs})
        if (rolling := await self._still_rolling(refs)) is not None:
            return rolling
        snapshot = await self._read("Pod", "ReplicaSet", namespaces=spaces)
        pods = [pod for pod in snapshot.pods if snapshot.workload_of_pod[pod.ref] in refs]
        meshed, revision = bool(awaited.expect["meshed"]), str(awaited.expect.get("revision", ""))
        wrong = [proofs.membership_difference(pod, meshed=meshed, revision=revision) for pod in pods]
        missing = tuple(words for words in wrong if words)
        return tally(len(pods) - len(missing), len(pods), missing, (), "the pods' containers")

    async def _endpoints(self, awaited: Await) -> Verdict:
        snapshot = await self._read("Pod", "Service", "PeerAuthentication", "DestinationRule")
        expected = self._expected_endpoints(snapshot, awaited.subject)
        callers = [pod for pod in _World(snapshot).meshed_pods() if pod.ready]
        seen = await self._proxies(snapshot, callers, ["endpoints"], awaited.subject)
        by_ref, side = {pod.ref: pod for pod in callers}, ClientSide(snapshot, self._mesh)
        wanted = [host for host in hosts.mesh_hosts(snapshot) if host.name in awaited.subject]
        missing = tuple(
            difference
            for proxy in seen.facts
            for difference in proofs.endpoint_differences(
                proxy, expected, _decreed(side, client_of(by_ref[proxy.pod]), wanted)
            )
        )
        late = len({difference.split()[0] for difference in missing})
        return seen.tally(late, missing)

    def _expected_endpoints(
        self, snapshot: Snapshot, wanted: Collection[str]
    ) -> dict[str, frozenset[tuple[str, bool]]]:
        mode_of = self._mode_of(snapshot)
        expected: dict[str, frozenset[tuple[str, bool]]] = {}
        for service in snapshot.of_kind("Service"):
            if hosts.fqdn(service) in wanted and not hosts.is_headless(service):
                pods = [p for p in snapshot.pods if p.ref.namespace == service.ref.namespace]
                expected |= proofs.expected_endpoints(service, pods, {p.ref.name: mode_of(p) for p in pods})
        return expected

    async def _traffic(self, awaited: Await) -> Verdict:
        snapshot = await self._read("Pod")
        callers = [pod for pod in _World(snapshot).meshed_pods() if pod.ready]
        seen = await self._proxies(snapshot, callers, ["counters"], awaited.subject)
        watch = self._watches.setdefault(
            awaited.subject, Watch(frozenset(awaited.subject), float(awaited.expect["watchSeconds"]), self._clock.now())
        )
        if seen.unreachable and not seen.facts and not seen.unseen:
            return seen.tally(0, ())  # nobody's traffic can be watched, however long
        missing = watch.observe(seen.facts, self._clock.now())
        verdict = Verdict(
            Truth.NO if missing else Truth.UNKNOWN if seen.unseen else Truth.YES,
            int(watch.elapsed(self._clock.now()) // SAID_EVERY_S * SAID_EVERY_S),
            int(watch.seconds),
            (*missing, *seen.unseen),
            STATS,
        )
        return seen.tally(0, ()) if verdict.holds and seen.unreachable else verdict

    async def _hypothesis(self, awaited: Await) -> Verdict:
        return await gate.judge(awaited, self._measurements)

    async def _identical(self, awaited: Await) -> Verdict:
        missing = []
        for text in awaited.subject:
            ref = Ref.parse(text)
            resource = await self._cluster.get(ref)
            if text in awaited.expect["gone"]:
                missing += [f"{ref} is still there"] if resource is not None else []
            else:
                missing += _field_differences(ref, resource, awaited.expect["fields"][text])
        return tally(len(awaited.subject) - len(missing), len(awaited.subject), tuple(missing), (), KUBERNETES)


def _ref(workload: Workload) -> Ref:
    return workload.ref


def _decreed(side: ClientSide, client: Client, known: Iterable[hosts.MeshHost]) -> dict[str, ClientTls]:
    return {key: tls for host in known for key, tls in side.towards(client, host).items()}


def _field_differences(ref: Ref, resource: Resource | None, fields: Iterable[Mapping[str, object]]) -> list[str]:
    if resource is None:
        return [f"{ref} is not there any more"]
    wanted = [Change.from_json(data) for data in fields]
    return [
        f"{ref}: {'.'.join(change.path)} is {read(resource.doc, change.path)!r}, it was {change.after!r}"
        for change in wanted
        if read(resource.doc, change.path) != change.after
    ]
