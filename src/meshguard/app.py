"""The composition root: puts the adapters into the ports and offers what a person can ask for, in one place.

The command line, the Ansible modules and every other door call these functions and add nothing but their own form.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshguard.clock import WallClock
from meshguard.config import Config
from meshguard.engine.preview import ObjectDiff, preview
from meshguard.journal import mirror
from meshguard.journal.local import NOT_MIRRORED, is_local, local_records
from meshguard.journal.mirror import still_open, with_open_runs
from meshguard.journal.rundir import runs_folder
from meshguard.mesh.istio_sidecar import control_plane, membership
from meshguard.mesh.istio_sidecar.mesh_config import mesh_config
from meshguard.mesh.istio_sidecar.rights import RIGHTS
from meshguard.mesh.istio_sidecar.rules import IstioSidecar
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.mesh.istio_sidecar.sharing import SHARED_KINDS
from meshguard.mesh.protocol import Caps, Consents, LeaveRequest, Mesh, Order, RealignRequest, Settings, WorkloadStatus
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.kinds import RESTARTABLE
from meshguard.model.objects import Ref
from meshguard.model.plan import RUN_PLACEHOLDER, Await, Check, Phase, Plan, Wave
from meshguard.model.rights import OWN_NAMESPACE, Needed, Place
from meshguard.model.scopes import OBSERVED, Asked
from meshguard.model.snapshot import OpenRun, Snapshot
from meshguard.model.staging import Staging
from meshguard.model.verdict import Verdict
from meshguard.plan.apply import apply_plan, open_run_of
from meshguard.plan.build import plan_exit, plan_realign, plan_restore
from meshguard.plan.gate import Gate
from meshguard.plan.rights import needed_for
from meshguard.plan.scopes import resolve
from meshguard.plan.sight import require_objects, require_records, require_scope
from meshguard.ports import Clock, Cluster, DataPlane, Measurements
from meshguard.verify.istio_judge import IstioJudge
from meshguard.verify.observed import observed_calls
from meshguard.verify.seen import as_seen, with_told_versions

if TYPE_CHECKING:
    from meshguard.cluster.kubernetes_cluster import KubernetesCluster
    from meshguard.hypotheses.evaluate import Assessment
    from meshguard.hypotheses.schema import Hypothesis
    from meshguard.signals.portforward import Tunnels
    from meshguard.signals.prometheus import Prometheus

#: How old a snapshot may be that stands for the cluster before a run. Seconds.
RECENT_S = 10.0
MESHES: tuple[Mesh, ...] = (IstioSidecar(),)


class UnknownRun(Exception):
    """No open run of that name is recorded in the cluster."""


@dataclass(frozen=True)
class Target:
    """Which cluster, as whom, with which settings."""

    context: str | None = None
    kubeconfig: str | None = None
    as_user: str = ""
    as_groups: tuple[str, ...] = ()
    config: Config = field(default_factory=Config)

    @property
    def runs(self) -> Path:
        """Where runs are recorded on this machine."""
        chosen = self.config.journal_dir
        return Path(chosen).expanduser() if chosen else runs_folder(os.environ)

    @property
    def settings(self) -> Settings:
        """The settings that the mesh's rules depend on."""
        return Settings(
            frozenset(self.config.protected_namespaces),
            frozenset(self.config.client_first_ports),
            self.config.wave_size,
            self.config.rollout_deadline,
            self.config.converge_deadline,
            Caps(
                self.config.max_namespaces,
                self.config.max_workloads,
                self.config.max_share_percent,
                self.config.share_counts_from,
            ),
            dict(self.config.exclusions),
            Order(self.config.order),
        )


