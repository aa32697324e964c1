"""A simulated cluster as a process of its own: its folder, its lock, its start and its end.

A killed server leaves nothing that its next start would mind: the lock goes with the process, and the folder is wiped.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")
_START_S = 30.0
_END_S = 10.0


class SimError(Exception):
    """The simulator cannot do what it was asked; the message is for a person."""


@dataclass(frozen=True, slots=True)
class State:
    """What a running simulator tells of itself."""

    name: str
    pid: int
    port: int
    kubeconfig: str
    context: str
    speed: float
    clock: str
    """The URL of its clock."""


class Folder:
    """`$XDG_STATE_HOME/meshguard/sim/NAME/`. Raises SimError for a name that cannot be one."""

    def __init__(self, environ: Mapping[str, str], name: str) -> None:
        if not _NAME.fullmatch(name):
            raise SimError(f"{name!r} cannot be a simulator's name: up to 20 lower-case letters, digits and hyphens")
        self.home = Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
        self.name, self.path = name, self.home / "meshguard" / "sim" / name
        self.kubeconfig, self.log = self.path / "kubeconfig", self.path / "server.log"
        self.audit = self.path / "audit.log"
        self._state, self._lock = self.path / "state.json", self.path.with_suffix(".lock")

    @property
    def context(self) -> str:
        """The context of the administrator in the kubeconfig."""
        return "sim" if self.name == "sim" else f"sim-{self.name}"

    def hold(self) -> int:
        """Take the lock for the life of this process and wipe the folder. Raises SimError when another one has it."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise SimError(self._busy()) from None
        if self.path.is_dir():
            for file in self.path.iterdir():
                if file != self.log:
                    shutil.rmtree(file) if file.is_dir() else file.unlink()
        self.path.mkdir(exist_ok=True)
        return descriptor

    def _busy(self) -> str:
        state = self.read()
        where = f" (pid {state.pid}, port {state.port})" if state else ""
        return f"the simulator {self.name!r} is running already{where}; `meshguard sim down` ends it"

    def is_held(self) -> bool:
        """Whether a simulator of this name runs."""
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def read(self) -> State | None:
        """What the running simulator tells of itself; None when it does not (yet)."""
        try:
            return State(**json.loads(self._state.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, state: State) -> None:
        """Tell."""
        partial = self._state.with_suffix(".partial")
        partial.write_text(json.dumps({name: getattr(state, name) for name in State.__slots__}) + "\n")
        partial.replace(self._state)

    def clear(self) -> None:
        """Leave nothing but the log."""
        self._state.unlink(missing_ok=True)
        self.kubeconfig.unlink(missing_ok=True)


def start(
    folder: Folder, port: int, speed: float, environ: Mapping[str, str], module: str = "meshguard.sim.api.serve"
) -> State:
    """Start a simulator in the background and wait until it answers. Raises SimError with the reason it does not.

    `module` is run as a program; one that furnishes the cluster calls `serve.main` as well.
    """
    if folder.is_held():
        folder.hold()
    folder.path.mkdir(parents=True, exist_ok=True)
    reader, writer = os.pipe()
    words = ["--name", folder.name, "--port", str(port), "--speed", str(speed), "--tell", str(writer)]
    with folder.log.open("w") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**environ, "XDG_STATE_HOME": str(folder.home)},
            pass_fds=[writer],
            start_new_session=True,
        )
    os.close(writer)
    with os.fdopen(reader) as told:
        said = told.readline()
    answer: dict[str, Any] = json.loads(said) if said else {}
    if not answer or "error" in answer:
        code = child.wait(timeout=_START_S)
        raise SimError(answer.get("error") or f"the simulator ended with status {code}; its log is {folder.log}")
    return State(**answer)


def set_clock(state: State, *, speed: float | None = None, paused: bool | None = None) -> dict[str, Any]:
    """Change the clock of a running simulator and return what it tells. Raises SimError."""
    changes = {name: value for name, value in (("speed", speed), ("paused", paused)) if value is not None}
    return _switch(state, "set", changes)


def set_faults(state: State, faults: Mapping[str, Any]) -> dict[str, Any]:
    """Let these things go wrong in a running simulator, and no others; return them. Raises SimError."""
    return _switch(state, "faults", faults)


def _switch(state: State, name: str, wanted: Mapping[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(f"{state.clock}/{name}", json.dumps(dict(wanted)).encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=_END_S) as answer:
            told: dict[str, Any] = json.load(answer)
            return told
    except urllib.error.HTTPError as error:
        raise SimError(json.load(error)["error"]) from error
    except (OSError, ValueError) as error:
        raise SimError(f"the simulator {state.name!r} does not answer: {error}") from error


def stop(folder: Folder) -> bool:
    """End a simulator and wait until it has gone; False when none runs. Raises SimError when it does not go."""
    state = folder.read()
    if not folder.is_held() or state is None:
        folder.clear()
        return False
    for signal_ in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(state.pid, signal_)
        deadline = time.monotonic() + _END_S
        while time.monotonic() < deadline:
            if not folder.is_held():
                folder.clear()
                return True
            time.sleep(0.02)
    raise SimError(f"the simulator {folder.name!r} (pid {state.pid}) does not end")
