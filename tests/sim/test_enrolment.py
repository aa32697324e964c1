"""The product of `make prove-enrolment`, sent to the simulated API server with an injector of its own.

Both must say of every combination what meshguard's rules say, so they say the same.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
from pathlib import Path

import pytest

from meshguard.sim.api.cluster import SimulatedCluster
from testbed import binaries
from testbed.proofs import enrolment, enrolment_scenery
from testbed.proofs.record import Proof
from tests.sim.bed import running

_ABLE = shutil.which("kubectl") and shutil.which("openssl") and (binaries.KUBERNETES.folder / "istioctl").exists()
pytestmark = pytest.mark.skipif(
    not _ABLE, reason="the scenery needs kubectl, openssl and the testbed's istioctl (`make testbed` builds it)"
)


def _with_another_revision(cluster: SimulatedCluster) -> None:
    """Beside the first istiod a second one; each has put its authority into its webhooks, as a real one does."""
    cluster.install("istiod", "skew")
    storage = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
    for entry in cluster.store.all(storage):
        webhooks = [
            {**hook, "clientConfig": {**hook["clientConfig"], "caBundle": base64.b64encode(b"authority").decode()}}
            for hook in entry.doc["webhooks"]
        ]
        cluster.store.put(storage, entry.key, {**entry.doc, "webhooks": webhooks})


def test_the_simulated_injector_agrees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUICK", "1")
    scenery = enrolment_scenery.named()
    spaces = enrolment.namespaces(scenery)
    with (
        running(tmp_path, furnish=_with_another_revision) as bed,
        Proof("enrolment", quick=True) as proof,
        enrolment_scenery.built(bed, scenery, spaces),  # type: ignore[arg-type]
    ):
        wrong = asyncio.run(enrolment._prove(bed, scenery, spaces, proof))  # type: ignore[arg-type]
    # The simulated injector has one template with a proxy, so nothing can ask for two of them.
    assert wrong == ["row 'two proxies' decided only 0 combinations"]