@dataclass(frozen=True)
class Session:
    """An open cluster with everything that is put around it."""

    target: Target
    cluster: Cluster
    signals: DataPlane
    clock: Clock
    measurements: Measurements
    tunnels: Tunnels
    prometheus: Prometheus | None = None
    waits: Clock | None = None
    """The same time for the engine's own waits: a simulator's clock is moved on by whoever waits on this one."""
    _read: list[tuple[float, Snapshot]] = field(default_factory=list)

    @property
    def clock_of_waits(self) -> Clock:
        """The clock on which the engine waits for what it has done to be seen."""
        return self.waits or self.clock

    async def recent_snapshot(self) -> Snapshot:
        """Return what was read a moment ago, or read anew where a person took the time to think. Raises ClusterError.

        To read thousands of pods twice is what an exit without a question would mostly wait for.
        """
        if self._read and self.clock.now() - self._read[-1][0] < RECENT_S:
            return self._read[-1][1]
        return await self.snapshot()

    async def snapshot(self) -> Snapshot:
        """Read the cluster and its open runs: those recorded in it, and those that this machine alone knows.

        Raises ClusterError or JournalError.
        """
        began = self.clock.now()
        recorded = with_open_runs(await self.cluster.snapshot())
        local = still_open(tuple(local_records(self.target.runs, recorded.cluster.uid)))
        whole = replace(recorded, open_runs=(*recorded.open_runs, *local))
        self._read[:] = [(began, await with_told_versions(whole, self.tunnels))]
        return self._read[-1][1]


@asynccontextmanager
async def session(target: Target, run: str = "") -> AsyncIterator[Session]:
    """Open the cluster. Raises cluster.errors.ConfigError for a kubeconfig or context that cannot be used."""
    from meshguard.cluster.connect import open_cluster
    from meshguard.signals.measure.measurer import Measurer
    from meshguard.signals.measure.world import World
    from meshguard.signals.reader import EnvoySignals

    clock, waits = clocks_of(target)
    cluster = await open_cluster(
        target.context,
        WallClock(),  # patience with a server is of this machine, whatever time the cluster lives by
        kubeconfig=target.kubeconfig,
        as_user=target.as_user,
        as_groups=target.as_groups,
        run=run,
    )
    async with cluster:
        signals = EnvoySignals(cluster)
        source = _prometheus(cluster, target.config)
        measurer = Measurer(World(cluster, signals, cluster, clock, membership.carries_proxy, source))
        yield Session(target, cluster, signals, clock, measurer, cluster, source, waits)


def clocks_of(target: Target) -> tuple[Clock, Clock]:
    """Return the time by which the cluster lives, and the same for waits that may move a simulator's clock on.

    Both are this machine's, unless the context names a simulator's clock. Raises cluster.errors.ConfigError.
    """
    from meshguard.cluster.credentials import extension_of, find_access
    from meshguard.cluster.errors import ConfigError
    from meshguard.simulated_clock import EXTENSION, SimulatedClock

    access = find_access(target.context, target.kubeconfig)
    named = extension_of(access, EXTENSION)
    if named is None:
        return WallClock(), WallClock()
    try:
        url = str(named["url"])
        return SimulatedClock(url), SimulatedClock(url, skips=True)
    except (TypeError, KeyError, ValueError) as error:
        raise ConfigError(f"context {access.context!r}: the extension {EXTENSION} cannot be used: {error}") from error


def time_of(target: Target) -> Clock:
    """Return the time by which the cluster lives; this machine's where the kubeconfig does not tell any more."""
    from meshguard.cluster.errors import ConfigError

    try:
        return clocks_of(target)[0]
    except ConfigError:
        return WallClock()


def _prometheus(cluster: KubernetesCluster, config: Config) -> Prometheus | None:
    from meshguard.signals import prometheus

    if config.prometheus_url:
        return prometheus.Prometheus(prometheus.by_url(config.prometheus_url))
    if config.prometheus_service:
        return prometheus.Prometheus(prometheus.by_service(cluster, config.prometheus_service))
    return None


