"""Commands about the rehearsal mark, without which no fault is made."""

from __future__ import annotations

import asyncio
import sys

import click

from meshguard.cli import act, options
from meshguard.cli.carrying import reason, yes
from meshguard.cli.options import Where


@click.group()
def rehearsal() -> None:
    """Say where faults may be made on purpose; nowhere else are they."""


@rehearsal.command()
@options.where
@click.option("--for", "length", default="8h", show_default=True, help="How long: 30m, 8h, 7d.")
@click.option("--owner", default="", help="Who answers for it; by default who declares it.")
@reason
@yes
def declare(where: Where, length: str, owner: str, reason: str, yes: bool) -> None:
    """Declare the cluster a rehearsal cluster for a while."""
    act.require(where, reason)
    asyncio.run(_declare(where, length, owner, reason, yes=yes))


async def _declare(where: Where, length: str, owner: str, reason: str, *, yes: bool) -> None:
    from meshguard import app
    from meshguard import rehearsal as marks

    target = where.target()
    async with app.session(target) as opened:
        try:
            span = marks.duration(length)
            mark = await marks.new_mark(opened.cluster, opened.clock, span, owner or app.person(target), reason)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        identity = await opened.cluster.identity()
        print(
            f"Plan: declare {identity.context} ({identity.server}) a rehearsal cluster\n"
            f"  until  {mark.expires.isoformat()}\n"
            f"  owner  {mark.owner}\n"
            f"  why    {mark.reason}\n"
            f"  means  experiments may break its mesh, by whoever may write to its objects\n"
            f"  write  {marks.MARK}"
        )
        if not yes:
            await asyncio.to_thread(act.ask, identity.context)
        await marks.declare(opened.cluster, mark)
    print(f"declared; to take it back: meshguard rehearsal revoke --context {identity.context} --reason ...")


@rehearsal.command()
@options.where
@options.output
def show(where: Where, output: str) -> None:
    """Say whether faults may be made here now: exit code 0 if so, 3 if not."""
    asyncio.run(_show(where, output))


async def _show(where: Where, output: str) -> None:
    from meshguard import app
    from meshguard import rehearsal as marks
    from meshguard.cli import render
    from meshguard.cli.codes import Exit

    async with app.session(where.target()) as opened:
        identity = await opened.cluster.identity()
        refusal = ""
        try:
            mark = await marks.require(opened.cluster, opened.clock)
        except marks.NotARehearsal as error:
            refusal = str(error)
    if output == "json":
        body = {"cluster": {"uid": identity.uid, "context": identity.context}, "allowed": not refusal}
        print(render.as_json("Rehearsal", body | ({"refusal": refusal} if refusal else {"mark": mark.data()})))
    elif not refusal:
        print(
            f"{identity.context} is a rehearsal cluster until {mark.expires.isoformat()}: {mark.owner}, {mark.reason}"
        )
    if refusal:
        print(f"meshguard: {refusal}", file=sys.stderr)
        sys.exit(Exit.REFUSED)


@rehearsal.command()
@options.where
@reason
@yes
def revoke(where: Where, reason: str, yes: bool) -> None:
    """Take the mark away: from now on no fault is made here."""
    act.require(where, reason)
    asyncio.run(_revoke(where, yes=yes))


async def _revoke(where: Where, *, yes: bool) -> None:
    from meshguard import app
    from meshguard import rehearsal as marks

    async with app.session(where.target()) as opened:
        identity = await opened.cluster.identity()
        print(f"Plan: {identity.context} is no rehearsal cluster any longer: delete {marks.MARK}")
        if not yes:
            await asyncio.to_thread(act.ask, identity.context)
        there = await marks.revoke(opened.cluster)
    print("revoked" if there else "there was no mark")
