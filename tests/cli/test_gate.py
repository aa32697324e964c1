"""A gate that breaks behind a wave, on a real mesh: the wave is back in the mesh before anybody is told."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.api import Testbed
from testbed.proofs import objects
from tests.cli.driver import Meshguard

pytestmark = pytest.mark.testbed

CONCERNED = ("shop-web", "shop-core", "shop-pay", "load")
ON = ("--context", "testbed", "--reason", "test", "--yes")
LEDGER = ("--accept-interruption", "shop-pay/ledger:7070")
#: Holds as long as somebody in shop-web has a certificate: that is, a proxy.
PROXIES_IN_WEB = """\
apiVersion: meshguard.dev/v1
kind: Hypothesis
name: proxies-in-web
description: Somebody in shop-web is in the mesh.
probes:
- name: certificates
  signal: proxies.certificate
  args: {namespaces: [shop-web]}
  comparison: at-least
  threshold: 0
  unit: seconds
  why: Where nobody has a proxy, nobody has a certificate, and that is unknown and so not healthy.
  source: this test
"""


@pytest.fixture(autouse=True)
def _everything_as_it_was(testbed: Testbed) -> Iterator[None]:
    before = objects.concerned(testbed, CONCERNED)
    yield
    assert objects.differences(before, objects.concerned(testbed, CONCERNED)) == []


def sidecars(testbed: Testbed) -> set[bool]:
    """Whether the pods of shop-web that are not on their way out carry a proxy."""
    listed = json.loads(testbed.kubectl("-n", "shop-web", "get", "pods", "-o", "json"))["items"]
    return {
        "istio-proxy" in {c["name"] for c in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", ()))}
        for pod in listed
        if "deletionTimestamp" not in pod["metadata"]
    }


def test_a_breach_puts_the_wave_back_and_the_rest_is_left_to_a_person(testbed: Testbed, tmp_path: Path) -> None:
    meshguard = Meshguard(testbed.kubeconfig, tmp_path / "state")
    gate = tmp_path / "gate.yaml"
    gate.write_text(PROXIES_IN_WEB)
    stopped = meshguard("exit", "-n", "shop-web", *ON, *LEDGER, "--gate", str(gate))
    said = stopped.out + stopped.err
    (run,) = re.findall(r"^run (\S+); journal: ", stopped.err, re.MULTILINE)
    try:
        assert stopped.code == 6, said
        assert "put back Deployment shop-web/storefront" in stopped.out
        assert re.search(r"rolled back by run \S+: Deployment shop-web/storefront are as they were, seen", said), said
        assert sidecars(testbed) == {True}
    finally:
        back = meshguard("restore", run, *ON)
    assert back.code == 0, back.out + back.err
