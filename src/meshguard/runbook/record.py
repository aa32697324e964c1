"""From a walk to evidence, and from evidence to the sentence that a plan shows."""

from __future__ import annotations

import hashlib
from pathlib import Path

from meshguard import __version__, app, evidence
from meshguard.app import Session as Opened
from meshguard.app import Target
from meshguard.doors.playbooks import playbook
from meshguard.evidence import Evidence, Hashed, Versions
from meshguard.journal import rundir
from meshguard.journal.errors import JournalError
from meshguard.journal.journal import read_entries
from meshguard.journal.records import NAMESPACE
from meshguard.model.plan import Direction, Plan
from meshguard.ports import ClusterError
from meshguard.runbook.schema import Playbook, Runbook
from meshguard.runbook.session import Session
from meshguard.runbook.walk import Ending, Walked


def folder_of(target: Target) -> Path:
    """Where evidence is kept on this machine."""
    return target.runs.parent / "evidence"


def hashed(name: str) -> Hashed:
    """Return a playbook of ours with the hash of its file."""
    return Hashed(name, hashlib.sha256(playbook(Direction(name)).read_bytes()).hexdigest())


async def leave_evidence(opened: Opened, runbook: Runbook, session: Session, walked: Walked) -> Evidence:
    """Keep what a drill came to, in the cluster and on this machine. Raises ClusterError, OSError."""
    snapshot = await opened.snapshot()
    about = session.opened
    ran = {step.title: step.playbook for step in (*runbook.steps, *runbook.way_back) if isinstance(step, Playbook)}
    runs = [mark.run for mark in session.marks if mark.run]
    made = Evidence(
        f"evidence-{session.name}",
        opened.clock.wall(),
        Hashed(runbook.name, about.sha256),
        tuple(hashed(name) for name in dict.fromkeys(ran[m.title] for m in session.marks if m.title in ran)),
        Versions(__version__, app.mesh_of(snapshot).name, app.control_plane_versions(snapshot)),
        about.cluster_uid,
        about.context,
        about.namespaces,
        evidence.PASSED if walked.ending is Ending.DONE else evidence.FAILED,
        walked.sentence,
        about.person,
        {mark.title: mark.seconds for mark in session.marks},
        {run: _head(opened.target, run) for run in runs},
    )
    await evidence.record(opened.cluster, folder_of(opened.target), made)
    return made


def _head(target: Target, run: str) -> str:
    try:
        return str(read_entries(rundir.find(target.runs, run).journal)[-1].head)
    except JournalError as error:
        return f"unreadable: {error}"


async def rehearsed(opened: Opened, plan: Plan) -> str:
    """Say whether a plan was rehearsed, by what this cluster and this machine know; nothing is raised for it."""
    try:
        records = await opened.cluster.list("ConfigMap", (NAMESPACE,))
        control_plane = app.control_plane_versions(await opened.recent_snapshot())
    except ClusterError as error:
        return f"unknown: {error}"
    found = evidence.known(records, folder_of(opened.target))
    return evidence.told(found, plan, hashed(plan.direction.value), control_plane)
