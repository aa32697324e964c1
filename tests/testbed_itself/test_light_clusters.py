"""Light clusters, and with them all that they share with the full testbed: beginning, end, accidents."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from testbed.api import Testbed
from testbed.paths import PACKAGE, RunPaths
from testbed.processes import Processes
from testbed.waiting import wait_until
from tests.testbed_itself.machine import look, processes_of

pytestmark = pytest.mark.testbed

LightCluster = Callable[[str], Testbed]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "testbed", *arguments], capture_output=True, text=True, cwd=PACKAGE.parent
    )


def cluster_identity(cluster: Testbed) -> str:
    return cluster.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")


def test_down_leaves_no_trace(able_machine: None) -> None:
    Testbed("trace").down()
    before = look("trace")
    Testbed("trace").up()
    assert look("trace").processes, "the comparison must be able to see something"
    assert look("trace").cgroups > before.cgroups
    Testbed("trace").down()
    assert look("trace") == before


def test_up_on_a_healthy_cluster_changes_nothing(light_cluster: LightCluster) -> None:
    cluster = light_cluster("idem")
    identity, pids = cluster_identity(cluster), set(processes_of("idem"))
    began = time.monotonic()
    done = command("up", "--light", "idem")
    assert done.returncode == 0
    assert "nothing to do" in done.stderr
    assert time.monotonic() - began < 10
    assert cluster_identity(cluster) == identity
    assert set(processes_of("idem")) == pids


def test_up_after_sigkill_of_everything_begins_anew(light_cluster: LightCluster) -> None:
    cluster = light_cluster("killed")
    identity = cluster_identity(cluster)
    for pid in processes_of("killed"):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # its pid namespace died with the first one
    wait_until(lambda: not processes_of("killed"), 30, "the killed processes to go")
    assert not cluster.status()["healthy"]
    cluster.up()
    assert cluster.status()["healthy"]
    assert cluster_identity(cluster) != identity


def test_the_death_of_the_supervisor_ends_everything(light_cluster: LightCluster) -> None:
    light_cluster("headless")
    supervisor = Processes(RunPaths("headless")).supervisor_pid()
    assert supervisor
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not processes_of("headless"), 30, "all processes to go")


def test_a_dead_component_shows_in_status_and_up_repairs_it(light_cluster: LightCluster) -> None:
    cluster = light_cluster("broken")
    Processes(RunPaths("broken")).stop("kube-scheduler")
    done = command("status", "--light", "broken", "-o", "json")
    assert done.returncode == 1
    rows = {row["component"]: row for row in json.loads(done.stdout)["rows"]}
    assert [name for name, row in rows.items() if not row["up"]] == ["kube-scheduler"]
    cluster.up()
    assert command("status", "--light", "broken").returncode == 0


def test_a_kubeconfig_stays_valid_in_its_place_over_a_reset(light_cluster: LightCluster) -> None:
    cluster = light_cluster("again")
    address = cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    cluster.kubectl("create", "namespace", "drift")
    cluster.reset()
    assert "drift" not in cluster.kubectl("get", "namespaces", "-o", "name")
    assert cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}") == address


def test_several_clusters_at_once_are_different_ones(light_cluster: LightCluster) -> None:
    one, two = light_cluster("one"), light_cluster("two")
    assert cluster_identity(one) != cluster_identity(two)
    assert one.kubectl("config", "current-context").strip() == "testbed-one"
    assert two.kubectl("config", "current-context").strip() == "testbed-two"


def test_fake_nodes_run_pods_and_istio_objects_are_known(light_cluster: LightCluster) -> None:
    cluster = light_cluster("fleet")
    cluster.kubectl("create", "deployment", "many", "--image=none", "--replicas=20")
    cluster.kubectl("rollout", "status", "deployment/many", "--timeout=60s")
    cluster.kubectl("get", "peerauthentications.security.istio.io", "-A")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("exec", "--light", "absent", "--", "true"), "is not up"),
        (("up", "--light", "Not A Name"), "is not a testbed name"),
        (("exec", "--light", "absent"), "say what to run"),
    ],
)
def test_wrong_usage_is_answered_by_one_sentence(able_machine: None, arguments: tuple[str, ...], sentence: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_status_of_an_absent_cluster_says_so(able_machine: None) -> None:
    done = command("status", "--light", "absent", "-o", "json")
    assert done.returncode == 1
    status = json.loads(done.stdout)
    assert not status["healthy"]
    assert status["supervisor_pid"] is None
