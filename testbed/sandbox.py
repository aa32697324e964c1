"""Creates, enters and removes the namespaces of a testbed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from testbed import cgroups, namespaces
from testbed.errors import TestbedError
from testbed.paths import PACKAGE, RunPaths
from testbed.processes import Processes, kill_and_wait
from testbed.supervisor import Order
from testbed.waiting import wait_until


@dataclass(frozen=True)
class SandboxState:
    """What later commands must know of a sandbox; written before anything of it exists."""

    cgroups: tuple[str, ...]
    ports: tuple[int, ...]
    """Ports that are forwarded from the machine's loopback to the same ports inside."""


def read_state(paths: RunPaths) -> SandboxState | None:
    """Return what is known of the last sandbox of this name, or None if there was none."""
    try:
        stored = json.loads(paths.state.read_text())
    except FileNotFoundError:
        return None
    return SandboxState(tuple(stored["cgroups"]), tuple(stored["ports"]))


def create(paths: RunPaths, forwarded_ports: int) -> SandboxState:
    """Make the namespaces and their supervisor, and listen on the loopback for the forwarder.

    Parameters:
        forwarded_ports: how many ports to forward. The ports of the sandbox before it are taken again where they are
            free, so that a kubeconfig stays valid over a reset.

    Raises:
        TestbedError: the supervisor did not come up.
    """
    if str(paths.root).startswith("/var/lib/"):
        raise TestbedError("the testbed hides /var/lib: set XDG_CACHE_HOME to a folder outside it")
    before = read_state(paths)
    scratch = paths.data / "scratch"
    for folder in (paths.credentials, paths.config, paths.temporary, scratch, paths.var_log, paths.container_logs):
        folder.mkdir(parents=True, exist_ok=True)
    wanted = before.ports if before and len(before.ports) == forwarded_ports else (0,) * forwarded_ports
    listeners = [_listen(port) for port in wanted]
    try:
        folders = cgroups.create(paths.name)
        ports = tuple(int(listener.getsockname()[1]) for listener in listeners)
        state = SandboxState(tuple(str(folder) for folder in folders), ports)
        paths.state.write_text(json.dumps(asdict(state)))
        settings = namespaces.Settings(str(paths.var_log), str(scratch), ports)
        _start_supervisor(paths, settings, [listener.fileno() for listener in listeners], state.cgroups)
    finally:
        for listener in listeners:
            listener.close()
    return state


def remove(paths: RunPaths) -> None:
    """End every process of the sandbox and remove what it left, also when it was killed before."""
    pid = Processes(paths).supervisor_pid()
    if pid is not None:
        kill_and_wait(pid)
    state = read_state(paths)
    if state:
        folders = [Path(folder) for folder in state.cgroups]
        wait_until(lambda: _try_remove(folders), 30, "the kernel to give up the testbed's cgroups")
    for folder in (paths.data, paths.var_log, paths.credentials, paths.config):
        if folder.exists():
            shutil.rmtree(folder)
    for file in (paths.control_socket, paths.kubeconfig):
        file.unlink(missing_ok=True)


def inside(paths: RunPaths, argv: Sequence[str | Path], directory: Path | None = None) -> list[str]:
    """Return the command line that runs a command inside the namespaces.

    Raises:
        TestbedError: the testbed is not up.
    """
    pid = Processes(paths).supervisor_pid()
    if pid is None:
        raise TestbedError(f"the testbed '{paths.name}' is not up: run `python -m testbed up`")
    enter = ["nsenter", f"--target={pid}", "--net", "--mount", "--pid", f"--wd={directory or Path.cwd()}"]
    return [*enter, "--", *(str(argument) for argument in argv)]


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    listener.listen(512)
    return listener


def _start_supervisor(
    paths: RunPaths, settings: namespaces.Settings, sockets: list[int], folders: tuple[str, ...]
) -> None:
    paths.control_socket.unlink(missing_ok=True)
    ready, say_ready = os.pipe()
    order = Order(settings, folders, str(paths.control_socket), say_ready, tuple(sockets))
    log = paths.component_log("supervisor")
    with os.fdopen(ready, "rb") as answer, log.open("ab") as output:
        subprocess.run(
            [sys.executable, "-m", "testbed.supervisor", json.dumps(asdict(order))],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
            pass_fds=[say_ready, *sockets],
            start_new_session=True,
            check=False,
        )
        os.close(say_ready)
        if not answer.read(1):  # the end of the file: the last process that could have written has died
            raise TestbedError(f"the namespaces could not be made:\n{log.read_text(errors='replace')[-1000:]}")


def _try_remove(folders: list[Path]) -> bool:
    try:
        cgroups.remove(folders)
    except OSError:
        return False
    return True
