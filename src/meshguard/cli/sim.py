"""The flight simulator: `sim up`, `sim status`, `sim down`, and the fleet on it (`fleet.py`)."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from meshguard.cli import fleet, options

if TYPE_CHECKING:
    from meshguard.sim.api.instance import State

_name = click.option("--name", default="sim", show_default=True, help="One simulator of several.")


@click.group()
def sim() -> None:
    """A simulated cluster on this machine: no root, no Docker, gone when it ends."""


@sim.command("up")
@_name
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="Port on the loopback; 0 takes a free one.")
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.01, 10000),
    help="Simulated seconds per second.",
)
@click.option("--scenario", default="", help="Put the fleet of a scenario into it: one of ours, or a file.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Of the scenario.")
@options.output
def up(name: str, port: int, speed: float, scenario: str, seed: int, output: str) -> None:
    """Start a simulated cluster in the background and wait until it answers."""
    from dataclasses import asdict

    from meshguard.cli import render
    from meshguard.sim.api.instance import Folder, start
    from meshguard.sim.fleet.scenario import load
    from meshguard.sim.live import up as with_fleet

    folder = Folder(os.environ, name)
    if scenario:
        load(scenario)  # a mistake in it is told here, and not by a program that does not start
        environ = with_fleet.environment(os.environ, folder, scenario, seed)
        state = start(folder, port, speed, environ, with_fleet.MODULE)
    else:
        state = start(folder, port, speed, os.environ)
    if output == "json":
        print(render.as_json("Simulator", asdict(state)))
        return
    print(f"simulator {state.name!r} answers on port {state.port} (pid {state.pid})")
    print(f"export KUBECONFIG={state.kubeconfig}   # context {state.context}")


@sim.command("status")
@_name
@options.output
def status(name: str, output: str) -> None:
    """Say whether a simulated cluster is running; exit code 8 when it is not."""
    from dataclasses import asdict

    from meshguard.cli import render
    from meshguard.cli.codes import Exit
    from meshguard.sim.api.instance import Folder

    folder = Folder(os.environ, name)
    state = folder.read() if folder.is_held() else None
    if output == "json":
        print(
            render.as_json("Simulator", {"running": state is not None, **(asdict(state) if state else {"name": name})})
        )
    elif state is None:
        print(f"simulator {name!r} is not running")
    else:
        print(f"simulator {name!r} answers on port {state.port} (pid {state.pid}), speed {state.speed:g}")
        print(f"kubeconfig {state.kubeconfig}, context {state.context}")
    if state is None:
        sys.exit(Exit.UNREACHABLE)


@sim.command("clock")
@_name
@click.option("--speed", type=click.FloatRange(0.01, 10000), help="Simulated seconds per second from now on.")
@click.option("--pause/--resume", "paused", default=None, help="Let the clock stand still, or run again.")
@options.output
def clock(name: str, speed: float | None, paused: bool | None, output: str) -> None:
    """Tell a simulated cluster's time, and change how it passes; exit code 8 when it is not running."""
    from meshguard.cli import render
    from meshguard.sim.api.instance import set_clock

    told = set_clock(_running(name), speed=speed, paused=paused)
    if output == "json":
        print(render.as_json("SimulatedTime", told))
        return
    print(f"{told['wall']}, {'paused' if told['paused'] else 'speed {:g}'.format(told['speed'])}")


_share = click.FloatRange(0, 1)


@sim.command("faults")
@_name
@click.option("--latency", "latency_s", default=0.0, type=click.FloatRange(0, 60), help="Each answer up to so late, s.")
@click.option("--too-many", default=0.0, type=_share, help="Share of requests answered by 429 with Retry-After.")
@click.option("--server-errors", default=0.0, type=_share, help="Share of requests answered by 500, 503 or 504.")
@click.option("--resets", default=0.0, type=_share, help="Share of requests whose connection breaks.")
@click.option("--lost-events", default=0.0, type=_share, help="Share of watch events that never arrive.")
@click.option("--outage", is_flag=True, help="Nobody answers any more.")
@click.option("--seed", default=0, help="The same seed tells the same story.")
@options.output
def faults(name: str, output: str, **wanted: float) -> None:
    """Let these things go wrong between clients and the simulated API server; without any, everything is well again."""
    from meshguard.cli import render
    from meshguard.sim.api.instance import set_faults

    told = set_faults(_running(name), wanted)
    if output == "json":
        print(render.as_json("SimulatedFaults", told))
        return
    print(", ".join(f"{key} {value}" for key, value in told.items() if key in wanted and value) or "no faults")


def _running(name: str) -> State:
    from meshguard.cli.codes import Exit
    from meshguard.sim.api.instance import Folder

    folder = Folder(os.environ, name)
    state = folder.read() if folder.is_held() else None
    if state is None:
        print(f"meshguard: simulator {name!r} is not running", file=sys.stderr)
        sys.exit(Exit.UNREACHABLE)
    return state


@sim.command("down")
@_name
def down(name: str) -> None:
    """End a simulated cluster; its state is gone."""
    from meshguard.sim.api.instance import Folder, stop

    ended = stop(Folder(os.environ, name))
    print(f"simulator {name!r} has ended" if ended else f"simulator {name!r} was not running")


for command in (fleet.watch, fleet.what_if, fleet.sweep, fleet.scenario):
    sim.add_command(command)