async def status(opened: Session, snapshot: Snapshot, namespaces: Sequence[str]) -> tuple[WorkloadStatus, ...]:
    """Return for each workload of these namespaces what is declared, due and, as far as the proxies answer, so."""
    rows = mesh_of(snapshot).status(snapshot, namespaces)
    return await as_seen(rows, snapshot, opened.signals, opened.tunnels)


def mesh_of(snapshot: Snapshot) -> Mesh:
    """Return the rules of the mesh that is in the cluster; the first of MESHES where none is."""
    return next((mesh for mesh in MESHES if mesh.detect(snapshot)), MESHES[0])


async def make_exit_plan(opened: Session, asked: Asked, consents: Consents) -> Plan:
    """Plan the way out. Raises PlanError or ClusterError."""
    snapshot, settings = await opened.snapshot(), opened.target.settings
    require_scope(snapshot, asked.namespaces)
    mesh = mesh_of(snapshot)
    scope = resolve(snapshot, mesh, asked, settings)
    observed = None
    if asked.callers_from == OBSERVED:
        leaving = Scope(snapshot, scope.namespaces, scope.selection)
        window = opened.target.config.observed_window
        observed = await observed_calls(leaving, opened.signals, opened.prometheus, window)
    request = LeaveRequest(scope.namespaces, consents, settings, scope.selection, observed)
    return await with_mirror(opened, plan_exit(snapshot, mesh, request), consents)


async def make_realign_plan(opened: Session, asked: Asked, to_revision: str, consents: Consents) -> Plan:
    """Plan restarts of proxies that do not fit their control plane. Raises PlanError or ClusterError."""
    snapshot, settings = await opened.snapshot(), opened.target.settings
    require_scope(snapshot, asked.namespaces)
    mesh = mesh_of(snapshot)
    scope = resolve(snapshot, mesh, asked, settings)
    request = RealignRequest(scope.namespaces, to_revision, consents, settings, scope.selection)
    return await with_mirror(opened, plan_realign(snapshot, mesh, request), consents)


async def make_restore_plan(opened: Session, run: str, consents: Consents, staging: Staging | None = None) -> Plan:
    """Plan the way back of an open run, in waves with a staging. Raises UnknownRun, PlanError or ClusterError."""
    snapshot = await opened.snapshot()
    require_scope(snapshot)
    require_records(snapshot)
    known = open_run_named(snapshot, run)
    require_objects(snapshot, known)
    plan = plan_restore(snapshot, mesh_of(snapshot), known, opened.target.settings, staging)
    return await with_mirror(opened, plan, consents)


async def with_mirror(opened: Session, plan: Plan, consents: Consents) -> Plan:
    """Return the plan with the finding that its run cannot be mirrored in the cluster, where that is so."""
    why = await mirror.trouble(opened.cluster, own_rights())
    if not why:
        return plan
    place = Ref("Namespace", "", OWN_NAMESPACE)
    finding = Finding(CODES[NOT_MIRRORED], place, why, accepted=consents.local_journal_only)
    return replace(plan, findings=(*plan.findings, finding))


def own_rights() -> frozenset[Needed]:
    """Return the rights that mirror and Lease need."""
    return frozenset(
        (verb, right.resource, OWN_NAMESPACE) for right in RIGHTS if right.place is Place.OWN for verb in right.verbs
    )


async def predicted_way_back(opened: Session, plan: Plan) -> Plan:
    """Plan the way back of an exit that has not been made, on the cluster as the exit would leave it."""
    snapshot = await opened.recent_snapshot()
    after = apply_plan(plan, snapshot, RUN_PLACEHOLDER)
    record = open_run_of(plan, after, RUN_PLACEHOLDER, owner=person(opened.target), reason="by hand")
    left = replace(after, open_runs=(*snapshot.open_runs, record))
    return plan_restore(left, mesh_of(snapshot), record, opened.target.settings)


def control_plane_versions(snapshot: Snapshot) -> Mapping[str, str]:
    """Return the version of each revision's control plane."""
    return control_plane.versions(snapshot)


