"""Light clusters, and with them all that they share with the full testbed: beginning, end, accidents."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from testbed.api import Testbed
from testbed.paths import RunPaths
from testbed.processes import Processes
from testbed.waiting import wait_until
from tests.testbed_itself.machine import command, identity_of, kill_all, look, processes_of

pytestmark = pytest.mark.testbed

LightCluster = Callable[[str], Testbed]


def server_of(cluster: Testbed) -> str:
    return cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")


def test_down_leaves_no_trace(able_machine: None) -> None:
    Testbed("trace").down()
    before = look("trace")
    Testbed("trace").up()
    assert look("trace").processes, "the comparison must be able to see something"
    assert look("trace").cgroups > before.cgroups
    Testbed("trace").down()
    assert look("trace") == before


@pytest.fixture(scope="module")
def cluster(able_machine: None) -> Iterator[Testbed]:
    """One cluster for the tests that follow; those that break it repair it."""
    cluster = Testbed("self")
    cluster.reset()
    yield cluster
    cluster.down()


def test_up_on_a_healthy_cluster_changes_nothing(cluster: Testbed) -> None:
    identity, pids = identity_of(cluster), set(processes_of("self"))
    began = time.monotonic()
    done = command("up", "--light", "self")
    assert done.returncode == 0
    assert "nothing to do" in done.stderr
    assert time.monotonic() - began < 10
    assert identity_of(cluster) == identity
    assert set(processes_of("self")) == pids


def test_fake_nodes_run_pods_and_istio_objects_are_known(cluster: Testbed) -> None:
    cluster.kubectl("create", "deployment", "many", "--image=none", "--replicas=20")
    cluster.kubectl("rollout", "status", "deployment/many", "--timeout=60s")
    cluster.kubectl("get", "peerauthentications.security.istio.io", "-A")


def test_a_kubeconfig_stays_valid_in_its_place_over_a_reset(cluster: Testbed) -> None:
    address = server_of(cluster)
    cluster.kubectl("create", "namespace", "drift")
    cluster.reset()
    assert "drift" not in cluster.kubectl("get", "namespaces", "-o", "name")
    assert server_of(cluster) == address


def test_a_dead_component_shows_in_status_and_up_repairs_it(cluster: Testbed) -> None:
    Processes(RunPaths("self")).stop("kube-scheduler")
    done = command("status", "--light", "self", "-o", "json")
    assert done.returncode == 1
    rows = {row["component"]: row for row in json.loads(done.stdout)["rows"]}
    assert [name for name, row in rows.items() if not row["up"]] == ["kube-scheduler"]
    cluster.up()
    assert command("status", "--light", "self").returncode == 0


def test_up_after_sigkill_of_everything_begins_anew(cluster: Testbed) -> None:
    identity = identity_of(cluster)
    kill_all("self")
    assert not cluster.status()["healthy"]
    cluster.up()
    assert cluster.status()["healthy"]
    assert identity_of(cluster) != identity


def test_several_clusters_at_once_and_the_end_of_one_alone(cluster: Testbed, light_cluster: LightCluster) -> None:
    other = light_cluster("other")
    assert identity_of(cluster) != identity_of(other)
    assert cluster.kubectl("config", "current-context").strip() == "testbed-self"
    assert other.kubectl("config", "current-context").strip() == "testbed-other"
    supervisor = Processes(RunPaths("other")).supervisor_pid()
    assert supervisor
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not processes_of("other"), 30, "all processes of the other cluster to go")
    assert cluster.status()["healthy"]


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
