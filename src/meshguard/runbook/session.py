"""A runbook that is being carried out: what was done, on disk line by line, so that the next shift can go on."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from meshguard.runbook.load import RunbookError

_NAME = re.compile(r"[a-z0-9-]+-\d{8}-\d{6}-[0-9a-f]{4}")


@dataclass(frozen=True)
class Opened:
    """What the session is about."""

    runbook: str
    """A name of ours, or the path of a file."""
    sha256: str
    context: str
    cluster_uid: str
    namespaces: tuple[str, ...]
    accept: tuple[str, ...]
    drill: bool
    """Without a person, in a cluster that is declared for rehearsals."""
    person: str
    reason: str


@dataclass(frozen=True)
class Mark:
    """A step that is over."""

    title: str
    at: str
    seconds: float
    said: str
    run: str = ""
    """The run that a playbook made."""
    stop: bool = False
    """A person decided to end the runbook here."""


@dataclass
class Session:
    """A session and its file."""

    path: Path
    opened: Opened
    marks: list[Mark] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The session's name."""
        return self.path.stem

    @property
    def over(self) -> Mapping[str, Mark]:
        """The steps that are over, by title."""
        return {mark.title: mark for mark in self.marks}

    @property
    def stopped(self) -> bool:
        """A person has ended it."""
        return any(mark.stop for mark in self.marks)

    def mark(self, mark: Mark) -> None:
        """Write a step down, on the disk before the next one begins. Raises RunbookError."""
        _append(self.path, asdict(mark))
        self.marks.append(mark)


def begin(folder: Path, opened: Opened, wall: str) -> Session:
    """Open a session. Raises RunbookError when it cannot be written."""
    day, _, time = wall.partition("T")
    stem = Path(opened.runbook).stem
    name = f"{stem}-{day.replace('-', '')}-{time[:8].replace(':', '')}-{secrets.token_hex(2)}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RunbookError(f"cannot write {folder}: {error.strerror}") from error
    path = folder / f"{name}.jsonl"
    _append(path, asdict(opened))
    return Session(path, opened)


def find(folder: Path, name: str) -> Session:
    """Read a session back. Raises RunbookError, with the nearest names, for one that is not there or not readable."""
    path = folder / f"{name}.jsonl"
    if not _NAME.fullmatch(name) or not path.is_file():
        names = sorted(p.stem for p in folder.glob("*.jsonl")) if folder.is_dir() else []
        near = get_close_matches(name, names, n=3)
        raise RunbookError(
            f"there is no session {name!r} on this machine" + (f"; did you mean {near[0]!r}?" if near else "")
        )
    try:
        first, *rest = [json.loads(line) for line in path.read_text().splitlines()]
        return Session(path, _opened(first), [Mark(**line) for line in rest])
    except (OSError, TypeError, ValueError, KeyError) as error:
        raise RunbookError(f"the session {path} cannot be read: {error}") from error


def _opened(line: Mapping[str, Any]) -> Opened:
    listed = {key: tuple(line[key]) for key in ("namespaces", "accept")}
    return Opened(**{**line, **listed})


def _append(path: Path, line: Mapping[str, Any]) -> None:
    try:
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RunbookError(f"cannot write {path}: {error.strerror}") from error
