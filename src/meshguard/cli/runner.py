"""Runs a playbook through ansible-runner, shows its progress, and stops it safely when the person wants that."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from meshguard.cli import codes
from meshguard.cli.follow import ProgressView
from meshguard.doors.playbooks import ANSIBLE_SETTINGS, Playbook, playbook
from meshguard.engine.progress import Watcher
from meshguard.journal import events
from meshguard.journal.journal import read_entries
from meshguard.journal.rundir import RunDir
from meshguard.journal.state import state_of
from meshguard.model.plan import Direction
from meshguard.ports import Clock

_LOOK_S = 0.25
"""How often the journal is looked at for progress."""


def execute(folder: RunDir, direction: Direction, extravars: Mapping[str, Any], clock: Clock) -> codes.Exit:
    """Run the playbook for an open run until its end; return the exit code that its journal says.

    `clock` is the time by which the cluster lives. The first interrupt asks the run to stop at a safe point, a second
    one ends the playbook's own process group.
    """
    run = Playbook(folder, playbook(direction), {**extravars, "run": folder.run})
    view, watcher = ProgressView(), Watcher(folder.journal)
    with _interrupts_stop(run):
        thread = threading.Thread(target=run.start, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_LOOK_S)
            view.show(watcher.look(clock.wall()))
    view.close()
    return _verdict(folder, run)


def show_what_would_change(direction: Direction, extravars: Mapping[str, Any]) -> int:
    """Run the playbook with `--check --diff`, its output on the terminal; return Ansible's exit code."""
    command = ["ansible-playbook", str(playbook(direction)), "--check", "--diff", "-e", json.dumps(dict(extravars))]
    return subprocess.run(command, env={**os.environ, **ANSIBLE_SETTINGS}, check=False).returncode


@contextmanager
def _interrupts_stop(run: Playbook) -> Iterator[None]:
    """While it is entered, SIGINT asks the run to stop, and a second one ends the playbook."""
    count = itertools.count(1)

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        if next(count) > 1:
            run.cancelled = True
            return
        run.ask_to_stop()
        print("\nstopping at the next safe point; press Ctrl-C again to end at once", file=sys.stderr)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _verdict(folder: RunDir, run: Playbook) -> codes.Exit:
    state = state_of(read_entries(folder.journal))
    match state.ending:
        case events.RunFinished(outcome, sentence):
            print(sentence, file=sys.stderr)
            return codes.of_ending(outcome, "")
        case events.Failed(outcome=outcome, sentence=sentence, cause=cause, missing=missing):
            print("; ".join([sentence, *missing[:5]]), file=sys.stderr)
            return codes.of_ending(outcome, cause)
        case events.Stopped(outcome=outcome, sentence=sentence):
            print("; ".join([sentence, *(c.sentence for c in state.conflicts.values())]), file=sys.stderr)
            return codes.of_ending(outcome, "")
    if run.cancelled:
        print("ended at once; the journal tells how far the run came", file=sys.stderr)
        return codes.Exit.STOPPED
    if "cause" in run.refusal:
        print(run.refusal["msg"], file=sys.stderr)
        return codes.of_refusal(run.refusal["cause"])
    print(f"the playbook ended before the run did: {_last_words(run.output)}", file=sys.stderr)
    return codes.Exit.DEFECT


def _last_words(output: Path) -> str:
    logs = sorted(output.glob("artifacts/*/stdout"), key=lambda path: path.stat().st_mtime)
    lines = logs[-1].read_text().splitlines() if logs else []
    told = [line for line in lines if "msg" in line or "ERROR" in line]
    return (told or lines or ["it printed nothing"])[-1].strip()
