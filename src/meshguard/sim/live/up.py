"""How a simulator with a fleet is started: its program, and what it is told by its environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from meshguard.sim.api.instance import Folder

MODULE = "meshguard.sim.live.serve"
LOG = "fleet.jsonl"
_SCENARIO, _SEED, _FOLDER = "MESHGUARD_SIM_SCENARIO", "MESHGUARD_SIM_SEED", "MESHGUARD_SIM_FOLDER"


def environment(environ: Mapping[str, str], folder: Folder, scenario: str, seed: int) -> Mapping[str, str]:
    """The environment of the program; `scenario` is one of ours by its name, or a file."""
    place = scenario if not Path(scenario).is_file() else str(Path(scenario).resolve())
    return {**environ, _SCENARIO: place, _SEED: str(seed), _FOLDER: str(folder.path)}


def told(environ: Mapping[str, str]) -> tuple[str, int, Path]:
    """Scenario, seed and folder."""
    return environ[_SCENARIO], int(environ[_SEED]), Path(environ[_FOLDER])
