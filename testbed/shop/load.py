"""Starts, watches and ends the load on a cluster, by commands in the load generator's own pod.

The commands go through ``kubectl exec``, that is API server and kubelet, and a socket in the pod: nothing of it
passes a sidecar, so the load can be watched and ended whatever state the mesh is in.
"""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from testbed.shop import records
from testbed.shop.records import Records

EDGES = Path(__file__).parent / "edges.json"
_COMMAND_SECONDS = 60
_NAMESPACE, _WORKLOAD, _CONTAINER, _PROGRAM = "load", "deployment/openload", "openload", "/openload"


class LoadError(Exception):
    """A command to the load generator failed; the text says which and why."""


@dataclass(frozen=True)
class Edge:
    """A pair of caller and callee under a constant rate."""

    caller: str
    callee: str
    protocol: str
    target: str
    """Where the load enters: ``http://``, ``grpc://`` or ``tcp://``."""
    rate: float
    """Requests a second."""
    fresh: float = 0.3
    """The share of requests that use connections of their own, at every hop; 0 to 1."""
    entry: str = ""
    """The workload that is asked to call the callee; empty if the generator calls it itself."""

    @property
    def name(self) -> str:
        """``caller->callee``, as in the records."""
        return f"{self.caller}->{self.callee}"


@dataclass(frozen=True)
class Stream:
    """A gRPC stream that is held open throughout."""

    callee: str
    target: str


@dataclass(frozen=True)
class LoadConfig:
    """One run of the load generator."""

    run: str
    """Names the records; each run needs a name of its own."""
    max_seconds: int
    """The run ends by itself, also if nobody is there any more to end it."""
    edges: tuple[Edge, ...]
    streams: tuple[Stream, ...] = ()
    timeout_ms: int = 10_000
    """For one request, from when it was due."""
    max_in_flight: int = 512
    """Per edge; a request beyond it is recorded as failed, with ``overload``."""

    @property
    def rate(self) -> float:
        """Requests a second over all edges."""
        return sum(edge.rate for edge in self.edges)

    def scaled(self, factor: float) -> LoadConfig:
        """Return the same load at ``factor`` times the rate."""
        return replace(self, edges=tuple(replace(edge, rate=edge.rate * factor) for edge in self.edges))

    def to_json(self) -> str:
        """Return what the load generator reads."""
        return json.dumps(self, default=vars)


def shop_load(run: str, max_seconds: int, path: Path = EDGES) -> LoadConfig:
    """Return the load on every edge of the shop, as the file at ``path`` says."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return LoadConfig(
        run=run,
        max_seconds=max_seconds,
        edges=tuple(Edge(**edge) for edge in document["edges"]),
        streams=tuple(Stream(**stream) for stream in document["streams"]),
    )


@dataclass
class RunningLoad:
    """A run on a cluster, and the copy of its records on this machine."""

    kubeconfig: Path
    config: LoadConfig
    path: Path
    """Where the records are copied to."""
    kubectl: Sequence[str] = ("kubectl",)
    _copied: int = field(default=0, init=False)

    def start(self) -> None:
        """Begin the run.

        Raises:
            LoadError: If it cannot begin, for example because another run goes on.
        """
        self._openload("start", text=self.config.to_json().encode())

    def status(self) -> Mapping[str, Any]:
        """Return the run's name, whether it goes on, and how many requests were sent and failed so far."""
        status: dict[str, Any] = json.loads(self._openload("status"))
        return status

    def stop(self) -> None:
        """End the run, after what is in flight. A run that has ended already stays ended.

        Raises:
            LoadError: If it cannot be ended, or the generator did not record everything that it sent.
        """
        self._openload("stop")

    def collect(self) -> None:
        """Copy the records that have come since the last time.

        Raises:
            LoadError: If they cannot be had.
        """
        packed = self._openload("records", "-run", self.config.run, "-offset", str(self._copied), "-gzip")
        text = gzip.decompress(packed)
        with self.path.open("ab") as copy:
            copy.write(text)
        self._copied += len(text)

    def records(self) -> Records:
        """Copy what is new and return all records so far."""
        self.collect()
        return records.read(self.path)

    def forget(self) -> None:
        """Delete the run's records in the pod; the copy stays."""
        self._openload("forget", "-run", self.config.run)

    def _openload(self, *args: str, text: bytes = b"") -> bytes:
        where = ["--kubeconfig", str(self.kubeconfig), "-n", _NAMESPACE]
        command = [*self.kubectl, *where, "exec", "-i", _WORKLOAD, "-c", _CONTAINER, "--", _PROGRAM, *args]
        try:
            done = subprocess.run(command, input=text, capture_output=True, timeout=_COMMAND_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise LoadError(f"openload {args[0]}: {error}") from error
        if done.returncode != 0:
            reason = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
            raise LoadError(f"openload {args[0]}: {reason}")
        return done.stdout


@contextmanager
def running_load(
    kubeconfig: Path, config: LoadConfig, path: Path, kubectl: Sequence[str] = ("kubectl",)
) -> Iterator[RunningLoad]:
    """Run the load while the block runs; afterwards all records are at ``path``, and complete.

    Args:
        kubeconfig: Of the cluster that the shop is on.
        config: The load.
        path: Where the records go; must not exist.
        kubectl: The command to use, with its first arguments.

    Raises:
        LoadError: If the load cannot be started, ended or collected.
        RecordsError: If sent and recorded differ.
    """
    path.touch(exist_ok=False)
    load = RunningLoad(kubeconfig, config, path, kubectl)
    load.start()
    try:
        yield load
    finally:
        load.stop()
    load.records().check_complete()
    load.forget()
