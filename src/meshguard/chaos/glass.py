"""Through the glass and back inside an experiment: the same playbooks, by ansible-runner, as on the night itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from chaoslib.exceptions import ActivityFailed, InterruptExecution

from meshguard import app, rehearsal
from meshguard.chaos.errors import activity
from meshguard.chaos.hand import begin
from meshguard.chaos.settings import EXPERIMENT, config_file, reason_for, target_of
from meshguard.consent import consents_from
from meshguard.doors.playbooks import Playbook, playbook, settings_of
from meshguard.execution import Terms
from meshguard.journal.events import Failed, RunFinished, Stopped
from meshguard.journal.journal import read_entries
from meshguard.journal.rundir import RunDir
from meshguard.journal.state import state_of
from meshguard.mesh.protocol import Consents
from meshguard.model.plan import Plan
from meshguard.model.scopes import Asked

_LOOK_S = 0.25
Planner = Callable[[app.Session], Coroutine[Any, Any, Plan]]


def leave(namespaces: Sequence[str], accept: Sequence[str], configuration: Mapping[str, Any] | None) -> dict[str, Any]:
    """Take namespaces out. Raises ActivityFailed unless everything was done and seen."""

    async def planned(opened: app.Session) -> Plan:
        return await app.make_exit_plan(opened, Asked(frozenset(namespaces)), consents_from(accept))

    return _passage("exit", planned, configuration)


def realign(
    namespaces: Sequence[str], to_revision: str, accept: Sequence[str], configuration: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Restart what does not fit. Raises ActivityFailed unless everything was done and seen."""

    async def planned(opened: app.Session) -> Plan:
        asked = Asked(frozenset(namespaces))
        return await app.make_realign_plan(opened, asked, to_revision, consents_from(accept))

    return _passage("realign", planned, configuration)


def come_back(configuration: Mapping[str, Any] | None) -> dict[str, Any]:
    """Restore the newest exit of an experiment. Raises ActivityFailed unless everything was done and seen."""

    async def planned(opened: app.Session) -> Plan:
        snapshot = await opened.snapshot()
        ours = [run.run for run in snapshot.open_runs if run.reason.startswith(EXPERIMENT)]
        if not ours:
            raise app.UnknownRun("no experiment has anything out of the mesh")
        return await app.make_restore_plan(opened, max(ours), Consents())

    return _passage("restore", planned, configuration)


def _passage(name: str, planned: Planner, configuration: Mapping[str, Any] | None) -> dict[str, Any]:
    target = target_of(configuration)

    async def opened_run() -> RunDir:
        async with app.session(target) as opened:
            await rehearsal.require(opened.cluster, opened.clock)
            return await begin(opened, await planned(opened), Terms(reason_for(name)))

    folder = activity(opened_run())
    plan = folder.read_plan()
    extravars = {"context": plan.context, "meshguard": settings_of(target, config_file(configuration))}
    _play(Playbook(folder, playbook(plan.direction), {**extravars, "run": folder.run}))
    return {"run": folder.run, **_ending(folder, name)}


def _play(play: Playbook) -> None:
    """Run the playbook in a thread; what interrupts this one asks the run to stop, and waits until it stands still."""
    thread = threading.Thread(target=play.start, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_LOOK_S)
    except BaseException:
        play.ask_to_stop()
        thread.join()
        raise


def _ending(folder: RunDir, name: str) -> dict[str, Any]:
    state = state_of(read_entries(folder.journal))
    match state.ending:
        case RunFinished(outcome="done", sentence=sentence):
            return {"outcome": "done", "sentence": sentence}
        case Stopped(outcome="stopped", sentence=sentence):
            raise InterruptExecution(f"{name}: {sentence}")
        case Failed(sentence=sentence, missing=missing):
            raise ActivityFailed("; ".join([f"{name}: {sentence}", *missing[:5]]))
        case RunFinished(sentence=sentence) | Stopped(sentence=sentence):
            raise ActivityFailed(f"{name}: {sentence}")
    raise ActivityFailed(f"{name}: the playbook ended before the run {folder.run} did")
