"""Our hypotheses against a real cluster: every signal is answered by whom the catalogue says. Reads only."""

from __future__ import annotations

import asyncio

import pytest

from meshguard import app
from meshguard.config import Config
from meshguard.hypotheses.evaluate import Answer, Assessment, Health
from meshguard.hypotheses.load import load
from testbed.api import Testbed

pytestmark = pytest.mark.testbed


def assessed(bed: Testbed, name: str) -> Assessment:
    async def ask() -> Assessment:
        config = Config(prometheusUrl=bed.prometheus_url or "")
        async with app.session(app.Target(kubeconfig=str(bed.kubeconfig), config=config)) as opened:
            return await app.assess_hypothesis(opened, load(name))

    return asyncio.run(ask())


def by_signal(assessment: Assessment) -> dict[str, Answer]:
    return {answer.probe.signal: answer for answer in assessment.answers}


def test_the_control_plane_answers_through_both_revisions(testbed: Testbed) -> None:
    found = by_signal(assessed(testbed, "control-plane"))
    ready = found["control-plane.ready"].measurement
    assert ready is not None
    assert [sample.subject for sample in ready.samples] == ["revision default", "revision skew"]
    assert all(answer.health is not Health.UNKNOWN for answer in found.values()), found


def test_the_steady_state_is_seen_where_the_catalogue_says(testbed: Testbed) -> None:
    found = by_signal(assessed(testbed, "steady-state"))
    sources = {signal: answer.measurement.source for signal, answer in found.items() if answer.measurement}
    assert sources == {
        "control-plane.ready": "kubernetes",
        "control-plane.unsynced": "istiod /debug/syncz",
        "control-plane.rejecting": "istiod /debug/syncz",
        "control-plane.unlisted": "istiod /debug/syncz",
        "control-plane.increase": "istiod /metrics",
        "control-plane.convergence": "istiod /metrics",
        "pods.oom": "kubernetes",
        "pods.restarts": "kubernetes",
        "edges.success": "envoy stats, upstream_rq_*",
        "proxies.certificate": "envoy /certs",
    }
    certificates = found["proxies.certificate"].measurement
    assert certificates is not None
    assert all(0 < sample.value <= 25 * 3600 for sample in certificates.samples)


def test_prometheus_sees_the_mesh(testbed: Testbed) -> None:
    found = assessed(testbed, "telemetry").answers[0]
    assert found.measurement is not None
    assert len(found.measurement.samples) == 2, found.problems
