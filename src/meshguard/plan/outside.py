"""What is out of the mesh by open runs: since when, by whom, why, and where plaintext is accepted because of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from meshguard.mesh.protocol import Mesh
from meshguard.model.change import read
from meshguard.model.kinds import RESTARTABLE
from meshguard.model.objects import Ref
from meshguard.model.snapshot import OpenRun, Snapshot

_MODES = "PeerAuthentication"


@dataclass(frozen=True)
class Outside:
    """One open run, as it stands now."""

    run: OpenRun
    workloads: tuple[Ref, ...]
    """Those that it took out and that are still out."""
    back: tuple[Ref, ...]
    """Those that carry sidecars again, although the run still holds them."""
    plaintext: tuple[str, ...]
    """Namespaces that accept plaintext by its edits, as far as these are still in place."""

    def to_json(self) -> dict[str, Any]:
        """The public JSON form."""
        return {
            "run": self.run.run,
            "by": self.run.owner,
            "since": self.run.started,
            "reason": self.run.reason,
            "namespaces": list(self.run.namespaces),
            "out": [str(ref) for ref in self.workloads],
            "back": [str(ref) for ref in self.back],
            "plaintextAccepted": list(self.plaintext),
        }

    def lines(self) -> tuple[str, ...]:
        """The same for a person."""
        run = self.run
        return (
            f"open since {run.started}: run {run.run} by {run.owner}, {', '.join(run.namespaces)}: {run.reason}",
            f"  out of the mesh: {_listed(self.workloads)}",
            *([f"  back already: {_listed(self.back)}"] if self.back else []),
            f"  plaintext: to and from what is out, and accepted in {', '.join(self.plaintext) or 'no namespace'}",
        )


def outside(snapshot: Snapshot, mesh: Mesh) -> tuple[Outside, ...]:
    """Return what each open run keeps out of the mesh, oldest first."""
    members = {member.ref for member in mesh.members(snapshot)} if snapshot.open_runs else set()
    out = []
    for run in snapshot.open_runs:
        taken = [ref for ref in sorted(run.changes) if ref.kind in RESTARTABLE and ref in snapshot.resources]
        gone = tuple(ref for ref in taken if ref not in members)
        out.append(Outside(run, gone, tuple(ref for ref in taken if ref in members), _relaxed(snapshot, run)))
    return tuple(out)


def _relaxed(snapshot: Snapshot, run: OpenRun) -> tuple[str, ...]:
    refs = [ref for ref in {*run.changes, *run.created} if ref.kind == _MODES and ref in snapshot.resources]
    return tuple(sorted({ref.namespace for ref in refs if ref in run.created or _in_place(snapshot, run, ref)}))


def _in_place(snapshot: Snapshot, run: OpenRun, ref: Ref) -> bool:
    doc = snapshot.resources[ref].doc
    return any(read(doc, change.path) == change.after for change in run.changes[ref])


def _listed(refs: Iterable[Ref]) -> str:
    return ", ".join(map(str, refs)) or "nothing"
