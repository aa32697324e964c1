"""The turns: each takes the whole fleet out in its own way, from the same state."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.fleet import loop, scenery, script
from bench.fleet.api import Api
from bench.fleet.processes import Ended, Running, meshguard, run
from bench.fleet.results import Exit
from bench.fleet.told import AuditLog
from bench.fleet.writes import Stage, count, subset
from testbed.api import Testbed

#: The loop is long and even: a part of the objects says how long all take.
LOOP_PART = 5
LONGEST_S = 1_200
_LOOK_S = 1.0
PARTIAL = 5
#: Everything in one wave, and no cap below the size of the fleet.
SETTINGS = "waveSize: 1000000\nmaxNamespaces: 100000\nmaxWorkloads: 1000000\nrolloutDeadlineSeconds: 1200\n"


@dataclass(frozen=True)
class Bench:
    """A fleet that is up, and where what is run for it leaves its files."""

    bed: Testbed
    context: str
    folder: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """Of commands about the fleet."""
        return {"KUBECONFIG": str(self.bed.kubeconfig), "XDG_STATE_HOME": str(self.folder / "state")}

    def command(self, *arguments: str) -> list[str]:
        """A command of meshguard about the fleet, with the bench's settings."""
        settings = self.folder / "meshguard.yaml"
        settings.write_text(SETTINGS)
        return meshguard(*arguments, "--context", self.context, "--config", str(settings))

    def log(self, name: str) -> Path:
        """Where the output of something goes."""
        return self.folder / f"{name}.log"


SCOPE = ("--whole-mesh", "--cap", "100%")


def by_meshguard(bench: Bench, *, to_the_end: bool = True) -> tuple[Exit, Ended | None]:
    """Leave by the command line. Without `to_the_end` it is killed as soon as every workload was told."""
    audit = AuditLog.from_now(bench.bed.audit_log)
    command = bench.command("exit", *SCOPE, "--reason", "bench", "--yes")
    running = Running(command, bench.environment, bench.log("exit"))
    if not to_the_end:
        told = _told_all(bench, audit, running.began)
        running.end()
        return Exit(told), None
    out = _last_out(bench, running.began)
    ended = running.wait()
    if ended.code != PARTIAL:
        raise RuntimeError(f"the exit ended with {ended.code}, not with {PARTIAL}: {ended.output[-2000:]}")
    return Exit(audit.workloads_told()[1] - running.began, out), ended


def by_raw_writer(bench: Bench, stages: Sequence[Stage]) -> Exit:
    """Send the plan's writes by as many clients as the engine has, one phase after the other."""
    audit = AuditLog.from_now(bench.bed.audit_log)
    began = time.time()
    asyncio.run(_send(bench, stages))
    told, last = audit.workloads_told()
    assert told == sum(step.restarts for stage in stages for step in stage.steps)
    return Exit(last - began, _last_out(bench, began))


async def _send(bench: Bench, stages: Sequence[Stage]) -> None:
    async with Api(bench.bed.kubeconfig) as api:
        for stage in stages:
            await api.write_all(stage.raw("raw"))


def by_kubectl(bench: Bench, stages: Sequence[Stage]) -> float:
    """Run the script; return the seconds until the last workload was told."""
    return _until_told(bench, "kubectl", lambda folder: script.command(stages, folder), bench.environment)


def by_loop(bench: Bench, stages: Sequence[Stage], start_s: float) -> tuple[float, int, float]:
    """Loop over a part; return the seconds that all would take, how many objects that part has, and its seconds.

    Parameters:
        start_s: what Ansible takes before the first object, which is not multiplied.
    """
    part = subset(stages, LOOP_PART)
    environment = loop.environment(bench.bed.kubeconfig)  # fetches the collection, which is not measured
    took = _until_told(bench, "loop", lambda folder: loop.command(part, folder), environment)
    objects = count(part)
    return start_s + (took - start_s) * count(stages) / objects, objects, took


def _until_told(
    bench: Bench, name: str, command: Callable[[Path], Sequence[str]], environment: Mapping[str, str]
) -> float:
    audit = AuditLog.from_now(bench.bed.audit_log)
    with tempfile.TemporaryDirectory() as folder:
        ended = run(command(Path(folder)), environment, bench.log(name))
    told, last = audit.workloads_told()
    if not told:
        raise RuntimeError(f"{name} has told no workload: {ended.output[-1000:]}")
    return last - ended.began


def _told_all(bench: Bench, audit: AuditLog, began: float) -> float:
    wanted = len(scenery.deployments(bench.bed))
    deadline = time.monotonic() + LONGEST_S
    while time.monotonic() < deadline:
        told, last = audit.workloads_told()
        if told >= wanted:
            return last - began
        time.sleep(_LOOK_S)
    raise RuntimeError(f"the exit did not tell all {wanted} workloads within {LONGEST_S} s")


def _last_out(bench: Bench, began: float) -> float:
    """Wait until no pod has a sidecar; return the seconds since the beginning."""
    return asyncio.run(_all_out(bench, began))


async def _all_out(bench: Bench, began: float) -> float:
    async with Api(bench.bed.kubeconfig) as api, asyncio.timeout(LONGEST_S):
        while await scenery.sidecars_left(api):  # noqa: ASYNC110 - the API server tells, nobody else
            await asyncio.sleep(_LOOK_S)
        return time.time() - began


def load() -> float:
    """How busy the machine is."""
    return os.getloadavg()[0]
