"""What this machine remembers of runs: `runs` and `runs show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from meshguard.cli import options, watch
from meshguard.cli.options import Where

if TYPE_CHECKING:
    from meshguard.journal.entries import Entry
    from meshguard.journal.state import AwaitMark


@click.group(invoke_without_command=True)
@options.where
@options.output
@click.pass_context
def runs(context: click.Context, where: Where, output: str) -> None:
    """List the runs of this machine, or look at one."""
    if context.invoked_subcommand is None:
        _list(where, output)


def _list(where: Where, output: str) -> None:
    from dataclasses import asdict

    from meshguard.cli import render
    from meshguard.journal.history import summaries

    known = summaries(where.target().runs)
    if output == "json":
        print(render.as_json("RunList", {"runs": [asdict(summary) for summary in known]}))
        return
    rows = (
        (
            s.run,
            s.status.value,
            s.direction,
            ",".join(s.namespaces),
            s.context,
            f"{s.done}/{s.steps}",
            s.person,
            s.reason,
        )
        for s in known
    )
    print(render.table(("RUN", "STATUS", "DIRECTION", "NAMESPACES", "CONTEXT", "STEPS", "BY", "REASON"), rows))


@runs.command("show")
@click.argument("run")
@options.where
@options.output
def show(run: str, where: Where, output: str) -> None:
    """Tell step by step what RUN did, from its journal."""
    from dataclasses import asdict

    from meshguard.cli import render
    from meshguard.journal.history import history
    from meshguard.journal.rundir import find

    told = history(find(where.target().runs, run))
    if output == "json":
        print(render.as_json("Run", {"run": asdict(told.summary), "entries": [_entry(e) for e in told.entries]}))
        return
    s = told.summary
    print(f"run {s.run}: {s.direction} of {', '.join(s.namespaces)}, {s.status.value}")
    print(f"by {s.person} at {s.started}, context {s.context}: {s.reason}")
    if s.sentence:
        print(f"ended {s.outcome}: {s.sentence}")
    lines = [
        *((m.intended_at, m.phase, m.state.value, m.step.sentence if m.step else "", m.note) for m in told.steps),
        *((a.since, a.phase, _how_seen(a), a.latest.sentence, "") for a in told.awaits),
    ]
    print(render.table(("AT", "PHASE", "STATE", "WHAT", "NOTE"), sorted(lines)))


runs.add_command(watch.follow)


def _how_seen(mark: AwaitMark) -> str:
    if mark.unverified:
        return f"{mark.unverified.unreachable} of {mark.unverified.total} unreachable"
    return f"seen after {mark.after_s:.1f} s" if mark.seen_at else "not seen"


def _entry(entry: Entry) -> dict[str, Any]:
    return {"seq": entry.seq, "at": entry.at, "event": entry.event.name, **entry.event.payload()}
