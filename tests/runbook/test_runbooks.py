"""Runbooks are data that can be checked, read and matched against signals; what was not seen is never guessed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshguard.chaos.controls.guard import misspelt
from meshguard.model.measurement import Measurement, Sample
from meshguard.ports import Unreachable
from meshguard.runbook.advise import Advice, advise
from meshguard.runbook.load import RunbookError, builtin_names, load, parse, text_of
from meshguard.runbook.schema import json_schema
from meshguard.runbook.text import markdown

ROOT = Path(__file__).resolve().parents[2]


class Says:
    """Implements `ports.Measurements`: one number for some signals, calm figures for the others."""

    CALM: Mapping[str, float] = {"control-plane.ready": 1, "workloads.ready": 1, "edges.success": 1}

    def __init__(self, **figures: float | Exception | Measurement) -> None:
        self._figures = {name.replace("__", "."): value for name, value in figures.items()}
        self.asked: list[str] = []

    async def measure(self, signal: str, args: Mapping[str, Any]) -> Measurement:
        self.asked.append(signal)
        value = self._figures.get(signal.replace("-", "_"), self.CALM.get(signal, 0.0))
        if isinstance(value, Exception):
            raise value
        if isinstance(value, Measurement):
            return value
        return Measurement((Sample("shop-web/x", value, "as told"),), "fake")


def advised(says: Says) -> tuple[Advice, ...]:
    return asyncio.run(advise([load(name) for name in builtin_names()], says))


@pytest.mark.parametrize(
    ("figures", "runbook"),
    [
        ({"pods__oom": 1}, "sidecar-oom"),
        ({"pods__evicted": 2}, "nodes-out-of-memory"),
        ({"control_plane__rejecting": 2}, "version-skew"),
        ({"control_plane__ready": 0}, "istiod-down"),
        ({"edges__success": 0.1}, "textbook-break-glass"),
        ({"pods__held": 1}, "job-with-sidecar"),
        ({"edges__retries": 50}, "retry-amplification"),
        ({"control_plane__pushes": 40}, "push-storm"),
        ({"pods__restarts_outside": 1, "policies__strict": 1}, "strict-without-verification"),
    ],
)
def test_each_failure_is_named_by_its_own_symptoms(figures: dict[str, float], runbook: str) -> None:
    advice = advised(Says(**figures))
    assert [a.runbook.name for a in advice if a.fits] == [runbook]
    assert advice[0].evidence[0].subjects[0].startswith("shop-web/x: ")


def test_a_calm_mesh_needs_nothing_and_every_signal_is_asked_once() -> None:
    says = Says()
    assert not any(a.fits or a.unknown for a in advised(says))
    assert len(says.asked) == len(set(says.asked))


def test_what_does_not_answer_is_unknown_not_well() -> None:
    by_name = {a.runbook.name: a for a in advised(Says(pods__oom=Unreachable("no answer")))}
    assert by_name["sidecar-oom"].unknown
    assert by_name["sidecar-oom"].evidence[0].unknown == ("no answer",)
    assert not by_name["version-skew"].unknown


def test_a_symptom_that_is_seen_counts_although_others_were_silent() -> None:
    partly = Measurement((Sample("a", 1),), "fake", ("b did not answer",))
    assert advised(Says(pods__oom=partly))[0].fits


def test_every_experiment_has_its_runbook_and_names_only_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    experiments = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "experiments").iterdir())}
    rehearsed = {load(name).experiment: name for name in builtin_names()}
    for name, experiment in experiments.items():
        (extension,) = experiment["extensions"]
        assert rehearsed[name] == extension["runbook"]
        assert experiment["runtime"]["rollbacks"]["strategy"] == "always"
        assert {c["name"] for c in experiment["controls"]} >= {"rehearsal guard", "cap with preview", "effect"}
        probes = experiment["steady-state-hypothesis"]["probes"]
        for activity in (*probes, *experiment["method"], *experiment["rollbacks"]):
            assert misspelt(activity) == ""


def test_the_published_schema_is_the_one_that_is_used() -> None:
    published = json.loads((files("meshguard.runbook") / "runbook-v1.json").read_text())
    assert published == json_schema()


def test_a_runbook_reads_as_markdown_from_the_same_source() -> None:
    text = markdown(load("sidecar-oom"))
    assert "## Not now" in text
    assert "sum of `pods.oom` at least 1 events" in text
    assert "`meshguard restore`" in text


@pytest.mark.parametrize("name", builtin_names())
def test_the_page_of_a_runbook_is_rendered_from_its_source(name: str) -> None:
    page = (ROOT / "docs" / "runbooks" / f"{name}.md").read_text()
    assert page == markdown(load(name)) + "\n", f"meshguard runbook show {name} > docs/runbooks/{name}.md"


@pytest.mark.parametrize("experiment", [load(name).experiment for name in builtin_names()])
def test_every_experiment_has_its_page(experiment: str) -> None:
    page = (ROOT / "docs" / "experiments" / f"{experiment}.md").read_text()
    titles = [line for line in page.splitlines() if line.startswith("## ")]
    assert titles == ["## What you will see", "## Why", "## What to do", "## Harmless"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "Playbook"}, "kind"),
        ({"verification": "steady-stat"}, "did you mean 'steady-state'"),
        ({"steps": []}, "steps"),
        ({"minutse": 3}, "minutse"),
        (
            {"symptoms": [{"sentence": "x", "signal": "pods.oomm", "comparison": "at-least", "threshold": 1}]},
            "did you mean 'pods.oom'",
        ),
    ],
)
def test_a_wrong_runbook_is_told_in_one_sentence(change: dict[str, Any], says: str) -> None:
    document = {**yaml.safe_load(text_of("sidecar-oom")), **change}
    with pytest.raises(RunbookError, match=says):
        parse(yaml.safe_dump(document), "mine.yaml")


def test_an_unknown_runbook_is_told_with_the_nearest_name() -> None:
    with pytest.raises(RunbookError, match="did you mean 'sidecar-oom'"):
        load("sidecar-om")
