"""The process of a simulated cluster: `python -m meshguard.sim.api.serve`, started by `meshguard sim up`.

Whoever brings a model of what runs in the pods has a module of its own that calls `main(furnish)`.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from meshguard.sim import clock_server
from meshguard.sim.api.audit import Audit
from meshguard.sim.api.certificates import issue, server_side
from meshguard.sim.api.cluster import SimulatedCluster
from meshguard.sim.api.faults import Faults, Trouble
from meshguard.sim.api.http import HttpFront, serving
from meshguard.sim.api.instance import Folder, SimError, State
from meshguard.sim.api.people import Tokens, write_kubeconfig
from meshguard.sim.clock import SimClock

DEFINITIONS = ("istio", "gateway")
OWN_NAMESPACE = "meshguard-system"
"""Where runs are recorded; whoever administers a cluster has created it before the night it is needed."""
Furnish = Callable[[SimulatedCluster], None]
"""Puts into a new cluster what it shall have, and registers who answers in its pods (`cluster.ports`)."""


def _bare(cluster: SimulatedCluster) -> None:
    pass


@asynccontextmanager
async def running(folder: Folder, port: int, speed: float, furnish: Furnish = _bare) -> AsyncIterator[State]:
    """Run a cluster that holds the folder's lock, and yield what it tells of itself.

    Raises SimError: another one holds the lock, or the port is in use.
    """
    held = folder.hold()
    held_files = ExitStack()
    try:
        clock, tokens, certificates = SimClock(speed), Tokens(), issue(folder.name)
        cluster = SimulatedCluster(clock, authority=certificates.authority.decode())
        cluster.seed(*DEFINITIONS)
        cluster.install("istiod")
        cluster.create("v1", "Namespace", "", {"metadata": {"name": OWN_NAMESPACE}})
        furnish(cluster)
        log = held_files.enter_context(folder.audit.open("w", buffering=1))
        cluster.api.audit = Audit(clock, log.write)
        trouble = Trouble()

        def switch(wanted: Mapping[str, Any]) -> Mapping[str, Any]:
            trouble.switch(Faults.of(wanted))
            return trouble.faults.to_json()

        context = server_side(certificates, folder.path)
        try:
            front, switches = HttpFront(cluster.api, tokens.authenticate, trouble), {"faults": switch}
            async with (
                serving(front, port, context) as bound,
                clock_server.serving(clock, switches) as time_url,
            ):
                server = f"https://127.0.0.1:{bound}"
                cluster.api.address = server.removeprefix("https://")
                write_kubeconfig(folder.kubeconfig, folder.context, server, certificates.authority, tokens, time_url)
                kubeconfig = str(folder.kubeconfig)
                state = State(folder.name, os.getpid(), bound, kubeconfig, folder.context, speed, time_url)
                folder.write(state)
                async with asyncio.TaskGroup() as tasks:
                    ticking = tasks.create_task(clock.run())
                    try:
                        yield state
                    finally:
                        ticking.cancel()
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
            raise SimError(f"port {port} of the loopback {why}") from error
    finally:
        held_files.close()
        folder.clear()
        os.close(held)


async def _serve(folder: Folder, port: int, speed: float, tell: int, furnish: Furnish) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_, ended.set)
    async with running(folder, port, speed, furnish) as state:
        _say(tell, {name: getattr(state, name) for name in State.__slots__})
        await ended.wait()


def _say(descriptor: int, words: dict[str, object]) -> None:
    if descriptor < 0:
        print(json.dumps(words), flush=True)
        return
    os.write(descriptor, json.dumps(words).encode() + b"\n")
    os.close(descriptor)


def main(furnish: Furnish = _bare) -> int:
    """Serve until a signal ends it; return 1 when it cannot."""
    parser = argparse.ArgumentParser(prog="meshguard.sim.api.serve")
    parser.add_argument("--name", default="sim")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--tell", type=int, default=-1, help="descriptor of a pipe that gets one line of JSON")
    options = parser.parse_args()
    try:
        folder = Folder(os.environ, options.name)
        asyncio.run(_serve(folder, options.port, options.speed, options.tell, furnish))
    except SimError as error:
        _say(options.tell, {"error": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
