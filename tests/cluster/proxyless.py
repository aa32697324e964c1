"""meshguard on a light cluster, whose pods have no proxies that could be asked."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from meshguard import app
from meshguard.cluster import connect
from meshguard.engine.judge import Judge
from meshguard.model.plan import Await, Check
from meshguard.model.verdict import Truth, Verdict
from testbed.api import Testbed
from tests.cluster.api_server import CALM


class Proxyless:
    """Judges what the cluster can tell; what only a proxy could tell counts as seen."""

    _ON_PROXIES = (Check.INBOUND, Check.OUTBOUND, Check.AUTHZ, Check.ENDPOINTS, Check.TRAFFIC)

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def judge(self, awaited: Await) -> Verdict:
        if awaited.check in self._ON_PROXIES:
            return Verdict(Truth.YES, 1, 1, source="there are no proxies")
        return await self._judge.judge(awaited)


def without_proxies(monkeypatch: pytest.MonkeyPatch, mesh: Testbed, state: Path) -> None:
    """Work on this cluster, without its proxies and without hurry; runs leave their files in `state`."""
    judge = app.judge_of
    monkeypatch.setattr(app, "judge_of", lambda *known: Proxyless(judge(*known)))
    monkeypatch.setattr(connect, "open_cluster", partial(connect.open_cluster, patience=CALM))
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    monkeypatch.setenv("KUBECONFIG", str(mesh.kubeconfig))
