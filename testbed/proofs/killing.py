"""SIGKILL of everything of ours: the command line, ansible-runner's processes and the modules they started."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from testbed.waiting import wait_until

_LONGEST_S = 10


def kill_all(state: Path) -> int:
    """Kill every process that works with this state folder, wherever it stands in the tree; return how many.

    ansible-runner gives its playbook a session of its own, so a process group is not all. What was started between
    two looks is found by the next one.
    """
    killed: set[int] = set()

    def all_dead() -> bool:
        living = _processes_of(state)
        for pid in living:
            killed.add(pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not living

    wait_until(all_dead, _LONGEST_S, "every process of the run to be dead", 0.02)
    return len(killed)


def _processes_of(state: Path) -> list[int]:
    marker = f"XDG_STATE_HOME={state}\0".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if marker in (folder / "environ").read_bytes() and _alive(folder):
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def _alive(folder: Path) -> bool:
    """A zombie has done its last work, and only waits for its parent."""
    return (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