def open_run_named(snapshot: Snapshot, run: str) -> OpenRun:
    """Return the open run of that name. Raises UnknownRun, with the names there are."""
    for known in snapshot.open_runs:
        if known.run == run:
            return known
    names = ", ".join(known.run for known in snapshot.open_runs) or "none"
    raise UnknownRun(f"no open run {run!r} is recorded in this cluster; open: {names}")


def gate_from(file_or_name: str) -> Gate | None:
    """Read the hypothesis that guards a plan, from a file or one of ours; None for "". Raises HypothesisError."""
    from meshguard.hypotheses.load import load

    if not file_or_name:
        return None
    hypothesis = load(file_or_name)
    return Gate(hypothesis.name, hypothesis.document(), hypothesis.patience)


async def missing_rights(opened: Session, plan: Plan) -> Sequence[str]:
    """Return the rights that this person lacks for the plan. Raises ClusterError."""
    needed = needed_for(plan, RIGHTS)
    return await opened.cluster.missing_rights(needed - own_rights() if is_local(plan) else needed)


def person(target: Target) -> str:
    """Say who acts: the impersonated user, or the login name and machine."""
    return target.as_user or f"{getpass.getuser()}@{socket.gethostname()}"


async def config_of(opened: Session) -> Snapshot:
    """Return a snapshot that holds nothing but the mesh's configuration. Raises ClusterError."""
    found = await opened.cluster.get(Ref("ConfigMap", "istio-system", "istio"))
    resources = {found.ref: found} if found else {}
    return Snapshot(await opened.cluster.identity(), opened.clock.wall(), resources)


def judge_of(opened: Session, snapshot: Snapshot) -> IstioJudge:
    """Return who decides whether what a plan awaits is seen."""
    return IstioJudge(opened.cluster, opened.signals, opened.clock, mesh_config(snapshot), opened.measurements)


async def preview_policies(opened: Session, plan: Plan) -> tuple[ObjectDiff, ...]:
    """Say what the plan would make of policies, by dry run. Raises ClusterError."""
    edits = tuple(step for step in plan.steps if step.target.kind in SHARED_KINDS)
    return await preview(opened.cluster, Phase("policies", "Edit policies", (Wave(edits),)), "preflight")


async def preview_phase(opened: Session, plan: Plan, phase: str) -> tuple[ObjectDiff, ...]:
    """Say what a phase would write, by dry run. Raises ClusterError."""
    return await preview(opened.cluster, plan.phase(phase), "preview")


async def verify_run(opened: Session, run: str) -> list[tuple[Await, Verdict]]:
    """Look once whether what an open run did is still so. Raises UnknownRun or ClusterError."""
    snapshot = await opened.snapshot()
    known = open_run_named(snapshot, run)
    judge = judge_of(opened, snapshot)
    fields: dict[str, Any] = {str(ref): [c.to_json() for c in changes] for ref, changes in known.changes.items()}
    awaits = [
        Await(
            Check.IDENTICAL,
            "the fields are as the run left them",
            tuple(sorted(fields)),
            {"fields": fields, "gone": []},
        )
    ]
    workloads = tuple(sorted(text for text in fields if Ref.parse(text).kind in RESTARTABLE))
    if workloads:
        awaits += [
            Await(Check.MEMBERSHIP, "no pod carries a sidecar", workloads, {"meshed": False}),
            Await(Check.INJECTION, "new pods come without a sidecar", workloads, {"injected": False}),
        ]
    return [(awaited, await judge.judge(awaited)) for awaited in awaits]


async def assess_hypothesis(opened: Session, hypothesis: Hypothesis) -> Assessment:
    """Ask all probes of a hypothesis once, at the same time. What does not answer is unknown; nothing is raised."""
    from meshguard.hypotheses.evaluate import assess

    return await assess(hypothesis, opened.measurements)
