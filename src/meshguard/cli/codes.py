"""Exit codes, and the one place that maps errors and outcomes to them."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What the process says to a script; part of the contract."""

    DONE = 0
    DEFECT = 1
    USAGE = 2
    REFUSED = 3
    BLOCKED = 4
    PARTIAL = 5
    VERIFICATION_FAILED = 6
    NOT_IN_MESH = 7
    UNREACHABLE = 8
    STOPPED = 130


def of_error(error: BaseException) -> Exit | None:
    """Return the code of an expected error, None for a defect of ours."""
    from meshguard import app, config, consent, ports
    from meshguard.chaos.storm.run import NoXdsClient
    from meshguard.cli.planfile import ForeignPlan, StalePlan, UnreadablePlan
    from meshguard.cluster.errors import ConfigError
    from meshguard.gameday.auto import Failed
    from meshguard.hypotheses.load import HypothesisError
    from meshguard.journal.errors import JournalError
    from meshguard.mesh.istio_sidecar.faults import FaultError
    from meshguard.plan import build
    from meshguard.rehearsal import NotARehearsal
    from meshguard.report.write import ReportError
    from meshguard.runbook.load import RunbookError
    from meshguard.sim.api.instance import SimError
    from meshguard.sim.fleet.scenario import ScenarioError
    from meshguard.sim.live.control import ControlError

    table: tuple[tuple[type[BaseException], Exit], ...] = (
        (ConfigError, Exit.USAGE),
        (config.ConfigError, Exit.USAGE),
        (HypothesisError, Exit.USAGE),
        (ScenarioError, Exit.USAGE),
        (ReportError, Exit.REFUSED),
        (ControlError, Exit.UNREACHABLE),
        (Failed, Exit.VERIFICATION_FAILED),
        (UnreadablePlan, Exit.USAGE),
        (app.UnknownRun, Exit.USAGE),
        (build.UnknownScope, Exit.USAGE),
        (build.NotInMesh, Exit.NOT_IN_MESH),
        (build.PlanError, Exit.REFUSED),
        (consent.Blocked, Exit.BLOCKED),
        (consent.EditsRefused, Exit.BLOCKED),
        (StalePlan, Exit.BLOCKED),
        (ForeignPlan, Exit.REFUSED),
        (consent.ConsentError, Exit.REFUSED),
        (JournalError, Exit.REFUSED),
        (NotARehearsal, Exit.REFUSED),
        (FaultError, Exit.USAGE),
        (RunbookError, Exit.USAGE),
        (NoXdsClient, Exit.USAGE),
        (SimError, Exit.REFUSED),
        (ports.Unreachable, Exit.UNREACHABLE),
        (ports.ClusterError, Exit.REFUSED),
        (KeyboardInterrupt, Exit.STOPPED),
    )
    return next((code for kind, code in table if isinstance(error, kind)), None)


def of_ending(result: str, cause: str) -> Exit:
    """Return the code of a run's last outcome, as its journal words it."""
    from meshguard.engine.outcome import Cause, Result

    by_result = {
        Result.DONE: Exit.DONE,
        Result.PARTIAL: Exit.PARTIAL,
        Result.VERIFICATION_FAILED: Exit.VERIFICATION_FAILED,
        Result.STOPPED: Exit.STOPPED,
    }
    by_cause = {
        Cause.UNREACHABLE: Exit.UNREACHABLE,
        Cause.FORBIDDEN: Exit.REFUSED,
        Cause.REJECTED: Exit.PARTIAL,
        Cause.NONE: Exit.PARTIAL,
    }
    if result == Result.FAILED:
        return by_cause.get(Cause(cause), Exit.DEFECT)
    return by_result[Result(result)]


def of_refusal(cause: str) -> Exit:
    """Return the code of a phase that was refused before it began, by the cause that its module gave."""
    from meshguard.engine.outcome import Cause

    return {Cause.UNREACHABLE.value: Exit.UNREACHABLE, Cause.ORDER.value: Exit.USAGE}.get(cause, Exit.REFUSED)
