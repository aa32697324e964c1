"""The mark, declared and revoked by the command line on a real API server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.api import Testbed
from testbed.proofs.controls import writes_since
from tests.cli.driver import Meshguard

pytestmark = pytest.mark.testbed


def test_a_cluster_is_declared_shown_and_revoked(light_cluster: Callable[[str], Testbed], tmp_path: Path) -> None:
    bed = light_cluster("rehearsal")
    meshguard = Meshguard(bed.kubeconfig, tmp_path / "state")
    here = ("--context", "testbed-rehearsal")
    size = bed.audit_log.stat().st_size
    assert meshguard("rehearsal", "show", *here).code == 3
    assert meshguard("rehearsal", "declare", "--reason", "x", "--yes").code == 2
    assert meshguard("rehearsal", "declare", *here, "--yes").code == 2
    assert meshguard("rehearsal", "declare", *here, "--reason", "x", "--for", "1y", "--yes").code == 2
    nobody = meshguard("rehearsal", "declare", *here, "--reason", "a game day")
    assert (nobody.code, "nobody is there to consent" in nobody.sentence) == (3, True)
    assert writes_since(bed.audit_log, size) == []

    done = meshguard("rehearsal", "declare", *here, "--reason", "a game day", "--owner", "kim", "--for", "2h", "--yes")
    assert done.code == 0, done.err
    shown = meshguard("rehearsal", "show", *here, "-o", "json")
    assert (shown.code, json.loads(shown.out)["mark"]["owner"]) == (0, "kim")
    patch = json.dumps({"data": {"clusterUID": "another"}})
    bed.kubectl("-n", "meshguard-system", "patch", "configmap", "rehearsal", "--type=merge", "-p", patch)
    foreign = meshguard("rehearsal", "show", *here)
    assert (foreign.code, "another cluster's" in foreign.sentence) == (3, True)
    assert meshguard("rehearsal", "revoke", *here, "--reason", "over", "--yes").code == 0
    assert meshguard("rehearsal", "show", *here).code == 3
