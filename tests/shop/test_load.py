"""The load is started, followed and ended through commands in its pod, here the real program without a pod."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.shop import records
from testbed.shop.load import Edge, LoadConfig, LoadError, RunningLoad, running_load, shop_load

SHOP = Path(__file__).parents[2] / "testbed" / "shop"

# What kubectl does, as far as this is concerned: run the program that comes after "--".
FAKE_KUBECTL = """#!{python}
import os, sys
args = sys.argv[sys.argv.index("--") + 2:]
os.execv({openload!r}, [{openload!r}, args[0], "-folder", {folder!r}, *args[1:]])
"""


def test_every_edge_of_the_shop_is_under_load() -> None:
    config = shop_load("r", max_seconds=60)
    names = {edge.name for edge in config.edges}
    assert len(names) == len(config.edges) == 12
    assert 150 <= config.rate <= 200
    assert config.scaled(0.5).rate == config.rate / 2
    written = json.loads(config.to_json())
    assert written["edges"][0]["target"].endswith(".svc.cluster.local:8080/")


def test_the_shop_passes_its_own_tests(go: str) -> None:
    done = subprocess.run([go, "test", "./..."], cwd=SHOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def go() -> str:
    return shutil.which("go") or pytest.skip("needs Go")


@pytest.fixture(scope="module")
def programs(go: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    subprocess.run([go, "build", "-o", f"{folder}/", "./..."], cwd=SHOP, check=True)
    return folder


@pytest.fixture
def address(programs: Path) -> Iterator[str]:
    command = [str(programs / "shop"), "serve", "-name", "cart", "-listen", "127.0.0.1:0", "-health", "127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={"POD_NAME": "cart-0"}) as server:
        assert server.stderr is not None
        yield server.stderr.readline().rsplit(" ", 1)[1].strip()
        server.terminate()


@pytest.fixture
def kubectl(programs: Path, tmp_path: Path) -> Iterator[str]:
    openload = str(programs / "openload")
    script = tmp_path / "kubectl"
    script.write_text(FAKE_KUBECTL.format(python=sys.executable, openload=openload, folder=str(tmp_path)))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    command = [openload, "serve", "-folder", str(tmp_path), "-health", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        while subprocess.run([openload, "status", "-folder", tmp_path], capture_output=True, check=False).returncode:
            assert server.poll() is None
        yield str(script)
        server.terminate()


def load_on(address: str, run: str, max_seconds: int = 60) -> LoadConfig:
    edge = Edge("load", "cart", "http", f"http://{address}/", rate=100)
    return LoadConfig(run, max_seconds, (edge,))


def test_a_run_from_start_to_end(address: str, kubectl: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    with running_load(Path("kubeconfig"), load_on(address, "one"), copy, (kubectl,)) as load:
        while len(load.records().requests) < 50:
            assert load.status()["running"]
        assert load.records().summary is None
    stats = records.read(copy).edges()["load->cart"]
    assert stats.sent >= 50
    assert stats.failed == 0
    assert stats.new > 0 < stats.reused
    assert not (tmp_path / "one.jsonl").exists(), "the pod keeps no records that have been collected"


def test_a_run_ends_by_itself(address: str, kubectl: str, tmp_path: Path) -> None:
    load = RunningLoad(Path("kubeconfig"), load_on(address, "two", max_seconds=1), tmp_path / "copy.jsonl", (kubectl,))
    load.start()
    while load.status()["running"]:
        pass
    assert load.records().check_complete().reason == "max_seconds reached"


def test_only_one_run_at_a_time_and_one_of_each_name(address: str, kubectl: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    with running_load(Path("kubeconfig"), load_on(address, "three"), copy, (kubectl,)) as load:
        other = RunningLoad(load.kubeconfig, load_on(address, "four"), tmp_path / "other.jsonl", (kubectl,))
        with pytest.raises(LoadError, match='run "three" is still going on'):
            other.start()
        load.stop()
        with pytest.raises(LoadError, match='run "three" has been had already'):
            load.start()


def test_a_cluster_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    load = RunningLoad(Path("kubeconfig"), load_on("127.0.0.1:1", "five"), tmp_path / "copy", ("false",))
    with pytest.raises(LoadError, match="openload start: exit code 1"):
        load.start()
