"""Commands about runbooks, and the advice which of them fits."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import click

from meshguard.cli import act, options
from meshguard.cli.carrying import Carrying, carrying
from meshguard.cli.options import Where


@click.group()
def runbook() -> None:
    """What to do when the mesh fails in a known way."""


@runbook.command("list")
@options.output
def list_(output: str) -> None:
    """List the runbooks that come with meshguard."""
    from meshguard.cli import render
    from meshguard.runbook.load import builtin_names, load

    known = [load(name) for name in builtin_names()]
    if output == "json":
        print(render.as_json("Runbooks", {"runbooks": [r.document() for r in known]}))
        return
    rows = ((r.name, r.title, f"{r.minutes:g} min", r.experiment) for r in known)
    print(render.table(("NAME", "TITLE", "TAKES", "REHEARSED BY"), rows))


@runbook.command()
@click.argument("name")
@options.output
def show(name: str, output: str) -> None:
    """Print a runbook, ours by NAME or a file, as Markdown."""
    from meshguard.cli import render
    from meshguard.runbook.load import load
    from meshguard.runbook.text import markdown

    chosen = load(name)
    print(render.as_json("Runbook", chosen.document()) if output == "json" else markdown(chosen))


@runbook.command()
@click.argument("file", nargs=-1, required=True)
def lint(file: tuple[str, ...]) -> None:
    """Check runbook files; the first mistake of each is told."""
    from meshguard.cli.codes import Exit
    from meshguard.runbook.load import RunbookError, load

    wrong = 0
    for path in file:
        try:
            print(f"ok   {path}: {load(path).title}")
        except RunbookError as error:
            wrong += 1
            print(f"meshguard: {error}", file=sys.stderr)
    if wrong:
        sys.exit(Exit.USAGE)


@runbook.command()
@click.argument("name")
@options.where
@options.namespaces
@options.consents
@click.option("--to-revision", default="", help="For a runbook that realigns: the revision to move to.")
@click.option("--session", "session", default="", help="Go on with this session, where it was left.")
@click.option("--auto", is_flag=True, help="A drill: nobody is asked. Only in a rehearsal cluster; leaves evidence.")
@carrying
def run(name: str, where: Where, carrying: Carrying, session: str, **given: Any) -> None:
    """Walk through a runbook step by step: look, decide, let the engine do it, wait, confirm, verify, come back."""
    from meshguard.cli.runbook_run import Request, walk_through

    act.require(where, carrying.reason)
    sys.exit(walk_through(Request(name, where, carrying, session, **given)))


@click.command()
@options.where
@options.output
def advise(where: Where, output: str) -> None:
    """Name the failure from the signals, the runbook that fits, and what not to do now. Reads only."""
    asyncio.run(_advise(where, output))


async def _advise(where: Where, output: str) -> None:
    from meshguard import app
    from meshguard.cli import render
    from meshguard.runbook.advise import advise
    from meshguard.runbook.load import builtin_names, load

    async with app.session(where.target()) as opened:
        await opened.cluster.identity()
        advice = await advise([load(name) for name in builtin_names()], opened.measurements)
    fitting = [a for a in advice if a.fits]
    unknown = [a for a in advice if a.unknown]
    if output == "json":
        verdict = "known" if fitting else "unknown" if unknown else "nothing wrong"
        print(render.as_json("Advice", {"verdict": verdict, "runbooks": [a.to_json() for a in advice]}))
        return
    for found in fitting:
        print(f"{found.runbook.title}")
        for seen in found.evidence:
            print(f"  seen: {seen.symptom.sentence}")
            for subject in seen.subjects:
                print(f"        {subject}")
        for sentence in found.runbook.not_now:
            print(f"  not now: {sentence}")
        print(f"  what to do: meshguard runbook show {found.runbook.name}")
    for maybe in unknown:
        reasons = "; ".join(reason for e in maybe.evidence for reason in e.unknown[:2])
        print(f"unknown, perhaps: {maybe.runbook.title} ({reasons})")
    if not fitting and not unknown:
        print("nothing wrong: no runbook fits what the signals say")
