"""`gameday`: live through an incident, with the real commands on a simulated cluster."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--scenario", default="black-friday", show_default=True, help="One of ours, or a file.")
@click.option("--seed", default=2, show_default=True, type=click.IntRange(0), help="The same seed, the same day.")
@click.option("--auto", is_flag=True, help="It plays itself, to the report.")
@click.option(
    "--speed", default=10.0, show_default=True, type=click.FloatRange(0.1, 200), help="Simulated seconds per second."
)
@click.option(
    "--report", "target", type=click.Path(path_type=Path, dir_okay=False), help="Where the report goes (.html)."
)
def gameday(scenario: str, seed: int, auto: bool, speed: float, target: Path | None) -> None:
    """Live through an incident: steady state, fault, detection, break-glass, way back, report.

    Without --auto the cluster is yours: you type real commands, here or in another terminal, and get hints on request.
    """
    import signal

    from meshguard.gameday.day import hold

    def ended(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, ended)
    path = hold(scenario, seed, by_itself=auto, speed=speed, target=target)
    print(f"report: {path}")
