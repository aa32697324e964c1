"""Runs that only this machine knows: a person agreed to that, because the cluster could not hold their mirror."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from meshguard.journal.errors import JournalError
from meshguard.journal.history import RunStatus, summaries
from meshguard.journal.journal import read_entries
from meshguard.journal.records import RunRecord, record_of
from meshguard.journal.rundir import RunDir
from meshguard.journal.state import state_of
from meshguard.model.plan import Plan

NOT_MIRRORED = "MG704"
"""The finding that such a plan carries, accepted."""


def is_local(plan: Plan) -> bool:
    """Tell whether a run of this plan is kept on the machine that executes it only."""
    return any(finding.code.id == NOT_MIRRORED for finding in plan.findings)


def local_record(folder: RunDir) -> RunRecord | None:
    """Return the record of a run that is kept on this machine only, None for another. Raises JournalError."""
    plan = folder.read_plan()
    if not is_local(plan):
        return None
    entries = read_entries(folder.journal)
    return record_of(plan, state_of(entries), entries)


def local_records(runs: Path, cluster_uid: str) -> Iterator[RunRecord]:
    """Return what this machine alone knows of a cluster's runs, but for those that are restored.

    Runs that cannot be read are left out here; `runs` lists them as such. Raises JournalError when the folder itself
    cannot be read.
    """
    for summary in summaries(runs):
        if summary.cluster_uid != cluster_uid or summary.status is RunStatus.RESTORED:
            continue
        try:
            record = local_record(RunDir(runs / summary.run))
        except JournalError:
            continue
        if record is not None:
            yield record
