"""Control: when what happened, in Chaos Toolkit's journal under `meshguard.timeline`, with the runs of the engine."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from chaoslib.types import Activity, Experiment, Journal, Run

__all__ = ["after_activity_control", "after_experiment_control", "before_activity_control", "before_experiment_control"]

_ENTRIES: list[dict[str, Any]] = []


def before_experiment_control(context: Experiment, **_: Any) -> None:
    """Begin anew."""
    _ENTRIES.clear()
    _note("experiment", str(context.get("title", "")))


def before_activity_control(context: Activity, **_: Any) -> None:
    """Note the beginning of an activity."""
    _note("begins", str(context.get("name", "")))


def after_activity_control(context: Activity, state: Run | None = None, **_: Any) -> None:
    """Note the end of an activity, and the run that it made."""
    ended = state or {}
    output = ended.get("output")
    run = output.get("run", "") if isinstance(output, dict) else ""
    _note("ends", str(context.get("name", "")), status=str(ended.get("status", "interrupted")), run=run)


def after_experiment_control(context: Experiment, state: Journal, **_: Any) -> None:
    """Write the timeline into the journal."""
    state.setdefault("meshguard", {})["timeline"] = list(_ENTRIES)


def _note(what: str, name: str, **more: str) -> None:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    _ENTRIES.append({"at": at, "what": what, "name": name, **{key: value for key, value in more.items() if value}})
