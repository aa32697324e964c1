"""The folder of a run: `$XDG_STATE_HOME/meshguard/runs/RUN/` with its journal, its plan and a request to stop."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from meshguard.journal.errors import JournalError
from meshguard.journal.journal import sync_folder
from meshguard.model.plan import Plan
from meshguard.ports import Clock

_RUN = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
_TRIES = 8
"""Names are drawn at random within a second; so many collisions in a row mean that something else is wrong."""


@dataclass(frozen=True, slots=True)
class RunDir:
    """Where one run keeps its files."""

    path: Path

    @property
    def run(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def journal(self) -> Path:
        """The journal."""
        return self.path / "journal.jsonl"

    @property
    def plan(self) -> Path:
        """The plan that the run executes."""
        return self.path / "plan.json"

    @property
    def holder(self) -> Path:
        """Tells this copy of the run from one on another machine, in the cluster's Lease."""
        return self.path / "holder"

    @property
    def stop(self) -> Path:
        """Exists while a person wants the run to stand still at the next safe point."""
        return self.path / "stop"

    def token(self) -> str:
        """Read what `holder` holds; "" where there is no folder. Raises JournalError."""
        try:
            return self.holder.read_text()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise JournalError(f"cannot read {self.holder}: {error.strerror}") from error

    def read_plan(self) -> Plan:
        """Read the plan back. Raises JournalError when it is missing, truncated or changed."""
        try:
            return Plan.from_json(json.loads(self.plan.read_text()))
        except OSError as error:
            raise JournalError(f"cannot read the plan {self.plan}: {error.strerror}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise JournalError(f"the plan {self.plan} is not readable as a plan: {error}") from error


def runs_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of all runs, `$XDG_STATE_HOME/meshguard/runs` or below `~/.local/state`.

    The XDG specification says to ignore a relative path.
    """
    state = Path(environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / "meshguard" / "runs"


def run_name(wall: str, suffix: str) -> str:
    """Name a run `YYYYMMDD-HHMMSS-xxxx` after its beginning (RFC 3339, UTC) and four hexadecimal digits."""
    day, _, time = wall.partition("T")
    return f"{day.replace('-', '')}-{time[:8].replace(':', '')}-{suffix}"


def create(runs: Path, plan: Plan, clock: Clock) -> RunDir:
    """Make the folder of a new run and put the plan into it, durably.

    Raises JournalError when the disk is full or the folder cannot be written.
    """
    try:
        _make_folders(runs)
        made = RunDir(_new_folder(runs, clock))
        _fill(made, plan, new_token())
    except OSError as error:
        raise JournalError(f"cannot write the run's folder below {runs}: {error.strerror}") from error
    return made


def new_token() -> str:
    """Return what tells one copy of a run from another."""
    return secrets.token_hex(4)


def write_folder(folder: RunDir, plan: Plan, token: str) -> None:
    """Make the folder of a run that another machine has begun. Raises JournalError as `create` does."""
    try:
        _make_folders(folder.path)
        _fill(folder, plan, token)
    except OSError as error:
        raise JournalError(f"cannot write the run's folder {folder.path}: {error.strerror}") from error


def _fill(folder: RunDir, plan: Plan, token: str) -> None:
    _write_durably(folder.plan, json.dumps(plan.document(), indent=1).encode())
    _write_durably(folder.holder, token.encode())
    sync_folder(folder.path.parent)


def find(runs: Path, run: str) -> RunDir:
    """Return the folder of a run. Raises JournalError, with the nearest names, when there is none."""
    if _RUN.fullmatch(run) and (runs / run).is_dir():
        return RunDir(runs / run)
    near = get_close_matches(run, [known.run for known in all_runs(runs)], n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise JournalError(f"no run {run!r} in {runs}{hint}")


def all_runs(runs: Path) -> tuple[RunDir, ...]:
    """Return the folders of all runs, oldest first. Raises JournalError when the folder cannot be read."""
    try:
        return tuple(RunDir(path) for path in sorted(runs.iterdir()) if _RUN.fullmatch(path.name))
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise JournalError(f"cannot read {runs}: {error.strerror}") from error


def _make_folders(folder: Path) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        sync_folder(path.parent)


def _new_folder(runs: Path, clock: Clock) -> Path:
    for attempt in range(_TRIES):
        path = runs / run_name(clock.wall(), secrets.token_hex(2))
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            if attempt == _TRIES - 1:
                raise
        else:
            return path
    raise AssertionError("unreachable")


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)
