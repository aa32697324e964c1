"""`runs follow`: how far a run has come, from this machine's journal or, on any other machine, from the mirror."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING

import click

from meshguard.cli import options
from meshguard.cli.options import Where

if TYPE_CHECKING:
    from meshguard.engine.progress import Progress
    from meshguard.journal.rundir import RunDir
    from meshguard.ports import Clock

#: Between two looks at a journal here, and at a mirror, which is written once a wave. Seconds.
LOOK_S, LOOK_AT_MIRROR_S = 0.25, 2.0
#: Between two phases nobody holds the journal here for a moment. Seconds.
BETWEEN_PHASES_S = 20.0


@click.command()
@click.argument("run")
@options.where
@options.output
def follow(run: str, where: Where, output: str) -> None:
    """Show how far RUN has come until it ends; exit code as the run's own, 5 when nobody is at work on it."""
    from meshguard import app
    from meshguard.journal.rundir import RunDir

    target = where.target()
    folder = RunDir(target.runs / run)
    told = _Told(output)
    if folder.journal.exists():
        sys.exit(_here(folder, told, app.time_of(target)))
    sys.exit(asyncio.run(_elsewhere(where, run, told)))


class _Told:
    """What a person, or a program, was told already."""

    def __init__(self, output: str) -> None:
        from meshguard.cli.follow import ProgressView

        self._json, self._view, self._said = output == "json", ProgressView(sys.stdout), ""

    def show(self, progress: Progress, source: str) -> None:
        """Tell it, if it says something new; one JSON document a line."""
        if not self._json:
            self._view.show(progress)
            return
        from meshguard.model.plan import API_VERSION

        body = progress.to_json()
        said = json.dumps({**body, "elapsedSeconds": 0, "awaiting": len(body["awaiting"])}, sort_keys=True)
        if said != self._said:
            self._said = said
            document = {"apiVersion": API_VERSION, "kind": "Progress", "source": source, **body}
            print(json.dumps(document), flush=True)

    def end(self, progress: Progress, *, at_work: bool) -> int | None:
        """Return the exit code when there is nothing more to come."""
        from meshguard.cli.codes import Exit, of_ending

        if progress.ended:
            self._view.close()
            return of_ending(progress.ended, progress.cause)
        if not at_work:
            self._view.close()
            print(
                f"nobody is at work on run {progress.run}; to go on: meshguard resume {progress.run}", file=sys.stderr
            )
            return Exit.PARTIAL
        return None


def _here(folder: RunDir, told: _Told, clock: Clock) -> int:
    from meshguard.engine.progress import Watcher
    from meshguard.journal.journal import in_use

    watcher, idle = Watcher(folder.journal), 0.0
    while True:
        busy = in_use(folder.journal)
        progress = watcher.look(clock.wall())
        told.show(progress, "journal")
        idle = 0.0 if busy else idle + LOOK_S
        code = told.end(progress, at_work=idle < BETWEEN_PHASES_S)
        if code is not None:
            return code
        time.sleep(LOOK_S)


async def _elsewhere(where: Where, run: str, told: _Told) -> int:
    from meshguard import app, execution
    from meshguard.engine.progress import progress_of

    async with app.session(where.target()) as opened:
        while True:
            entries, at_work = await execution.watched(opened, run)
            progress = progress_of(entries, opened.clock.wall())
            told.show(progress, "mirror")
            code = told.end(progress, at_work=at_work)
            if code is not None:
                return code
            await opened.clock.sleep(LOOK_AT_MIRROR_S)
