"""A whole game day that plays itself, with the real commands, on a small and quick scenario."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from meshguard.sim.fleet.scenario import load

MESHGUARD = Path(sys.executable).with_name("meshguard")


def scenario(folder: Path) -> Path:
    """Six services on two nodes with room; the limit of the sidecars is too small for the peak."""
    fleet = {"services": 6, "replicas": 4, "nodes": 2, "namespaces": 2}
    calibrated = {"appMiB": 300, "rampMinutes": 24, "appSpread": 0.0}
    small = load("black-friday").with_(fleet=fleet, calibrated=calibrated, cut=1, sidecars={"limitMiB": 180})
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(small.model_dump(mode="json", by_alias=True)))
    return path


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}


def test_it_goes_through_all_phases_and_leaves_a_report(tmp_path: Path, environ: dict[str, str]) -> None:
    target = tmp_path / "out" / "report.html"
    command = [str(MESHGUARD), "gameday", "--auto", "--scenario", str(scenario(tmp_path)), "--report", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"report: {target}"
    for phase in ("Steady state", "advise", "The plan", "ansible-runner", "Verification", "The way back", "Debrief"):
        assert phase.lower() in done.stdout.lower()
    told = json.loads(target.with_suffix(".json").read_text())
    facts = {fact["title"]: fact["here"] for fact in told["facts"]}
    assert "never" not in (facts["noticed that it is the mesh"], facts["out of the mesh"], facts["back in the mesh"])
    assert {p["what"]: p["kept"] for p in told["predictions"]}["nobody is left with a sidecar"] is True
    assert target.stat().st_size < 3 * 2**20
    status = subprocess.run(
        [str(MESHGUARD), "sim", "status", "--name", "gameday"], capture_output=True, text=True, env=environ, check=False
    )
    assert status.returncode == 8, "the simulator still runs"


def test_in_a_persons_hands_it_gives_hints_and_obeys(tmp_path: Path, environ: dict[str, str]) -> None:
    target = tmp_path / "report.html"
    command = [str(MESHGUARD), "gameday", "--scenario", str(scenario(tmp_path)), "--report", str(target)]
    typed = (
        "hint\nboard\nmeshgard\nmeshguard exit --whole-mesh\nskip 1\nmeshguard status -A --context sim-gameday\nend\n"
    )
    done = subprocess.run(command, input=typed, capture_output=True, text=True, env=environ, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verify -f steady-state" in done.stdout
    assert "there is no 'meshgard' here" in done.stdout
    assert "add --yes here" in done.stdout
    assert "The mesh was not left" in target.with_suffix(".md").read_text()


def test_a_scenario_that_does_not_exist_is_one_sentence(environ: dict[str, str]) -> None:
    done = subprocess.run(
        [str(MESHGUARD), "gameday", "--auto", "--scenario", "blackfriday"],
        capture_output=True,
        text=True,
        env=environ,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "did you mean 'black-friday'" in done.stderr
