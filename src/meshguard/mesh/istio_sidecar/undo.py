"""What undoes a run, object by object: three-way per field, against what the run left and what it found.

What another open run still needs is released, not undone; what somebody else has changed since is reported and left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from meshguard.mesh.istio_sidecar import sharing
from meshguard.model.change import Change, net, read
from meshguard.model.codes import CODES
from meshguard.model.findings import Finding
from meshguard.model.kinds import RESTARTABLE
from meshguard.model.objects import Ref
from meshguard.model.plan import Action, Step
from meshguard.model.snapshot import OpenRun, Snapshot


@dataclass
class Undo:
    """The undo steps of a run while they are collected."""

    snapshot: Snapshot
    run: OpenRun
    others: tuple[OpenRun, ...]
    findings: list[Finding] = field(default_factory=list)
    excluded: dict[str, str] = field(default_factory=dict)
    lost: list[Ref] = field(default_factory=list)
    """Objects of the enrolment that cannot be brought back."""

    def steps(self, phase: str, kinds: Iterable[str], sentence: str, why: str) -> list[Step]:
        """Return the steps that undo what the run did to objects of these kinds."""
        chosen = set(kinds)
        steps: list[Step] = []
        for ref in sorted(set(self.run.changes) | set(self.run.created)):
            if ref.kind in chosen:
                for action, changes, words in self._undo(ref):
                    steps.append(
                        Step(
                            f"{phase}-{len(steps) + 1:03d}",
                            action,
                            ref,
                            self._uid(ref),
                            words or sentence.format(ref=ref),
                            why,
                            changes,
                            self.run.manifests.get(ref) if action is Action.DELETE else None,
                            restarts=ref.kind in RESTARTABLE,
                        )
                    )
        return steps

    def _uid(self, ref: Ref) -> str:
        resource = self.snapshot.resources.get(ref)
        return self.run.created.get(ref) or (resource.uid if resource else "")

    def _undo(self, ref: Ref) -> list[tuple[Action, tuple[Change, ...], str]]:
        resource = self.snapshot.resources.get(ref)
        if resource is None:
            self.excluded[str(ref)] = "it is not there any more"
            return []
        if ref in self.run.created:
            keepers = sharing.holders(self.others, ref)
            if keepers:
                return [(Action.RELEASE, (), f"Keep {ref}: run {keepers[0].run} needs it")]
            return [(Action.DELETE, (), f"Delete {ref}, which the run created")]
        undo, release = [], []
        for change in net(self.run.changes[ref]):
            keepers = sharing.holders(self.others, ref, change.path)
            found = read(resource.doc, change.path)
            if keepers:
                release.append(change)
            elif found == change.after:
                undo.append(change.inverse())
            elif found != change.before:
                self._conflict(ref, change, found)
        return [
            part
            for part in (
                (Action.CHANGE, tuple(undo), ""),
                (Action.RELEASE, tuple(release), f"Keep {ref} as it is: another open run needs it"),
            )
            if part[1]
        ]

    def _conflict(self, ref: Ref, change: Change, found: object) -> None:
        self.findings.append(
            Finding(CODES["MG207"], ref, f"{'.'.join(change.path)} is {found!r}, the run left {change.after!r}")
        )
        if ref.kind in ("Namespace", *RESTARTABLE) and change.path[-1] != "meshguard.dev/run":
            self.lost.append(ref)
