"""Faults as plans: what they create, by their tables."""

from __future__ import annotations

import pytest

from meshguard.mesh.istio_sidecar.faults import traffic
from meshguard.mesh.protocol import Settings
from tests.builders import shop


@pytest.mark.parametrize(
    ("sidecar", "labels", "annotations"),
    [
        ("native", {}, {"sidecar.istio.io/nativeSidecar": "true"}),
        ("classic", {}, {"sidecar.istio.io/nativeSidecar": "false"}),
        ("none", {"sidecar.istio.io/inject": "false"}, {}),
    ],
)
def test_a_job_comes_with_the_sidecar_that_was_asked_for(
    sidecar: str, labels: dict[str, str], annotations: dict[str, str]
) -> None:
    snapshot = shop().deployment("shop-web", "storefront").snapshot()
    draft = traffic.run_job(snapshot, Settings(), "shop-web", "local/shop:dev", ["true"], sidecar=sidecar)
    (step,) = draft.phases[0].steps
    assert step.manifest is not None
    template = step.manifest["spec"]["template"]["metadata"]
    assert {key: value for key, value in template["labels"].items() if key.startswith("sidecar.")} == labels
    assert template["annotations"] == annotations


def test_strict_names_those_without_a_proxy_but_not_what_the_system_runs() -> None:
    world = shop().namespace("kube-system").namespace("istio-ingress")
    for namespace, name in (("kube-system", "dns"), ("istio-ingress", "gateway"), ("shop-web", "legacy")):
        world.deployment(namespace, name, meshed=False)
    named = traffic.plaintext_callers(world.snapshot())
    assert named == ("Deployment shop-web/legacy has no proxy: a STRICT server resets its calls",)
