"""What-if and sweep: the same day with other decisions, and many days."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from meshguard.sim.fleet.compare import grid, outcomes, swept
from meshguard.sim.fleet.scenario import ScenarioError
from tests.sim_fleet.test_properties import small

MESHGUARD = Path(sys.executable).with_name("meshguard")


@pytest.fixture
def scenario(tmp_path: Path) -> str:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small(1.0).model_dump(mode="json", by_alias=True)))
    return str(path)


def ask(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(MESHGUARD), "sim", *words], capture_output=True, text=True, check=False, timeout=120)


def test_each_decision_is_priced_on_the_same_day() -> None:
    nothing, textbook, ordered = outcomes(small(1.0), ("nothing", "textbook@1", "ordered@1"), 1)
    assert nothing.out_minute is None
    assert textbook.out_minute is not None
    assert ordered.out_minute is not None
    assert nothing.lost <= ordered.lost < textbook.lost


def test_a_sweep_gives_an_interval_for_each_combination() -> None:
    cells = swept(grid(small(1.0), ("fleet.nodes=2,3",)), ("textbook@1",), 3)
    assert [cell.knobs for cell in cells] == ["fleet.nodes=2", "fleet.nodes=3"]
    assert all(0 < cell.lost[0] <= cell.lost[1] <= cell.lost[2] for cell in cells)


@pytest.mark.parametrize("knob", ["nodes=3", "fleet.nodes", "fleet.nodes=a", "fleet.knots=3"])
def test_a_knob_that_is_none_is_refused(knob: str) -> None:
    with pytest.raises(ScenarioError):
        grid(small(), (knob,))


def test_what_if_as_json_and_as_a_report(scenario: str, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    done = ask("what-if", "--scenario", scenario, "--decide", "textbook@1", "--report", str(target), "-o", "json")
    told = json.loads(done.stdout)
    assert told["kind"] == "WhatIf"
    assert told["outcomes"][0]["out_minute"] > 1
    assert target.read_text().count("<svg") == 2


def test_sweep_prints_a_row_for_each_cell(scenario: str) -> None:
    done = ask("sweep", "--scenario", scenario, "--seeds", "2", "--decide", "nothing", "--decide", "textbook@1")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("what-if", "--decide", "ordred@3"), 2, "did you mean 'ordered'"),
        (("what-if", "--scenario", "nowhere.yaml"), 2, "no such file"),
        (("sweep", "--set", "fleet=3"), 2, "is no knob"),
        (("watch", "--name", "nobody"), 8, "no simulator 'nobody'"),
        (("up", "--scenario", "black-fridy", "--name", "nobody"), 2, "did you mean 'black-friday'"),
    ],
)
def test_what_cannot_be_is_one_sentence(words: tuple[str, ...], code: int, told: str) -> None:
    done = ask(*words)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert told in done.stderr


def test_our_scenarios_are_sound_and_the_schema_is_printed() -> None:
    assert "black-friday" in ask("scenario").stdout
    assert json.loads(ask("scenario", "--schema").stdout)["properties"]["fleet"]
