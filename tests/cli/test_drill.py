"""A drill on a real mesh: a runbook without a person, evidence of it, and the plan that is told of the evidence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.api import Testbed
from testbed.proofs import objects
from tests.cli.driver import Meshguard

CONCERNED = ("shop-web", "shop-core", "shop-pay", "load")
AT = ("--context", "testbed")
ON = (*AT, "--reason", "test")
LEDGER = ("--accept-interruption", "shop-pay/ledger:7070")
LEAVE_AND_COME_BACK = """\
apiVersion: meshguard.dev/v1
kind: Runbook
name: leave-and-come-back
title: The way out and back, for practice
summary: Nothing is wrong; the glass is broken to see that it can be.
experiment: textbook-break-glass
who: [whoever practises]
minutes: 3
symptoms:
- &alive {sentence: an istiod is ready, signal: control-plane.ready, figure: min, comparison: at-least, threshold: 1}
notNow: [Do not practise in production.]
steps:
- {do: check, title: See that the mesh can carry the change, symptom: *alive}
- {do: playbook, title: Leave, playbook: exit}
verification: control-plane
wayBack:
- {do: decide, title: Decide, question: "Back?", answers: [back, stop], auto: back}
- {do: playbook, title: Come back, playbook: restore}
"""


@pytest.fixture
def _everything_as_it_was(testbed: Testbed) -> Iterator[None]:
    before = objects.concerned(testbed, CONCERNED)
    yield
    assert objects.differences(before, objects.concerned(testbed, CONCERNED)) == []


@pytest.fixture
def runbook(tmp_path: Path) -> str:
    path = tmp_path / "leave-and-come-back.yaml"
    path.write_text(LEAVE_AND_COME_BACK)
    return str(path)


@pytest.mark.testbed
@pytest.mark.usefixtures("_everything_as_it_was")
def test_a_drill_leaves_evidence_and_the_plan_shows_it(testbed: Testbed, tmp_path: Path, runbook: str) -> None:
    meshguard = Meshguard(testbed.kubeconfig, tmp_path / "state")
    elsewhere = Meshguard(testbed.kubeconfig, tmp_path / "elsewhere")
    drill = ("runbook", "run", runbook, "-n", "shop-web", *LEDGER, *ON, "--auto")
    meshguard("rehearsal", "revoke", *ON, "--yes")
    refused = meshguard(*drill)
    assert refused.code == 3
    assert "not declared a rehearsal cluster" in refused.sentence

    assert meshguard("rehearsal", "declare", *ON, "--yes").code == 0
    done = meshguard(*drill)
    said = done.out + done.err
    try:
        assert done.code == 0, said
        assert "leave-and-come-back: every step is done" in done.err
        assert "drill: back" in done.out
        (kept,) = (tmp_path / "state" / "meshguard" / "evidence").iterdir()
        evidence = json.loads(kept.read_text())
        assert (evidence["result"], evidence["scope"], evidence["runbook"]["name"]) == (
            "passed",
            ["shop-web"],
            "leave-and-come-back",
        )
        assert {playbook["name"] for playbook in evidence["playbooks"]} == {"exit", "restore"}
        assert len(evidence["runs"]) == 2
        planned = elsewhere("plan", "exit", "-n", "shop-web", *AT, *LEDGER)
        assert f"passed in {sum(evidence['figures'].values()):.0f} s ({evidence['name']})" in planned.out
        realigned = elsewhere("plan", "realign", "-n", "shop-web", "--to-revision", "skew", *AT)
        assert "never rehearsed like this" in realigned.out
    finally:
        meshguard("rehearsal", "revoke", *ON, "--yes")
        testbed.kubectl("-n", "meshguard-system", "delete", "configmap", "-l", "meshguard.dev/evidence")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((*ON,), "nobody is there to be asked"),
        ((*ON, "--auto", "--yes"), "each playbook of a runbook asks for consent"),
        ((*AT, "--auto"), "a mutation needs a --reason"),
        (("--reason", "x", "--auto"), "a mutation needs an explicit --context"),
    ],
)
def test_what_cannot_be_a_walk_is_refused_before_anything_is_asked(
    tmp_path: Path, runbook: str, options: tuple[str, ...], says: str
) -> None:
    done = Meshguard(tmp_path / "no-kubeconfig", tmp_path / "state")("runbook", "run", runbook, *options)
    assert (done.code, done.out) == (2, "")
    assert says in done.sentence
