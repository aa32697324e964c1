"""Hypothesis files: ours are valid and explained, wrong ones are refused with one sentence that says where and what."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshguard.hypotheses.load import HypothesisError, builtin_names, load, parse
from meshguard.hypotheses.schema import json_schema
from tests.hypotheses.builders import hypothesis, probe


def test_ours_are_valid_and_every_threshold_is_explained_and_sourced() -> None:
    assert builtin_names() == ("control-plane", "steady-state", "telemetry")
    for name in builtin_names():
        loaded = load(name)
        assert loaded.name == name
        for one in loaded.probes:
            assert len(one.why) > 40, f"{name}, {one.name}: why does not explain the threshold"
            assert len(one.source) > 15, f"{name}, {one.name}: source names nothing"


def test_the_published_schema_is_that_of_the_code() -> None:
    published = (files("meshguard.hypotheses") / "hypothesis-v1.json").read_text()
    assert json.loads(published) == json_schema(), "write json_schema() to hypotheses/hypothesis-v1.json anew"


def test_a_file_is_read_from_where_it_is(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(hypothesis(probe()).document()))
    assert load(str(file)) == hypothesis(probe())


def test_a_document_survives_the_way_through_a_plan() -> None:
    made = hypothesis(probe("edges.success", comparison="at-least", threshold=0.99, args={"window": 5}))
    assert parse(json.dumps(made.document()), "a plan") == made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"signal": "pods.omo"}, "there is no signal 'pods.omo'; did you mean 'pods.oom'?"),
        ({"unit": "seconds"}, "signal pods.oom is in events, not in seconds"),
        ({"args": {"withn": 5}}, "signal pods.oom has no argument 'withn'; did you mean 'within'?"),
        ({"args": {"within": "5m"}}, "argument 'within' of pods.oom must be a number, not '5m'"),
        ({"args": {"within": -1}}, "argument 'within' of pods.oom must not be negative"),
        ({"signal": "prometheus.query", "unit": "number"}, "signal prometheus.query needs the argument 'query'"),
        (
            {"signal": "edges.success", "unit": "ratio", "args": {"telemetry": "zipkin"}},
            "argument 'telemetry' of edges.success must be one of auto, istio, envoy, not 'zipkin'",
        ),
        ({"why": " "}, "why: String should have at least 1 character"),
        ({"source": None}, "source: Input should be a valid string"),
        ({"threshold": float("nan")}, "threshold: Input should be a finite number"),
        ({"deadline": 0}, "deadline: Input should be greater than 0"),
        ({"comparison": "about"}, "comparison: Input should be 'at-least', 'at-most' or 'equals'"),
        ({"treshold": 1}, "treshold: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_probe_is_refused_in_one_sentence(change: dict[str, Any], message: str) -> None:
    document = {"name": "mine", "description": "mine", "probes": [{**probe(), **change}]}
    with pytest.raises(HypothesisError) as raised:
        parse(json.dumps(document), "mine.yaml")
    assert message in str(raised.value)
    assert str(raised.value).startswith("mine.yaml: probes.0")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "mine.yaml is not YAML"),
        ("- a list", "mine.yaml must hold one hypothesis"),
        ("name: mine", "mine.yaml: description: Field required"),
        ("{name: mine, description: d, probes: []}", "probes: Tuple should have at least 1 item"),
        ("{apiVersion: meshguard.dev/v2, name: mine, description: d, probes: []}", "apiVersion: Input should be"),
        ("{name: Not A Name, description: d, probes: []}", "name: String should match pattern"),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(HypothesisError, match=r"mine\.yaml") as raised:
        parse(text, "mine.yaml")
    assert message in str(raised.value)


def test_two_probes_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two probes are named .pods\.oom is well."):
        hypothesis(probe(), probe())


def test_what_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(HypothesisError, match="there is no hypothesis 'steady'; ours: control-plane, steady-state"):
        load("steady")
    with pytest.raises(HypothesisError, match=r"cannot read .*/absent\.yaml: No such file"):
        load(str(tmp_path / "absent.yaml"))
