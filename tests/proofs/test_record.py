"""What a proof leaves behind."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.proofs import record
from testbed.proofs.record import Proof


@dataclass(frozen=True)
class Edge:
    sent: int
    failures: Counter[str]


def test_a_full_proof_writes_its_answer_and_its_raw_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "FOLDER", tmp_path)
    with Proof("trial", quick=False) as proof:
        proof.count("passage", {"web->cart": Edge(3, Counter({"reset": 2}))})
        proof.say({"failed": 2})
    written = json.loads((tmp_path / "trial.json").read_text())
    assert written["answer"] == {"failed": 2}
    assert written["counts"] == {"passage": {"web->cart": {"sent": 3, "failures": {"reset": 2}}}}
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"failed": 2}


def test_a_quick_proof_leaves_the_record_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "FOLDER", tmp_path)
    with Proof("trial", quick=True) as proof:
        proof.say({"failed": 0})
    assert not list(tmp_path.iterdir())
