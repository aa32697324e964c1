"""Control: shows every object that the faults would touch before the first of them, and refuses more than a number."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

from chaoslib import substitute
from chaoslib.exceptions import InvalidActivity
from chaoslib.types import Configuration, Control, Experiment

from meshguard import app
from meshguard.chaos.errors import control as run_control
from meshguard.chaos.hand import fault_plan
from meshguard.chaos.settings import target_of
from meshguard.mesh.istio_sidecar.faults import FAULTS
from meshguard.model.objects import Ref
from meshguard.plan.fault import check_fault_cap, targets_of
from meshguard.plan.scopes import UnknownScope

__all__ = ["before_experiment_control", "validate_control"]

_ACTIONS = "meshguard.chaos.actions"
_MOST = 20
_FAULT_BEHIND = {"churn": "churn_hosts"}
"""Actions that do more than the fault they begin with."""
logger = logging.getLogger("chaostoolkit")


def before_experiment_control(
    context: Experiment, configuration: Configuration = None, most: int = _MOST, **_: Any
) -> None:
    """Preview all faults of the method. Raises InterruptExecution when they would touch too much, or nothing."""
    run_control(_previewed(context, configuration or {}, most))


def validate_control(control: Control) -> None:
    """Accept `most`, a number of objects above 0. Raises InvalidActivity (`chaos validate`)."""
    given = (control.get("provider") or {}).get("arguments") or {}
    most = given.get("most", _MOST)
    if set(given) - {"most"} or isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise InvalidActivity(f"the control {control['name']!r} takes `most`, a number of objects above 0")


async def _previewed(experiment: Experiment, configuration: Mapping[str, Any], most: int) -> None:
    target = target_of(configuration)
    touched: set[Ref] = set()
    faults = 0
    async with app.session(target) as opened:
        snapshot = await opened.snapshot()
    for activity in experiment.get("method", ()):
        provider = activity.get("provider") or {}
        name = _FAULT_BEHIND.get(provider.get("func", ""), provider.get("func", ""))
        if provider.get("module") != _ACTIONS or name not in FAULTS:
            continue
        faults += 1
        arguments = substitute(dict(provider.get("arguments") or {}), configuration, {})
        known = inspect.signature(FAULTS[name].plan).parameters
        plan = fault_plan(snapshot, target.settings, name, {k: v for k, v in arguments.items() if k in known})
        for step in plan.writes:
            logger.info("would %s: %s", activity["name"], step.sentence)
        for note in plan.notes:
            logger.info("predicted, %s: %s", activity["name"], note)
        touched |= set(targets_of(plan))
    if not faults:
        raise UnknownScope("the method has no fault of ours to preview")
    check_fault_cap(touched, most)
    logger.info("%d objects would be touched, the cap is %d", len(touched), most)
