"""A proof that would touch another cluster than the testbed of this machine ends before its first write."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from testbed.paths import MAIN, RunPaths
from testbed.proofs.own_cluster import WrongCluster, checked

OWN_PORT = 40001


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPaths:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    paths = RunPaths(MAIN)
    paths.credentials.mkdir(parents=True)
    (paths.credentials / "ca.crt").write_text("our authority")
    paths.state.write_text(json.dumps({"cgroups": [], "ports": [OWN_PORT, 40002]}))
    return paths


def write_kubeconfig(paths: RunPaths, server: str, authority: str = "our authority") -> None:
    data = base64.b64encode(authority.encode()).decode()
    cluster = {"name": "testbed", "cluster": {"server": server, "certificate-authority-data": data}}
    paths.kubeconfig.write_text(json.dumps({"clusters": [cluster], "current-context": "testbed"}))


def test_the_own_cluster_is_named(paths: RunPaths) -> None:
    write_kubeconfig(paths, f"https://127.0.0.1:{OWN_PORT}")
    assert checked(paths) == ("testbed", f"https://127.0.0.1:{OWN_PORT}")


@pytest.mark.parametrize(
    "server",
    [
        f"https://10.1.2.3:{OWN_PORT}",
        "https://127.0.0.1:6443",
        f"https://production.example:{OWN_PORT}",
        "https://127.0.0.1",
        "nonsense",
    ],
)
def test_a_server_that_is_not_the_testbeds_is_refused(paths: RunPaths, server: str) -> None:
    write_kubeconfig(paths, server)
    with pytest.raises(WrongCluster, match="is not the testbed; nothing was changed"):
        checked(paths)


def test_another_authority_is_refused(paths: RunPaths) -> None:
    write_kubeconfig(paths, f"https://127.0.0.1:{OWN_PORT}", "somebody else's")
    with pytest.raises(WrongCluster, match="another authority"):
        checked(paths)


def test_a_file_that_is_no_kubeconfig_of_the_testbed_is_refused(paths: RunPaths) -> None:
    paths.kubeconfig.write_text("apiVersion: v1")
    with pytest.raises(WrongCluster, match="is not the testbed's kubeconfig"):
        checked(paths)
    paths.kubeconfig.unlink()
    with pytest.raises(WrongCluster):
        checked(paths)
