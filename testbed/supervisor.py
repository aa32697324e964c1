"""Process 1 of a testbed: prepares its namespaces, starts and stops components on request, reaps what dies.

It is the init process of the testbed's own pid namespace. The kernel kills every process of a pid namespace when its
init dies, so ending this one process ends the whole testbed, whatever state it is in.

Requests come as one JSON line on a unix socket and are answered by one JSON line, see :mod:`testbed.processes`.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed import cgroups, namespaces


@dataclass(frozen=True)
class Order:
    """What the command that makes a testbed tells its supervisor."""

    settings: namespaces.Settings
    cgroups: tuple[str, ...]
    """Folders of the cgroup to enter, one for each hierarchy."""
    control_socket: str
    ready_pipe: int
    """Number of a pipe to write to when requests are listened for."""
    sockets: tuple[int, ...]
    """Numbers of the listening sockets that were opened in the machine's own network namespace."""

    @classmethod
    def parse(cls, text: str) -> Order:
        """Read an order back from the JSON of its fields."""
        fields = json.loads(text)
        return cls(**{**fields, "settings": namespaces.Settings(**fields["settings"])})


@dataclass
class _Component:
    pid: int
    exit_status: int | None = None


class Supervisor:
    """Starts components, remembers how they ended, and adopts the orphans of the pid namespace."""

    def __init__(self, control: socket.socket, inherited_sockets: list[int]) -> None:
        self._control = control
        self._inherited_sockets = inherited_sockets
        self._components: dict[str, _Component] = {}

    def serve(self) -> None:
        """Answer requests until killed."""
        wakeup_read, wakeup_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(wakeup_read, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in selector.select()]
                if wakeup_read in ready:
                    os.read(wakeup_read, 512)
                self._reap()
                if self._control in ready:
                    self._answer_one()

    def _reap(self) -> None:
        while True:
            try:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for component in self._components.values():
                if component.pid == pid:
                    component.exit_status = os.waitstatus_to_exitcode(wait_status)

    def _answer_one(self) -> None:
        connection, _ = self._control.accept()
        with connection, connection.makefile("r") as stream:
            line = stream.readline()
            if not line:
                return  # it only wanted to know who listens
            try:
                answer = self._handle(json.loads(line))
            except (OSError, KeyError, ValueError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            try:
                connection.sendall(json.dumps(answer).encode() + b"\n")
            except OSError as error:
                print(f"a client left before its answer: {error}", file=sys.stderr, flush=True)

    def _handle(self, request: dict[str, Any]) -> dict[str, Any]:
        match request["op"]:
            case "start":
                return self._start(request)
            case "signal":
                component = self._components[request["name"]]
                if component.exit_status is None:
                    os.kill(component.pid, request["signal"])
                return {}
            case "list":
                return {
                    "components": {
                        name: {"pid": component.pid, "exit_status": component.exit_status}
                        for name, component in self._components.items()
                    }
                }
            case other:
                raise ValueError(f"unknown request '{other}'")

    def _start(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["name"]
        running = self._components.get(name)
        if running and running.exit_status is None:
            raise ValueError(f"{name} runs already, as process {running.pid}")
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            file_actions: list[tuple[Any, ...]] = [
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ]
            if request.get("pass_sockets"):
                # dup2 onto itself would keep close-on-exec: give each socket the next number from 10 on
                file_actions += [
                    (os.POSIX_SPAWN_DUP2, fd, 10 + position) for position, fd in enumerate(self._inherited_sockets)
                ]
            pid = os.posix_spawnp(
                request["argv"][0],
                request["argv"],
                {**os.environ, **request.get("env", {})},
                file_actions=file_actions,
                setsid=True,
                setsigdef=[signal.SIGCHLD, signal.SIGPIPE],
            )
        finally:
            os.close(log)
            os.close(null)
        self._components[name] = _Component(pid)
        return {"pid": pid}


def main() -> None:
    """Make the namespaces, become process 1 in them, prepare them, serve. Argument: an :class:`Order` as JSON.

    The first process only makes the namespaces and ends; its child is the first one inside the pid namespace.
    """
    order = Order.parse(sys.argv[1])
    cgroups.enter([Path(folder) for folder in order.cgroups])
    namespaces.unshare()
    if os.fork():
        os._exit(0)  # at once, without Python's clean-up, which is the child's
    os.setsid()
    namespaces.prepare(order.settings)
    inherited = [_move_above_standard_numbers(fd) for fd in order.sockets]
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    control.bind(order.control_socket)
    control.listen(16)
    os.write(order.ready_pipe, b"1")
    os.close(order.ready_pipe)
    Supervisor(control, inherited).serve()


def _move_above_standard_numbers(fd: int) -> int:
    """Keep the sockets clear of the numbers that a component receives them under (10 and up)."""
    duplicate = fd
    while duplicate < 64:
        duplicate = os.dup(duplicate)
    os.set_inheritable(duplicate, False)
    return duplicate


if __name__ == "__main__":
    main()
