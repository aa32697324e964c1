"""Control: nothing runs unless the cluster is declared a rehearsal cluster, and the experiment fits this version.

It also checks every argument of our activities, by name, before the first of them runs.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from chaoslib.exceptions import InvalidActivity
from chaoslib.types import Configuration, Control, Experiment

from meshguard import app, rehearsal
from meshguard.chaos.errors import control as run_control
from meshguard.chaos.settings import RUNNING, SettingsError, check_version, target_of
from meshguard.model.suggestions import hint

__all__ = ["before_experiment_control", "validate_control"]

_OURS = "meshguard.chaos."


def before_experiment_control(context: Experiment, configuration: Configuration = None, **_: Any) -> None:
    """Read the mark. Raises InterruptExecution without one, and for an experiment that cannot be understood."""
    RUNNING.title = str(context.get("title", ""))
    run_control(_allowed(context, configuration))


async def _allowed(experiment: Experiment, configuration: Mapping[str, Any] | None) -> None:
    check_version(experiment)
    for activity in _activities(experiment):
        problem = misspelt(activity)
        if problem:
            raise SettingsError(problem)
    async with app.session(target_of(configuration)) as opened:
        await rehearsal.require(opened.cluster, opened.clock)


def validate_control(control: Control) -> None:
    """Accept no arguments. Raises InvalidActivity (`chaos validate`)."""
    given = (control.get("provider") or {}).get("arguments") or {}
    if given:
        raise InvalidActivity(f"the control {control['name']!r} takes no argument {sorted(given)[0]!r}")


def _activities(experiment: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from (experiment.get("steady-state-hypothesis") or {}).get("probes", ())
    yield from experiment.get("method") or ()
    yield from experiment.get("rollbacks") or ()


def misspelt(activity: Mapping[str, Any]) -> str:
    """Say what is wrong with the names in one of our activities, "" when nothing is."""
    provider = activity.get("provider") or {}
    module = str(provider.get("module", ""))
    if not module.startswith(_OURS):
        return ""
    functions = dict(inspect.getmembers(importlib.import_module(module), inspect.isfunction))
    name = str(provider.get("func", ""))
    exported = importlib.import_module(module).__all__
    if name not in exported:
        return f"{activity.get('name')}: {module} has no {name!r}{hint(name, exported)}"
    parameters = inspect.signature(functions[name]).parameters
    for argument in provider.get("arguments") or {}:
        if argument not in parameters:
            return f"{activity.get('name')}: {name} has no argument {argument!r}{hint(argument, parameters)}"
    return ""
