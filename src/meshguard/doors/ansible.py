"""What the tasks of the collection `meshguard.mesh` do: one opens a run, the other executes one phase of it.

A task runs in a process of its own and gives one answer at its end; whoever wants to see progress follows the run's
journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshguard import app, config, execution, guarded
from meshguard.cluster.errors import ConfigError as ClusterConfigError
from meshguard.consent import ConsentError, consents_from, settle
from meshguard.engine.outcome import Outcome, refused
from meshguard.hypotheses.load import HypothesisError
from meshguard.journal import rundir
from meshguard.journal.errors import JournalError
from meshguard.journal.history import history
from meshguard.model.durations import seconds_of
from meshguard.model.plan import Direction, Plan
from meshguard.model.scopes import asked_from
from meshguard.model.staging import REST, ProxyLimits, Staging, WaveSizes
from meshguard.plan.build import PlanError
from meshguard.plan.gate import gated
from meshguard.ports import ClusterError

#: Everything that a person must be told in one sentence, and that is not a defect of ours.
EXPECTED = (
    ClusterError,
    ClusterConfigError,
    PlanError,
    JournalError,
    ConsentError,
    HypothesisError,
    config.ConfigError,
    app.UnknownRun,
)


class DoorError(Exception):
    """The task fails; the message is for a person, the cause (see engine.outcome.Cause) for a program."""

    def __init__(self, sentence: str, cause: str = "") -> None:
        super().__init__(sentence)
        self.cause = cause


def preload() -> None:
    """Load what every task needs. In a process that is forked for each task it is then loaded once for all."""
    import meshguard.cluster.kubernetes_cluster
    import meshguard.signals.reader  # noqa: F401


def _door_error(error: Exception) -> DoorError:
    cause = refused(error, "").cause.value if isinstance(error, ClusterError) else ""
    return DoorError(str(error), cause)


@dataclass(frozen=True)
class SnapshotRequest:
    """The arguments of `meshguard.mesh.snapshot`."""

    direction: str
    run: str
    context: str
    namespaces: Sequence[str]
    of_run: str
    accept: Sequence[str]
    reason: str
    confirm: str
    settings: Mapping[str, Any]
    scope: Sequence[str] = ()
    """What narrows the namespaces down or adds to them, as the options of `exit` write it."""
    to_revision: str = ""
    gate: str = ""
    """A hypothesis that guards the plan of an exit or a rejoin: a file, or the name of one of ours."""
    waves: str = ""
    """How many workloads of a rejoin come back in each wave, as `--waves` writes it."""
    set_limits: str = ""
    """What the proxies of a rejoin get, as `--set-limits` writes it."""
    replace_limits: bool = False
    with_new: bool = False
    deadline: str = ""
    """How long the run may take, as `--deadline` writes it."""
    take_over: bool = False


def open_run(request: SnapshotRequest, *, check: bool) -> dict[str, Any]:
    """Plan and open a run, or go on with one; with `check` only plan.

    A run that is named is open already, or, with a consent, is taken up first: from this machine or from the mirror.
    Raises DoorError with one sentence.
    """
    answer = {"context": request.context, "settings": dict(request.settings), "run": request.run}
    if request.run and (check or not request.confirm):
        return {**answer, "changed": False, "sentence": f"run {request.run} is open"}
    work = _resume(request) if request.run else _open(request, check=check)
    try:
        return {**answer, **asyncio.run(work)}
    except EXPECTED as error:
        raise _door_error(error) from error


async def _open(request: SnapshotRequest, *, check: bool) -> dict[str, Any]:
    target = _target(request.context, request.settings)
    async with app.session(target) as opened:
        plan = await _plan(opened, request)
        settle(plan, await app.missing_rights(opened, plan))
        if check:
            return {"plan": plan.document(), "changed": False, "sentence": f"{len(plan.writes)} writes planned"}
        await _require_consent(opened, request)
        folder = await execution.begin(opened, plan, _terms(request))
    return {"run": folder.run, "changed": True, "sentence": f"run {folder.run} opened"}


async def _resume(request: SnapshotRequest) -> dict[str, Any]:
    async with app.session(_target(request.context, request.settings)) as opened:
        await _require_consent(opened, request)
        taken_up = await execution.resume(opened, request.run, _terms(request))
    sentence = "; ".join([f"run {request.run} is taken up again", *taken_up.sentences()])
    return {"run": request.run, "changed": True, "sentence": sentence}


async def _require_consent(opened: app.Session, request: SnapshotRequest) -> None:
    identity = await opened.cluster.identity()
    if request.confirm != identity.context:
        raise ConsentError(f"nothing was changed: give confirm={identity.context} to consent to the plan")
    if not request.reason:
        raise ConsentError("nothing was changed: give a reason")


def _terms(request: SnapshotRequest) -> execution.Terms:
    try:
        return execution.Terms(request.reason, seconds_of(request.deadline), request.take_over)
    except ValueError as error:
        raise ConsentError(f"nothing was changed: {error}") from error


async def _plan(opened: app.Session, request: SnapshotRequest) -> Plan:
    consents = consents_from(request.accept)
    if Direction(request.direction).undoes:
        made = await app.make_restore_plan(opened, request.of_run, consents, _staging(request))
        return gated(made, app.gate_from(request.gate))
    try:
        asked = asked_from(request.namespaces, request.scope)
    except ValueError as error:
        raise ConsentError(str(error)) from error
    if request.direction == Direction.REALIGN.value:
        return await app.make_realign_plan(opened, asked, request.to_revision, consents)
    return gated(await app.make_exit_plan(opened, asked, consents), app.gate_from(request.gate))


def _staging(request: SnapshotRequest) -> Staging | None:
    if request.direction == Direction.RESTORE.value:
        return None
    try:
        waves, limits = WaveSizes.parse(request.waves or REST), ProxyLimits.parse(request.set_limits)
    except ValueError as error:
        raise ConsentError(f"nothing was changed: {error}") from error
    return Staging(waves, limits, request.replace_limits, request.with_new)


def run_phase(name: str, opened: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Execute one phase of an open run; with `check` say what it would write.

    Raises DoorError when the run must not go on after it.
    """
    target = _target(str(opened.get("context", "")), opened.get("settings", {}))
    try:
        if check:
            plan = Plan.from_json(opened["plan"]) if "plan" in opened else None
            return asyncio.run(_preview(target, str(opened.get("run", "")), plan, name))
        outcome = asyncio.run(guarded.run_phase(target, str(opened["run"]), name))
    except EXPECTED as error:
        raise _door_error(error) from error
    if not outcome.goes_on:
        raise DoorError(_in_words(outcome), outcome.cause.value)
    return {"changed": True, **outcome.to_json()}


