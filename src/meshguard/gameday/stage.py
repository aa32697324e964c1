"""The simulated cluster of a game day: its start, its clock, its end."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from meshguard.sim.api.instance import Folder, State, start, stop
from meshguard.sim.fleet.scenario import Scenario, load
from meshguard.sim.live import control, up
from meshguard.sim.live.fleetlog import FleetLog, Follower


class Stage:
    """A running simulator with a fleet."""

    def __init__(self, folder: Path, state: State, scenario: Scenario, seed: int) -> None:
        self.folder, self.state, self.scenario, self.seed = folder, state, scenario, seed
        self._follower = Follower(folder / up.LOG)

    @property
    def log(self) -> FleetLog:
        """What has happened so far."""
        return self._follower.look()

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment in which commands find the cluster."""
        return {**os.environ, "KUBECONFIG": self.state.kubeconfig}

    def seconds(self) -> float:
        """Simulated seconds since the beginning. Raises ControlError."""
        return float(control.ask(self.folder)["seconds"])

    def pace(self, speed: float) -> None:
        """Change the speed. Raises ControlError."""
        control.ask(self.folder, speed=speed)

    def forward(self, until: float) -> None:
        """Move time on to a second, as quickly as the model goes. Raises ControlError."""
        control.ask(self.folder, until=until)

    def mark(self, words: str) -> float:
        """Write an operator's deed into the log; return when it was. Raises ControlError."""
        return float(control.ask(self.folder, mark=words)["seconds"])

    def end_peak(self) -> None:
        """Let the load fall. Raises ControlError."""
        control.ask(self.folder, peakEnds=True)


@contextmanager
def running(name: str, scenario: str, seed: int, speed: float) -> Iterator[Stage]:
    """Start a simulator, and end it whatever happens. Raises SimError or ScenarioError."""
    known, folder = load(scenario), Folder(os.environ, name)
    state = start(folder, 0, speed, up.environment(os.environ, folder, scenario, seed), up.MODULE)
    try:
        yield Stage(folder.path, state, known, seed)
    finally:
        stop(folder)
