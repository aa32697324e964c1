"""The short form of the proofs; the full ones are made by hand and leave their counts in docs/proofs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from testbed.api import Testbed

ROOT = Path(__file__).resolve().parents[2]

#: What the last line of each proof must say, field by field.
HOLDS = {
    "crash": {"failed": 0, "repeated": 0, "restore_diff": 0, "leaks": 0},
    "enrolment": {"differences": 0},
    "hitless": {"failed": 0, "floor_failed": 0, "restore_diff": 0},
    "policies": {"differences": 0},
}


def last_line(name: str) -> dict[str, int]:
    """Make the short proof and return the object of its last line."""
    environment = {**{k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}, "QUICK": "1"}
    done = subprocess.run(
        [sys.executable, "-m", f"testbed.proofs.{name}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    answer: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.testbed
@pytest.mark.parametrize("name", sorted(HOLDS))
def test_proof_holds(testbed: Testbed, name: str) -> None:
    answer = last_line(name)
    print(answer)
    assert {key: answer[key] for key in HOLDS[name]} == HOLDS[name]


def test_every_row_of_a_sample_of_the_tables_is_needed() -> None:
    answer = last_line("tables")
    print(answer)
    assert answer["killed"] == answer["rows"] > 0


@pytest.mark.testbed
@pytest.mark.usefixtures("able_machine")
def test_the_simulated_api_answers_as_the_real_one() -> None:
    answer = last_line("api")
    print(answer)
    assert answer["cases"] > 100
    assert answer["differences"] == 0
