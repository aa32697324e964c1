"""Up, down, reset: what the commands do, one at a time for each testbed."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from testbed import full, light, machine_limits, sandbox, status
from testbed.paths import MAIN, RunPaths
from testbed.processes import Processes
from testbed.progress import Progress
from testbed.waiting import wait_until

_SETTLE_SECONDS = 120


def up(paths: RunPaths, progress: Progress) -> None:
    """Make sure that the testbed is up. One that is healthy is left alone; remains of a killed one are removed first.

    Raises:
        TestbedError: it could not be brought up.
    """
    full.require_machine()
    with _alone(paths, progress):
        if Processes(paths).supervisor_pid() is not None and _processes_run(paths):
            wait_until(
                lambda: status.read(paths).healthy,
                _SETTLE_SECONDS,
                f"the running testbed to be healthy (`python -m testbed reset{_option(paths)}` makes it new)",
                interval_seconds=1,
                detail=lambda: _unhealthy(paths),
            )
            progress.say("up and healthy: nothing to do")
            return
        if paths.state.exists():
            progress.say("removing what is left of the testbed before")
        _remove(paths)
        _start(paths, progress)


def down(paths: RunPaths, progress: Progress) -> None:
    """End the testbed, without a trace outside the cache. The logs stay until the next ``up``."""
    full.require_machine()
    with _alone(paths, progress):
        sandbox.remove(paths)
        machine_limits.give_back_for(paths.name)
        progress.say(f"down; its logs are in {paths.logs}" if paths.logs.exists() else "down")


def reset(paths: RunPaths, progress: Progress) -> None:
    """Replace the testbed by a fresh one, under the same addresses.

    Raises:
        TestbedError: it could not be brought up.
    """
    full.require_machine()
    with _alone(paths, progress):
        _remove(paths)
        _start(paths, progress)


def _start(paths: RunPaths, progress: Progress) -> None:
    machine_limits.raise_for(paths.name)
    begin = full.start if paths.name == MAIN else light.start
    begin(paths, progress)
    progress.say(f"up: export KUBECONFIG={paths.kubeconfig}")


def _remove(paths: RunPaths) -> None:
    sandbox.remove(paths)
    if paths.logs.exists():
        shutil.rmtree(paths.logs)


def _processes_run(paths: RunPaths) -> bool:
    states = Processes(paths).states()
    expected = status.FULL if paths.name == MAIN else status.LIGHT
    return all(name in states and states[name].running for name in expected)


def _unhealthy(paths: RunPaths) -> str:
    return "; ".join(f"{row.component}: {row.detail}" for row in status.read(paths).rows if not row.up)


def _option(paths: RunPaths) -> str:
    return "" if paths.name == MAIN else f" --light {paths.name}"


@contextmanager
def _alone(paths: RunPaths, progress: Progress) -> Iterator[None]:
    """Hold the lock of this testbed; the kernel gives it up when we end, however we end."""
    paths.lock.parent.mkdir(parents=True, exist_ok=True)
    with paths.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.say("another command is at work on this testbed: waiting for it to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
