"""A namespace leaves the mesh of a simulated cluster and comes back, by the same commands as on a real one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cli.driver import Meshguard
from tests.sim.bed import running
from tests.sim.meshed import BOTH, furnish
from tests.sim.proxies import Proxies

TERMS = ("--context", "testbed", "--yes", "--reason", "practice")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meshguard]:
    folder = tmp_path_factory.mktemp("sim")
    with running(folder, Proxies, furnish=furnish) as bed:
        yield Meshguard(bed.kubeconfig, folder / "state")


def seen(meshguard: Meshguard) -> dict[str, dict[str, Any]]:
    answer = meshguard("status", "-n", "shop-web", "-n", "shop-pay", "--context", "testbed", "-o", "json")
    assert answer.code == 0, answer.err
    return {row["namespace"]: row for row in json.loads(answer.out)["workloads"] if row["namespace"] in BOTH}


def test_out_and_back(mesh: Meshguard) -> None:
    before = seen(mesh)
    assert {row["actual"] for row in before.values()} == {"in"}
    assert {(row["tls_mode"], row["source"]) for row in before.values()} == {("STRICT", "envoy")}
    planned = mesh("plan", "exit", "-n", "shop-web", "--context", "testbed")
    assert planned.code == 0, planned.out
    left = mesh("exit", "-n", "shop-web", *TERMS)
    assert left.code == 0, left.out + left.err
    (run,) = re.findall(r"^run (\S+);", left.err, re.MULTILINE)
    out = seen(mesh)
    assert (out["shop-web"]["actual"], out["shop-pay"]["actual"]) == ("out", "in")
    assert out["shop-pay"]["tls_mode"] == "PERMISSIVE"
    checked = mesh("verify", run, "--context", "testbed")
    assert checked.code == 0, checked.out + checked.err
    back = mesh("restore", run, *TERMS)
    assert back.code == 0, back.out + back.err
    assert seen(mesh) == before


def test_healthy_by_its_signals(mesh: Meshguard) -> None:
    answer = mesh("doctor", "--context", "testbed")
    assert answer.code == 0, answer.out + answer.err