async def _preview(target: app.Target, run: str, plan: Plan | None, phase: str) -> dict[str, Any]:
    planned = plan or execution.plan_of(target, run)
    async with app.session(target) as opened:
        diffs = await app.preview_phase(opened, planned, phase)
    return {
        "changed": any(d.changed for d in diffs),
        "sentence": f"{sum(d.changed for d in diffs)} objects would change",
        "diff": [
            {"before_header": str(d.object), "after_header": d.sentence, "before": d.before, "after": d.after}
            for d in diffs
        ],
        "problems": [f"{d.object}: {d.problem}" for d in diffs if d.problem],
    }


def sum_up(opened: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Say how the runs of several clusters came out, from what `open_run` answered for each and from their journals.

    Raises DoorError when a journal cannot be found.
    """
    try:
        rows = [_row(cluster, answer) for cluster, answer in sorted(opened.items())]
    except EXPECTED as error:
        raise _door_error(error) from error
    done = sum(row["outcome"] == "done" for row in rows)
    return {"changed": False, "clusters": rows, "sentence": f"{done} of {len(rows)} clusters done"}


def _row(cluster: str, answer: Mapping[str, Any]) -> dict[str, str]:
    run = str(answer.get("run", ""))
    if not run:
        outcome, sentence = ("refused", answer["msg"]) if answer.get("failed") else ("planned", answer["sentence"])
        return {"cluster": cluster, "run": "", "outcome": outcome, "sentence": str(sentence)}
    target = _target(str(answer.get("context", "")), answer.get("settings", {}))
    told = history(rundir.find(target.runs, run)).summary
    outcome = told.outcome or told.status.value
    return {"cluster": cluster, "run": run, "outcome": outcome, "sentence": told.sentence}


def _in_words(outcome: Outcome) -> str:
    return "; ".join([outcome.sentence, *outcome.conflicts, *outcome.missing[:5]])


def _target(context: str, settings: Mapping[str, Any]) -> app.Target:
    chosen = settings.get("config")
    return app.Target(
        context or None,
        settings.get("kubeconfig") or None,
        str(settings.get("as_user", "")),
        tuple(settings.get("as_groups", ())),
        config.load(Path(chosen) if chosen else None).config,
    )
