"""The two servers that the comparison asks: the real one of a light cluster, and the stand-in in this process."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import ssl
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode, urlparse

from meshguard.sim.api.cluster import SimulatedCluster
from meshguard.sim.api.http import warning_header
from meshguard.sim.api.instance import Folder, start, stop
from meshguard.sim.api.people import PEOPLE
from meshguard.sim.api.requests import Request
from meshguard.sim.clock import SimClock
from testbed import binaries
from testbed.proofs.api_cases.case import Command, Step

_PATIENCE_S = 60.0
_WATCH_S = "1"


@dataclass(frozen=True)
class Answer:
    """What came back: a status and a document, a text, or a list of events."""

    status: int
    body: Any
    warnings: tuple[str, ...] = ()


class Server(Protocol):
    """Something that answers."""

    name: str
    most_questions: int
    """How often it may be asked for the same before it is given up."""

    def ask(self, step: Step) -> Answer:
        """Send one request."""
        ...

    def pause(self) -> None:
        """Let a little time pass before a question is asked again."""
        ...

    def run(self, command: Command, namespace: str) -> Answer:
        """Call kubectl."""
        ...


def asked(server: Server, step: Step) -> Answer:
    """Send a request, again and again until what it waits for is there. Raises TimeoutError."""
    end = time.monotonic() + _PATIENCE_S
    tries = 0
    while True:
        answer = server.ask(step)
        tries += 1
        if all(_at(answer, path) == value for path, value in step.until.items()):
            return answer
        if time.monotonic() > end or tries > server.most_questions:
            raise TimeoutError(f"{server.name} never came to {dict(step.until)}: {answer.body}")
        server.pause()


def _at(answer: Answer, path: str) -> Any:
    if path == "code":
        return answer.status
    found = answer.body
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _encoded(step: Step) -> bytes:
    if step.body is None:
        return b""
    return step.body if isinstance(step.body, bytes) else json.dumps(step.body).encode()


def _query(step: Step) -> str:
    watch = {"watch": "true", "timeoutSeconds": _WATCH_S} if step.watches else {}
    return urlencode({**step.query, **watch})


def _parsed(step: Step, status: int, kind: str, body: bytes, warnings: tuple[str, ...]) -> Answer:
    if step.watches and status == 200:
        return Answer(status, [json.loads(line) for line in body.splitlines() if line])
    if kind.startswith("application/json"):
        return Answer(status, json.loads(body), warnings)
    return Answer(status, body.decode(errors="replace"), warnings)


class Real:
    """The API server of a light cluster."""

    name = "the real server"
    most_questions = 1000

    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        config = json.loads(kubeconfig.read_text())
        self._tokens = {user["name"]: user["user"]["token"] for user in config["users"]}
        cluster = config["clusters"][0]["cluster"]
        address = urlparse(cluster["server"])
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._connection = http.client.HTTPSConnection(
            str(address.hostname), address.port, timeout=60, context=ssl.create_default_context(cadata=authority)
        )

    def ask(self, step: Step) -> Answer:
        """Send one request."""
        headers = {
            "Authorization": f"Bearer {self._tokens[step.person]}",
            "Accept": step.accept,
            "Content-Type": step.kind,
            "User-Agent": "proof/1",
            **dict(step.headers),
        }
        query = _query(step)
        path = f"{step.path}?{query}" if query else step.path
        self._connection.request(step.method, path, _encoded(step) or None, headers)
        response = self._connection.getresponse()
        body, kind = response.read(), response.headers.get("Content-Type", "")
        warnings = tuple(response.headers.get_all("Warning", []))
        return _parsed(step, response.status, kind, body, warnings)

    def pause(self) -> None:
        """Wait."""
        time.sleep(0.2)

    def run(self, command: Command, namespace: str) -> Answer:
        """Call kubectl."""
        return _kubectl(self._kubeconfig, command, namespace)


class StandIn:
    """A new simulated cluster in this process; kubectl speaks with one in a process of its own."""

    name = "the stand-in"
    most_questions = 200

    def __init__(self) -> None:
        self._clock = SimClock()
        self._clock.set(paused=True)
        self._cluster = SimulatedCluster(self._clock)
        self._cluster.seed("istio", "gateway")
        self._kubeconfig: Path | None = None
        self._open = ExitStack()

    def ask(self, step: Step) -> Answer:
        """Send one request."""
        headers = {"accept": step.accept, "content-type": step.kind, "user-agent": "proof/1"}
        people = PEOPLE[step.person]
        request = Request(step.method, step.path, _query(step), headers, _encoded(step), people, step.headers)
        response = self._cluster.api.answer(request)
        if response.stream is not None:
            events = asyncio.run(_collected(response.stream))
            return _parsed(step, response.status, response.content_type, events, ())
        self._cluster.work.settle()
        warnings = tuple(warning_header(warning) for warning in response.warnings)
        return _parsed(step, response.status, response.content_type, response.body, warnings)

    def pause(self) -> None:
        """Move the clock on."""
        self._clock.advance(0.5)
        self._cluster.work.settle()

    def run(self, command: Command, namespace: str) -> Answer:
        """Call kubectl."""
        if self._kubeconfig is None:
            state = self._open.enter_context(tempfile.TemporaryDirectory())
            folder = Folder({"XDG_STATE_HOME": state}, "proof")
            started = start(folder, 0, 1.0, os.environ)
            self._open.callback(stop, folder)
            self._kubeconfig = Path(started.kubeconfig)
        create = Command(("create", "namespace", namespace))
        _kubectl(self._kubeconfig, create, "default")
        return _kubectl(self._kubeconfig, command, namespace)

    def close(self) -> None:
        """End the other process."""
        self._open.close()


async def _collected(stream: Any) -> bytes:
    return b"".join([chunk async for chunk in stream])


def _kubectl(kubeconfig: Path, command: Command, namespace: str) -> Answer:
    program = binaries.KUBECTL.folder / "kubectl"
    environment: Mapping[str, str] = {
        "HOME": str(kubeconfig.parent),
        "KUBECONFIG": str(kubeconfig),
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run(
        [str(program), "-n", namespace, *command.arguments],
        input=command.text,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Answer(done.returncode, {"out": done.stdout.splitlines(), "err": done.stderr.splitlines()})
