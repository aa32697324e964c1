"""Limits of the whole machine that no namespace has of its own: raised while any testbed is up, then given back.

A sidecar watches files through three inotify instances (one Envoy's, two pilot-agent's). Linux grants 128 to a user by
default, and an Envoy that gets none aborts; a shop that restarts as a whole has every pod twice.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from testbed.paths import cache_root

LIMITS = {"fs/inotify/max_user_instances": 2048}


@dataclass
class _Ledger:
    """Who needs the limits, and what was there before."""

    users: list[str] = field(default_factory=list)
    before: dict[str, int] = field(default_factory=dict)


def raise_for(name: str) -> None:
    """Raise every limit that is lower than testbeds need, on behalf of the testbed of this name."""
    with _ledger() as ledger:
        ledger.users = sorted({*ledger.users, name})
        for key, wanted in LIMITS.items():
            found = int(_file(key).read_text())
            if found < wanted:
                ledger.before.setdefault(key, found)
                _file(key).write_text(str(wanted))


def give_back_for(name: str) -> None:
    """Forget this testbed; once none is left put back what was found, unless somebody has changed it since."""
    with _ledger() as ledger:
        ledger.users = [user for user in ledger.users if user != name]
        if ledger.users:
            return
        for key, value in ledger.before.items():
            if int(_file(key).read_text()) == LIMITS.get(key):
                _file(key).write_text(str(value))
        ledger.before = {}


def _file(key: str) -> Path:
    return Path("/proc/sys") / key


@contextmanager
def _ledger() -> Iterator[_Ledger]:
    """Read the ledger and write it back; one process at a time."""
    path = cache_root() / "run" / "machine-limits.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        ledger = _Ledger(**json.loads(file.read() or "{}"))
        yield ledger
        file.seek(0)
        file.truncate()
        json.dump(asdict(ledger), file)
