"""From our errors to Chaos Toolkit's: raised, never returned, one sentence each."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from chaoslib.exceptions import ActivityFailed, InterruptExecution

from meshguard.chaos.interrupts import run
from meshguard.chaos.settings import SettingsError
from meshguard.chaos.storm.run import NoXdsClient
from meshguard.doors.ansible import EXPECTED
from meshguard.mesh.istio_sidecar.faults import FaultError
from meshguard.rehearsal import NotARehearsal

_T = TypeVar("_T")

#: Everything that a person must be told in one sentence, and that is not a defect of ours.
TOLD = (*EXPECTED, SettingsError, FaultError, NotARehearsal, NoXdsClient)


def activity(work: Coroutine[Any, Any, _T]) -> _T:
    """Run an activity to its end. Raises ActivityFailed with one sentence."""
    try:
        return run(work)
    except TOLD as error:
        raise ActivityFailed(str(error)) from error


def control(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a control to its end; Chaos Toolkit swallows every error of a control but InterruptExecution."""
    try:
        return run(work)
    except Exception as error:
        said = str(error) if isinstance(error, TOLD) else f"{type(error).__name__}: {error}"
        raise InterruptExecution(said) from error
