"""Talks to the supervisor of a testbed: start a component, stop it, see which ones live."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.errors import TestbedError
from testbed.paths import PACKAGE, RunPaths
from testbed.waiting import wait_until

_REAPED_SECONDS = 5


@dataclass(frozen=True)
class ComponentState:
    """What the supervisor knows about a component it has started."""

    name: str
    pid: int
    """Process id inside the testbed's pid namespace."""
    exit_status: int | None
    """None while it runs; negative: the signal that ended it."""

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self.exit_status is None


class Processes:
    """The components of one running testbed."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths

    def supervisor_pid(self) -> int | None:
        """Return the supervisor's process id as the caller sees it, or None if nobody listens."""
        connection = self._connect()
        if connection is None:
            return None
        with connection:
            # the kernel translates the id into the caller's pid namespace: no stale pid file can mislead
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid: int = struct.unpack("3i", credentials)[0]
        return pid

    def start(
        self,
        name: str,
        argv: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        pass_sockets: bool = False,
    ) -> None:
        """Start a component inside the namespaces, its output appended to its log.

        Parameters:
            pass_sockets: give it the listening sockets of the machine's network namespace, as numbers 10 and up.

        Raises:
            TestbedError: it runs already, or its program cannot be started.
        """
        self._request(
            {
                "op": "start",
                "name": name,
                "argv": [str(argument) for argument in argv],
                "env": {"TMPDIR": str(self._paths.temporary), **(env or {})},
                "log": str(self._paths.component_log(name)),
                "pass_sockets": pass_sockets,
            }
        )

    def start_python(self, name: str, module: str, *arguments: str | Path, pass_sockets: bool = False) -> None:
        """Start a module of this package as a component, see :meth:`start`."""
        checkout = {"PYTHONPATH": str(PACKAGE.parent)}
        self.start(name, [sys.executable, "-m", module, *arguments], env=checkout, pass_sockets=pass_sockets)

    def states(self) -> dict[str, ComponentState]:
        """Return every component that was started, by name; nothing if the testbed is down."""
        if self.supervisor_pid() is None:
            return {}
        answer = self._request({"op": "list"})
        return {
            name: ComponentState(name, state["pid"], state["exit_status"])
            for name, state in answer["components"].items()
        }

    def stop(self, name: str, grace_seconds: float = 10) -> None:
        """End a component and wait until its process has gone: SIGTERM, after the grace time SIGKILL."""
        self._request({"op": "signal", "name": name, "signal": signal.SIGTERM})
        try:
            wait_until(lambda: not self.states()[name].running, grace_seconds, f"{name} to end")
        except TestbedError:
            self._request({"op": "signal", "name": name, "signal": signal.SIGKILL})
            wait_until(lambda: not self.states()[name].running, grace_seconds, f"{name} to be killed")

    def require_running(self, name: str) -> None:
        """Raise an error that shows the end of its log, if a component has died."""
        state = self.states().get(name)
        if state is None or not state.running:
            log = self._paths.component_log(name)
            lines = log.read_text(errors="replace").splitlines()[-8:] if log.exists() else []
            ended = "was never started" if state is None else f"has ended with status {state.exit_status}"
            raise TestbedError(f"{name} {ended}; {log} ends with:\n" + "\n".join(lines))

    def _connect(self) -> socket.socket | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(10)
        try:
            connection.connect(str(self._paths.control_socket))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        return connection

    def _request(self, request: dict[str, Any]) -> dict[str, Any]:
        connection = self._connect()
        if connection is None:
            raise TestbedError(f"the testbed '{self._paths.name}' is not up: run `python -m testbed up`")
        with connection, connection.makefile("rw") as stream:
            stream.write(json.dumps(request) + "\n")
            stream.flush()
            answer: dict[str, Any] = json.loads(stream.readline() or '{"error": "the supervisor died"}')
        if "error" in answer:
            raise TestbedError(f"{request['op']} {request.get('name', '')}: {answer['error']}")
        return answer


def kill_and_wait(pid: int, deadline_seconds: float = 60) -> None:
    """Kill a process and wait until the kernel has let go of it; it may be gone already.

    The init of a pid namespace is let go of only after every process in its namespace. Even then its entry stays in the
    process table until its parent, for a supervisor the machine's init, has reaped it: that is waited for too, but a
    parent that never reaps cannot hold us up.

    Raises:
        TestbedError: it still exists at the deadline.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        if not poll.poll(deadline_seconds * 1000):
            raise TestbedError(f"process {pid} is still there {deadline_seconds:.0f} s after SIGKILL")
        with suppress(TestbedError):
            wait_until(lambda: _reaped(descriptor), _REAPED_SECONDS, "its parent to reap it")
    finally:
        os.close(descriptor)


def _reaped(descriptor: int) -> bool:
    try:
        signal.pidfd_send_signal(descriptor, 0)
    except ProcessLookupError:
        return True
    return False
