"""Journals for tests: one with an entry of every sort."""

from __future__ import annotations

from pathlib import Path

from meshguard.journal import events as ev
from meshguard.journal.journal import Journal
from meshguard.model.change import ABSENT, Change
from meshguard.model.objects import Ref
from meshguard.model.plan import Action, Step
from meshguard.model.verdict import Truth
from tests.fakes.clock import FakeClock

REF = Ref("Deployment", "shop-pay", "ledger")
STEP = Step(
    "relax-001",
    Action.CHANGE,
    REF,
    "uid-ledger",
    "Change it.",
    "because",
    (Change(("spec", "paused"), ABSENT, None), Change(("metadata", "labels", "a"), "b", ABSENT)),
    {"kind": "Deployment", "spec": {"ü": [1, 2.5, None]}},
    restarts=True,
)

EVENTS: tuple[ev.Event, ...] = (
    ev.RunOpened(
        "20260301-030000-ab12",
        "exit",
        "istio-sidecar",
        "cluster-1",
        "context",
        "f" * 64,
        "sre@laptop",
        "mesh is down",
        ("shop-pay",),
        (ev.PhaseShape("relax", "Relax", 1, 1),),
        fingerprints={str(REF): "0" * 64},
    ),
    ev.RunResumed("other@desk", "took over", from_mirror=True, lost=2, deadline_s=600.0),
    ev.LeaseTaken("sre@laptop (7f3a)", "20260301-030000-ab12", expired=True),
    ev.LeaseLost("run 20260301-040000-cd34 of other@desk took the cluster over"),
    ev.PhaseStarted("relax"),
    ev.WaveStarted("relax", 0),
    ev.Intent(STEP),
    ev.Done("relax-001", "42", "uid-new"),
    ev.Skipped("relax-001", "gone already"),
    ev.Conflicted("relax-001", REF, "somebody else", ("spec", "paused"), ABSENT, None),
    ev.Conflicted("relax-001", REF, "somebody else", ("spec", "paused"), None, ABSENT),
    ev.Awaiting("relax/0/0", "it is so", Truth.UNKNOWN, 1, 3, ("pod a", "pod b"), "envoy", 60.0),
    ev.Seen("relax/0/0", 1.5),
    ev.Unverified("relax/0/0", 1.5, 1, 3, 2),
    ev.PhaseFinished("relax", "done"),
    ev.Failed("relax", "verification-failed", "not seen", "", ("pod a",)),
    ev.Stopped("relax", "stopped", "as asked", ("not seen yet: it is so",)),
    ev.RunFinished("done"),
)


def written(path: Path, *events: ev.Event) -> Path:
    """Write a journal and close it."""
    with Journal.create(path, FakeClock()) as journal:
        journal.append(events or EVENTS)
    return path
