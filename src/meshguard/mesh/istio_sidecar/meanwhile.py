"""Workloads that the record of a run does not tell of as they are now: somebody was at work while it was out.

A workload that was deployed anew may have lost the run's mark, and one may have come since. Both run without sidecars,
and nothing that undoes the run would restart them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from meshguard.mesh.istio_sidecar.membership import Due, Memberships, is_meshed
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.kinds import RESTARTABLE
from meshguard.model.objects import Ref, Workload
from meshguard.model.snapshot import OpenRun, Snapshot

REMARKED = "it was deployed anew without the run's mark; only a restart brings its pods a sidecar"
NEW = "it came while its namespace was out; only a restart brings its pods a sidecar"


@dataclass(frozen=True)
class Meanwhile:
    """What has happened to a run's workloads and namespaces; `restored` is the cluster with the enrolment put back."""

    restored: Snapshot
    run: OpenRun
    others: tuple[OpenRun, ...]

    @cached_property
    def deployed_anew(self) -> tuple[Workload, ...]:
        """Workloads of the run whose template does not tell of it any more, and whose pods lack a sidecar."""
        return tuple(w for w in self._lacking if w.ref in self.run.changes)

    @cached_property
    def new(self) -> tuple[Workload, ...]:
        """Workloads that came since to namespaces that the run has switched off."""
        switched = {ref.name for ref in self.run.changes if ref.kind == "Namespace"}
        return tuple(
            w
            for w in self._lacking
            if w.ref not in self.run.changes and w.ref.namespace in switched and w.created[:19] >= self.run.started[:19]
        )

    def findings(self, *, with_new: bool) -> tuple[Finding, ...]:
        """Return what is to be said of those that came."""
        words = "it comes along" if with_new else "it stays as it is"
        return tuple(
            Finding(CODES["MG117"], w.ref, f"created {w.created}, not by the run; {words}", accepted=with_new)
            for w in self.new
        )

    @cached_property
    def _lacking(self) -> tuple[Workload, ...]:
        """Workloads with pods that lack a sidecar and may get one; those that other runs keep out are theirs."""
        return tuple(sorted(self._found(), key=lambda w: w.ref))

    def _found(self) -> Iterator[Workload]:
        memberships, spaces = Memberships(self.restored), set(self.run.namespaces)
        kept: set[Ref] = {ref for run in self.others for ref in run.changes}
        for workload in self.restored.workloads:
            if workload.ref.kind not in RESTARTABLE or workload.ref.namespace not in spaces or workload.ref in kept:
                continue
            pods = [p for p in self.restored.pods_of_workload.get(workload.ref, ()) if not p.terminating]
            lacking = any(not is_meshed(pod) for pod in pods)
            if lacking and memberships.of(workload).due.due in (Due.INJECTED, Due.UNKNOWN):
                yield workload
