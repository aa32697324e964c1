"""The verb `rejoin`: what a run took out comes back days later, wave by wave, with limits for the proxies."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from meshguard.cli import act, options, see
from meshguard.cli.carrying import Carrying, carrying
from meshguard.cli.options import Where

if TYPE_CHECKING:
    from meshguard.app import Session, Target
    from meshguard.journal.rundir import RunDir
    from meshguard.model.plan import Plan
    from meshguard.model.staging import Staging

F = TypeVar("F", bound=Callable[..., Any])


def _staging(command: F) -> F:
    """Add the options that say how a run comes back; the command gets them as `staging`."""

    def wrapped(waves: str, set_limits: str, replace_limits: bool, with_new: bool, **rest: Any) -> Any:
        from meshguard.model.staging import ProxyLimits, Staging, WaveSizes

        try:
            staging = Staging(WaveSizes.parse(waves), ProxyLimits.parse(set_limits), replace_limits, with_new)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        return command(staging=staging, **rest)

    added = (
        click.option("--with-new", is_flag=True, help="Workloads that came while their namespace was out come along."),
        click.option("--replace-limits", is_flag=True, help="Also where a workload has limits of its own."),
        click.option("--set-limits", default="", help="What each proxy may use at most: cpu=2,memory=1Gi."),
        click.option(
            "--waves",
            default="1,10%,rest",
            show_default=True,
            help="How many workloads come back in each wave; the last part is repeated until all are back.",
        ),
    )
    return options.packing(command, wrapped, added)


@click.command()
@click.argument("run")
@options.where
@_staging
@options.gate
@options.local_journal_only
@carrying
@act.check
def rejoin(
    run: str, where: Where, staging: Staging, gate: str, accept: tuple[str, ...], carrying: Carrying, check: bool
) -> None:
    """Bring back what RUN took out, wave by wave; a wave that does not come out well goes out again."""
    act.require(where, carrying.reason)
    target = where.target()
    if check:
        sys.exit(act.show(where, target, "rejoin", _vars(run, staging, gate, accept)))
    folder = asyncio.run(_begin(target, run, staging, gate, accept, carrying))
    sys.exit(act.execute(folder, where, target))


def _vars(run: str, staging: Staging, gate: str, accept: tuple[str, ...]) -> dict[str, Any]:
    """Return the same as the playbook takes it."""
    return {
        "of_run": run,
        "waves": str(staging.waves),
        "set_limits": str(staging.limits),
        "replace_limits": staging.replace_limits,
        "with_new": staging.with_new,
        "gate": gate,
        "accept": list(accept),
    }


@click.command("rejoin")
@click.argument("run")
@options.where
@_staging
@options.gate
@options.local_journal_only
@see.plan_output
@see.out_file
def plan_rejoin(
    run: str, where: Where, staging: Staging, gate: str, accept: tuple[str, ...], output: str, out: Path | None
) -> None:
    """Plan how RUN comes back wave by wave, on the cluster as it is now."""

    async def planned() -> tuple[Plan, str]:
        from meshguard import app

        async with app.session(where.target()) as opened:
            made = await _plan(opened, run, staging, gate, accept)
            return made, await see.rehearsed_words(opened, made, output)

    made, rehearsed = asyncio.run(planned())
    see.present(made, output, out, None, rehearsed)


async def _begin(
    target: Target, run: str, staging: Staging, gate: str, accept: tuple[str, ...], carrying: Carrying
) -> RunDir:
    from meshguard import app

    async with app.session(target) as opened:
        return await act.begin(opened, await _plan(opened, run, staging, gate, accept), carrying)


async def _plan(opened: Session, run: str, staging: Staging, gate: str, accept: tuple[str, ...]) -> Plan:
    from meshguard import app
    from meshguard.consent import consents_from
    from meshguard.plan.gate import gated

    guard = app.gate_from(gate)
    return gated(await app.make_restore_plan(opened, run, consents_from(accept), staging), guard)
