"""Commands about faults: undo what experiments have left. Experiments themselves are run by Chaos Toolkit."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from meshguard.cli import act, options
from meshguard.cli.options import Where

if TYPE_CHECKING:
    from meshguard.chaos.undo import Undone


@click.group()
def chaos() -> None:
    """Faults in a rehearsal; run experiments by `chaos run FILE`."""


@chaos.command()
@click.argument("run", default="")
@options.where
@act.reason
@act.yes
def undo(run: str, where: Where, reason: str, yes: bool) -> None:
    """Undo RUN, or everything that experiments have left open in the cluster; works from any machine."""
    act.require(where, reason)
    sys.exit(asyncio.run(_undo(where, run, reason, yes=yes)))


async def _undo(where: Where, run: str, reason: str, *, yes: bool) -> int:
    from meshguard import app
    from meshguard.chaos.undo import plan_for, runs_of, undo
    from meshguard.cli import render

    async with app.session(where.target()) as opened:
        snapshot = await opened.snapshot()
        runs = runs_of(snapshot, run)
        if not runs:
            print("no experiment has left anything open in this cluster")
            return 0
        for known in runs:
            print(render.plan_text(plan_for(opened, snapshot, known)), end="\n\n")
        if len(runs) > 1:
            print("They are undone in this order, each planned anew on what the one before has left.")
        if not yes:
            identity = await opened.cluster.identity()
            await asyncio.to_thread(act.ask, identity.context)
        done = await undo(opened, runs, reason)
    return _told(done)


def _told(done: Undone) -> int:
    from meshguard.cli.codes import Exit, of_ending

    codes = []
    for run, outcome in done.outcomes:
        print(f"{run.run}: {outcome.result.value}: {outcome.sentence}")
        for line in (*outcome.conflicts, *outcome.missing[:5]):
            print(f"  {line}")
        codes.append(of_ending(outcome.result, outcome.cause))
    for line in done.left:
        print(f"left over: {line}")
    if done.left:
        codes.append(Exit.VERIFICATION_FAILED)
    return int(max(codes, default=Exit.DONE))
