"""Control: ends the experiment when a quantity passes a limit, and lets the rollbacks undo it.

It looks in a thread of its own as long as the method runs; one look that is not answered does not end anything, three
in a row do: an experiment that cannot be watched is not safe.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from typing import Any

from chaoslib.exceptions import InvalidActivity
from chaoslib.exit import exit_gracefully
from chaoslib.types import Configuration, Control, Experiment, Journal

from meshguard import app
from meshguard.chaos.asking import answer, checked
from meshguard.chaos.errors import TOLD
from meshguard.chaos.settings import SettingsError, target_of
from meshguard.hypotheses.schema import Comparison
from meshguard.ports import ClusterError

__all__ = ["after_experiment_control", "after_method_control", "before_method_control", "validate_control"]

_EVERY_S = 3.0
_PATIENCE = 3
logger = logging.getLogger("chaostoolkit")


class _Guard:
    """The thread that looks, and what it found."""

    thread: threading.Thread | None = None
    over = threading.Event()
    verdict = ""


def validate_control(control: Control) -> None:
    """Check signal, comparison and limit. Raises InvalidActivity (`chaos validate`)."""
    given = (control.get("provider") or {}).get("arguments") or {}
    try:
        checked(given.get("signal", ""), given.get("args") or {})
        Comparison(given.get("comparison", "at-most"))
        float(given["limit"])
    except (SettingsError, ValueError, KeyError, TypeError) as error:
        raise InvalidActivity(f"the control {control['name']!r}: {error}") from error


def before_method_control(
    context: Experiment,
    signal: str,
    limit: float,
    comparison: str = "at-most",
    figure: str = "max",
    args: Mapping[str, Any] | None = None,
    every: float = _EVERY_S,
    configuration: Configuration = None,
    **_: Any,
) -> None:
    """Begin to look: the signal's figure must stay `at-most` (or `at-least`) the limit."""
    _Guard.over.clear()
    _Guard.verdict = ""
    wanted = Comparison(comparison)

    def look() -> None:
        asyncio.run(_watch(signal, args or {}, figure, wanted, limit, every, configuration))

    _Guard.thread = threading.Thread(target=look, daemon=True)
    _Guard.thread.start()


def after_method_control(context: Experiment, **_: Any) -> None:
    """Stop looking."""
    _Guard.over.set()
    if _Guard.thread is not None:
        _Guard.thread.join()


def after_experiment_control(context: Experiment, state: Journal, **_: Any) -> None:
    """Write down whether the limit was passed."""
    state.setdefault("meshguard", {})["safeguard"] = _Guard.verdict or "never passed"


async def _watch(
    signal: str,
    args: Mapping[str, Any],
    figure: str,
    wanted: Comparison,
    limit: float,
    every: float,
    configuration: Mapping[str, Any] | None,
) -> None:
    unanswered, why = 0, ""
    async with app.session(target_of(configuration)) as opened:
        while not why and not _Guard.over.is_set():
            try:
                seen = answer(await opened.measurements.measure(signal, checked(signal, args)))[figure]
                unanswered = unanswered + 1 if seen is None else 0
            except ClusterError:
                seen, unanswered = None, unanswered + 1
            except TOLD as error:
                seen, why = None, str(error)
            if unanswered >= _PATIENCE:
                why = f"{signal} cannot be seen any more"
            elif seen is not None and not wanted.holds(seen, limit):
                why = f"{figure} of {signal} is {seen:g}, the limit is {limit:g}"
            else:
                await asyncio.to_thread(_Guard.over.wait, every)
    if why:
        _stop(why)


def _stop(why: str) -> None:
    if not _Guard.over.is_set():
        _Guard.verdict = f"stopped: {why}"
        logger.fatal("safeguard: %s; the experiment ends and is undone", why)
        exit_gracefully()
