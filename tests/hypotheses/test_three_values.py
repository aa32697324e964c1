"""Healthy, unhealthy, unknown: what was not seen is never healthy, and a breach outweighs silence."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from meshguard.hypotheses.evaluate import Assessment, Health, assess, judge, worst
from meshguard.hypotheses.schema import Hypothesis
from meshguard.hypotheses.text import assessment_text
from meshguard.model.measurement import Measurement, Sample
from meshguard.ports import Forbidden
from tests.hypotheses.builders import hypothesis, probe

GOOD, BAD = Sample("pod-a", 0), Sample("pod-b", 2, "OOMKilled")


def health_of(*samples: Sample, unseen: tuple[str, ...] = (), left_out: tuple[str, ...] = ()) -> Health:
    return judge(hypothesis(probe()).probes[0], Measurement(samples, "test", unseen, left_out)).health


@pytest.mark.parametrize(
    ("samples", "unseen", "expected"),
    [
        ([GOOD], (), Health.HEALTHY),
        ([GOOD, BAD], (), Health.UNHEALTHY),
        ([GOOD], ("pod-c: no answer",), Health.UNKNOWN),
        ([BAD], ("pod-c: no answer",), Health.UNHEALTHY),
        ([], (), Health.UNKNOWN),
        ([], ("pod-c: no answer",), Health.UNKNOWN),
        ([Sample("pod-a", float("nan"))], (), Health.UNHEALTHY),
    ],
)
def test_a_probe(samples: list[Sample], unseen: tuple[str, ...], expected: Health) -> None:
    assert health_of(*samples, unseen=unseen) is expected


def test_what_was_left_out_says_why_nothing_is_known() -> None:
    answer = judge(hypothesis(probe()).probes[0], Measurement((), "test", left_out=("a -> b: only 3 requests",)))
    assert (answer.health, answer.problems) == (Health.UNKNOWN, ("a -> b: only 3 requests",))


@pytest.mark.parametrize(
    ("comparison", "holding", "breaking"),
    [("at-least", (1, 2), (0.9,)), ("at-most", (1, 0), (1.1,)), ("equals", (1,), (0, 2))],
)
def test_the_threshold_itself_holds(comparison: str, holding: tuple[float, ...], breaking: tuple[float, ...]) -> None:
    one = hypothesis(probe(comparison=comparison, threshold=1)).probes[0]
    assert [v for v in (*holding, *breaking) if one.comparison.holds(v, one.threshold)] == list(holding)


def test_a_hypothesis_without_answers_is_unknown() -> None:
    assert worst([]) is Health.UNKNOWN


class Measured:
    """Measurements by table: a measurement, an error, or seconds of silence."""

    def __init__(self, answers: Mapping[str, Measurement | Exception | float]) -> None:
        self._answers, self.at_once, self._open = answers, 0, 0

    async def measure(self, signal: str, args: Mapping[str, Any]) -> Measurement:
        self._open += 1
        self.at_once = max(self.at_once, self._open)
        answer = self._answers[signal]
        await asyncio.sleep(answer if isinstance(answer, float) else 0)
        self._open -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Measurement) else Measurement((GOOD,), "late")


def assessed(measured: Measured, *probes: Mapping[str, Any]) -> Assessment:
    return asyncio.run(assess(hypothesis(*probes), measured))


def test_probes_are_asked_at_the_same_time_and_each_has_its_own_deadline() -> None:
    measured = Measured({"pods.oom": Measurement((GOOD,), "test"), "pods.restarts": 30.0})
    found = assessed(measured, probe("pods.oom"), probe("pods.restarts", deadline=0.05))
    assert measured.at_once == 2
    assert [answer.health for answer in found.answers] == [Health.HEALTHY, Health.UNKNOWN]
    assert found.answers[1].problems == ("no answer within 0.05 s",)
    assert found.health is Health.UNKNOWN


def test_the_deadline_begins_after_the_window() -> None:
    one = hypothesis(probe("edges.success", args={"window": 20}, deadline=5)).probes[0]
    assert one.patience_s == 25


def test_a_refusal_is_unknown_and_says_why() -> None:
    found = assessed(Measured({"pods.oom": Forbidden("you may not list pods")}), probe("pods.oom"))
    assert (found.health, found.answers[0].problems) == (Health.UNKNOWN, ("you may not list pods",))


def test_a_defect_of_a_reader_is_not_taken_for_silence() -> None:
    with pytest.raises(ZeroDivisionError):
        assessed(Measured({"pods.oom": ZeroDivisionError()}), probe("pods.oom"))


def both() -> tuple[Hypothesis, Assessment]:
    measured = Measured(
        {"pods.oom": Measurement((GOOD, BAD), "kubernetes"), "pods.restarts": Measurement((GOOD,), "x")}
    )
    found = assessed(measured, probe("pods.oom"), probe("pods.restarts"))
    return found.hypothesis, found


def test_what_a_person_reads() -> None:
    _, found = both()
    assert assessment_text(found).splitlines() == [
        "test: a test",
        "  ✗ unhealthy pods.oom is well  (at most 0 events; 2 seen, kubernetes)",
        "                pod-b: 2 events, expected at most 0 events (OOMKilled)",
        "                why this threshold: a reason",
        "  ✓ healthy   pods.restarts is well  (at most 0 events; 1 seen, x)",
        "test: unhealthy, 1 of 2 probes hold; 'pods.oom is well' is unhealthy",
    ]


def test_what_a_program_reads() -> None:
    _, found = both()
    document = found.to_json()
    assert (document["hypothesis"], document["health"]) == ("test", "unhealthy")
    first = document["probes"][0]
    assert (first["health"], first["source"], first["breaches"]) == ("unhealthy", "kubernetes", ["pod-b"])
    assert first["expected"] == {
        "comparison": "at-most",
        "threshold": 0.0,
        "unit": "events",
        "why": "a reason",
        "source": "a source",
    }
    assert first["samples"][1] == {"subject": "pod-b", "value": 2, "note": "OOMKilled"}
