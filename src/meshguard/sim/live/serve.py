"""The process of a simulated cluster with a fleet on it; started as `meshguard sim up --scenario NAME`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from meshguard.sim.api import serve
from meshguard.sim.api.cluster import SimulatedCluster
from meshguard.sim.fleet.parts import Happening
from meshguard.sim.fleet.record import Sample
from meshguard.sim.fleet.scenario import Scenario, load
from meshguard.sim.live import control, shop, up
from meshguard.sim.live.keeper import Keeper


def furnish(cluster: SimulatedCluster) -> None:
    """Put the fleet of the scenario in the environment into a cluster."""
    named, seed, folder = up.told(os.environ)
    scenario = load(named)
    keeper = build(cluster, scenario, seed)
    _write_log(keeper, folder, scenario)
    keeper.attach()
    loop = asyncio.get_running_loop()
    keeper.tasks.append(loop.create_task(control.listen(folder, cluster.clock, keeper.fleet)))


def build(cluster: SimulatedCluster, scenario: Scenario, seed: int) -> Keeper:
    """The cluster with the cut of a scenario's fleet in it; the fleet stands at its beginning."""
    keeper = Keeper(cluster, scenario.reduced(), seed)
    shop.build(cluster, keeper.fleet.scenario, keeper.fleet.services)
    return keeper


def _write_log(keeper: Keeper, folder: Path, scenario: Scenario) -> None:
    log = (folder / up.LOG).open("w", buffering=1)
    began = {"begins": scenario.begins, "scenario": scenario.name, "cut": scenario.cut}
    log.write(json.dumps({"began": began}) + "\n")

    def second(sample: Sample) -> None:
        nodes = {node.name: round(node.used_mib) for node in keeper.fleet.nodes}
        log.write(json.dumps({"sample": asdict(sample), "nodes": nodes}) + "\n")

    def happened(happening: Happening) -> None:
        log.write(json.dumps({"happening": asdict(happening)}) + "\n")

    keeper.on_second = second
    keeper.fleet.recorder.on_happening = happened


if __name__ == "__main__":
    sys.exit(serve.main(furnish))
