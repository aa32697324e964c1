"""Questions to the fleet's model: `sim watch`, `sim what-if`, `sim sweep`, `sim scenario`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshguard.cli import options

if TYPE_CHECKING:
    from meshguard.sim.fleet.compare import Outcome

_scenario = click.option("--scenario", "named", default="black-friday", show_default=True, help="Ours, or a file.")
_decide = click.option(
    "--decide",
    "decisions",
    multiple=True,
    help="nothing, limits=MIB, throttle=N, ordered@MINUTE, textbook@MINUTE, by-hand@MINUTE; join by +; repeatable.",
)
_ASKED = ("by-hand@37", "nothing", "textbook@18", "ordered@18", "limits=200", "throttle=10")


@click.command()
@click.option("--name", default="sim", show_default=True, help="Which simulator; a game day's is `gameday`.")
@click.option("--once", is_flag=True, help="Print the board once.")
def watch(name: str, once: bool) -> None:
    """Show the fleet on a board of 80 columns and 24 lines, until Ctrl-C or its end."""
    import shutil
    import time

    from meshguard.cli.codes import Exit
    from meshguard.sim.api.instance import Folder
    from meshguard.sim.live import board, up
    from meshguard.sim.live.fleetlog import Follower

    folder = Folder(os.environ, name)
    follower = Follower(folder.path / up.LOG)
    if not folder.is_held() or not follower.look().begins:
        told = f"no simulator {name!r} with a fleet is running; `meshguard sim up --scenario NAME` starts one"
        print(f"meshguard: {told}", file=sys.stderr)
        sys.exit(Exit.UNREACHABLE)
    title = follower.log.scenario
    if once or not sys.stdout.isatty():
        print(board.board(follower.look(), title))
        return
    size = shutil.get_terminal_size()
    if size.columns < board.WIDTH or size.lines < board.HEIGHT:
        told = f"this one has {size.columns}x{size.lines}"
        raise click.UsageError(f"the board needs a terminal of {board.WIDTH}x{board.HEIGHT}; {told} (--once prints it)")
    while folder.is_held():
        print("\x1b[H\x1b[2J" + board.board(follower.look(), title), end="", flush=True)
        time.sleep(1.0)


@click.command("what-if")
@_scenario
@_decide
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="The same day for every decision.")
@click.option("--report", "target", type=click.Path(path_type=Path, dir_okay=False), help="Write a picture (.html).")
@options.output
def what_if(named: str, decisions: tuple[str, ...], seed: int, target: Path | None, output: str) -> None:
    """Play one day with other decisions, and price each."""
    from dataclasses import asdict

    from meshguard.cli import render
    from meshguard.sim.fleet.compare import outcomes
    from meshguard.sim.fleet.scenario import load

    scenario = load(named)
    found = outcomes(scenario, decisions or _ASKED, seed)
    if target:
        from meshguard.gameday.comparison import report
        from meshguard.report.write import write

        print(f"report: {write(report(scenario, found), target)}", file=sys.stderr)
    if output == "json":
        rows = [{name: value for name, value in asdict(o).items() if name != "record"} for o in found]
        print(render.as_json("WhatIf", {"scenario": scenario.name, "seed": seed, "outcomes": rows}))
        return
    print(_table(found))


def _table(found: list[Outcome]) -> str:
    from meshguard.cli import render

    head = ("DECISION", "LOST", "FAILED", "WORST P99", "EVICTED", "NODES", "KILLED", "PUSHES", "OUT AT")
    rows = (
        (
            o.decision,
            f"${o.lost:,.0f}",
            f"{o.failed:.1%}",
            f"{o.worst_p99_s:.2g} s",
            str(o.evicted),
            str(o.nodes),
            str(o.killed),
            str(o.pushes),
            "never" if o.out_minute is None else f"{o.out_minute:.1f} min",
        )
        for o in found
    )
    return render.table(head, rows)


@click.command()
@_scenario
@_decide
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1, 1000), help="Days to play for each.")
@click.option("--set", "knobs", multiple=True, metavar="KEY=A,B,...", help="Values of a key, like fleet.nodes.")
@options.output
def sweep(named: str, decisions: tuple[str, ...], seeds: int, knobs: tuple[str, ...], output: str) -> None:
    """Play many days, over seeds and values of knobs, on all processors; print the interval of what was lost."""
    from dataclasses import asdict

    from meshguard.cli import render
    from meshguard.sim.fleet.compare import grid, swept
    from meshguard.sim.fleet.scenario import load

    found = swept(grid(load(named), knobs), decisions or _ASKED[:1], seeds)
    if output == "json":
        print(render.as_json("Sweep", {"seeds": seeds, "cells": [asdict(cell) for cell in found]}))
        return
    head = ("KNOBS", "DECISION", "LOST (10 %)", "MEDIAN", "90 %", "P99 (MEDIAN)", "EVICTED (MEDIAN)")
    rows = (
        (c.knobs or "-", c.decision, *(f"${v:,.0f}" for v in c.lost), f"{c.p99_s:.2g} s", f"{c.evicted:.0f}")
        for c in found
    )
    print(render.table(head, rows))


@click.command()
@click.argument("file_or_name", default="")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of scenario files.")
def scenario(file_or_name: str, schema: bool) -> None:
    """List our scenarios, or check one of ours or a file."""
    import json

    from meshguard.sim.fleet.scenario import builtin_names, json_schema, load

    if schema:
        print(json.dumps(json_schema(), indent=2))
        return
    for name in [file_or_name] if file_or_name else builtin_names():
        known = load(name)
        size = known.fleet
        print(f"ok   {name}: {known.title} ({size.pods:,} sidecars, {size.nodes} nodes, {known.minutes:g} min)")
