"""A plan is told the newest drill that fits, or that nobody has rehearsed it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshguard.evidence import Evidence, Hashed, Versions, known, record, told
from meshguard.model.plan import Direction, Plan
from tests.fakes.cluster import FakeCluster

EXIT = Hashed("exit", "e1")
ISTIO = {"default": "1.31.0"}
DRILL = Evidence(
    "evidence-sidecar-oom-20261101-030000-cafe",
    "2026-11-01T03:10:00.000Z",
    Hashed("sidecar-oom", "r1"),
    (EXIT, Hashed("restore", "b1")),
    Versions("0.1.0", "istio-sidecar", ISTIO),
    "uid",
    "staging",
    ("shop-web",),
    "passed",
    "every step is done",
    "ana@laptop",
    {"Take the namespace out of the mesh": 60.0, "Bring the namespace back": 40.5},
    {"20261101-030000-beef": "12 abc"},
)
PLAN = Plan(Direction.EXIT, "istio-sidecar", "uid", "production", ("shop-web",), ())


def sentence(*found: Evidence, playbook: Hashed = EXIT) -> str:
    return told(found, PLAN, playbook, ISTIO)


def test_the_newest_drill_that_fits_is_told() -> None:
    older = replace(DRILL, name="older", at="2026-10-01T03:10:00.000Z")
    broken = replace(DRILL, name="broken", at="2026-11-02T03:10:00.000Z", result="failed")
    assert sentence(older, broken, DRILL) == (
        "2026-11-01 03:10 UTC in staging by ana@laptop, with the runbook sidecar-oom: passed in 100 s "
        "(evidence-sidecar-oom-20261101-030000-cafe)"
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"result": "failed"}, "it did not pass"),
        ({"playbooks": (Hashed("exit", "e0"),)}, "the playbook exit has changed since"),
        ({"playbooks": (Hashed("realign", "x"),)}, "it did not run exit"),
        ({"versions": Versions("0.1.0", "linkerd", ISTIO)}, "it was on linkerd"),
        (
            {"versions": Versions("0.1.0", "istio-sidecar", {"default": "1.30.0"})},
            "version 1.31.0 of the control plane was not rehearsed",
        ),
    ],
)
def test_a_drill_of_something_else_is_no_rehearsal(change: dict[str, Any], why: str) -> None:
    assert sentence(replace(DRILL, **change)) == (
        f"never rehearsed like this; the last drill (evidence-sidecar-oom-20261101-030000-cafe): {why}"
    )


def test_nobody_has_rehearsed() -> None:
    assert sentence() == "never rehearsed"


def test_evidence_is_kept_in_the_cluster_and_on_the_machine_and_counts_once(tmp_path: Path) -> None:
    cluster = FakeCluster()
    asyncio.run(record(cluster, tmp_path / "evidence", DRILL))
    in_cluster = asyncio.run(cluster.list("ConfigMap", ("meshguard-system",)))
    assert known(in_cluster, tmp_path / "nothing") == (DRILL,)
    assert known((), tmp_path / "evidence") == (DRILL,)
    assert known(in_cluster, tmp_path / "evidence") == (DRILL,)


def test_what_cannot_be_read_proves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    (tmp_path / "b.json").write_text(json.dumps({**DRILL.document(), "kind": "Else"}))
    (tmp_path / "c.json").write_text(json.dumps({"apiVersion": "meshguard.dev/v1", "kind": "Evidence"}))
    assert known((), tmp_path) == ()
