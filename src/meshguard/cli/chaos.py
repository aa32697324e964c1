"""Commands about faults: undo what experiments have left, and storms. Experiments are run by Chaos Toolkit."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import click

from meshguard.cli import act, options
from meshguard.cli.carrying import reason, yes
from meshguard.cli.options import Where

if TYPE_CHECKING:
    from meshguard.chaos.storm.run import Request
    from meshguard.chaos.undo import Undone


@click.group()
def chaos() -> None:
    """Faults in a rehearsal; run experiments by `chaos run FILE`."""


@chaos.command()
@click.argument("run", default="")
@options.where
@click.option("--take-over", is_flag=True, help="Take the cluster from the run of a machine that is dead.")
@reason
@yes
def undo(run: str, where: Where, take_over: bool, reason: str, yes: bool) -> None:
    """Undo RUN, or everything that experiments have left open in the cluster; works from any machine."""
    act.require(where, reason)
    sys.exit(asyncio.run(_undo(where, run, reason, take_over=take_over, yes=yes)))


async def _undo(where: Where, run: str, reason: str, *, take_over: bool, yes: bool) -> int:
    from meshguard import app
    from meshguard.chaos.undo import plan_for, runs_of, undo
    from meshguard.cli import render
    from meshguard.execution import Terms

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
        done = await undo(opened, runs, Terms(reason, take_over=take_over))
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


@chaos.command()
@click.option("--proxies", type=int, required=True, help="How many xDS streams, at most 5000.")
@click.option("--hold", type=float, default=30.0, show_default=True, help="Seconds for which they stay.")
@click.option("--address", default="", help="HOST:PORT of istiod's plaintext xDS port; default: its cluster address.")
@click.option("--revision", default="default", show_default=True, help="Whose istiod.")
@click.option("-n", "--namespace", default="default", show_default=True, help="Whose configuration they get.")
@options.where
@reason
@yes
@options.output
def storm(
    proxies: int,
    hold: float,
    address: str,
    revision: str,
    namespace: str,
    where: Where,
    reason: str,
    yes: bool,
    output: str,
) -> None:
    """Hold real xDS streams to istiod from this process, and report what they cost it."""
    from meshguard.chaos.storm.run import Request

    act.require(where, reason)
    request = Request(proxies, hold, address, revision, namespace)
    request.check()
    asyncio.run(_storm(where, request, yes=yes, output=output))


async def _storm(where: Where, request: Request, *, yes: bool, output: str) -> None:
    from meshguard import app, rehearsal
    from meshguard.chaos.storm.run import storm
    from meshguard.cli import render

    async with app.session(where.target()) as opened:
        await rehearsal.require(opened.cluster, opened.clock)
        identity = await opened.cluster.identity()
        print(
            f"Plan: {request.proxies} xDS streams to istiod {request.revision} of {identity.context}, held for "
            f"{request.hold_s:g} s; nothing is written, and they end with this process",
            file=sys.stderr,
        )
        if not yes:
            await asyncio.to_thread(act.ask, identity.context)
        report = await storm(opened, request, lambda line: print(line, file=sys.stderr))
    if output == "json":
        print(render.as_json("Storm", report))
        return
    for key, value in report.items():
        print(f"{key}: {value}")
