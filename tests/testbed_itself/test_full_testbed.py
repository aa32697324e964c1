"""The full testbed, while it is up: what it promises to whoever uses it."""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.api import Testbed, TestbedError
from testbed.waiting import wait_until
from tests.testbed_itself.machine import command, identity_of

pytestmark = pytest.mark.testbed

_GIBIBYTE = 1024**3


@pytest.fixture
def namespace(testbed: Testbed) -> Iterator[str]:
    """A namespace of the test's own. It is gone before the next test: pods that end make a push to every proxy."""
    name = f"own-{time.time_ns() % 10**9}"
    testbed.kubectl("create", "namespace", name)
    yield name
    testbed.kubectl("delete", "namespace", name, "--wait=true")


def query(testbed: Testbed, expression: str) -> dict[str, float]:
    """Ask Prometheus; the answer's values by the one label that the expression leaves."""
    url = f"{testbed.prometheus_url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(url, timeout=10) as response:
        results = json.load(response)["data"]["result"]
    return {next(iter(result["metric"].values()), ""): float(result["value"][1]) for result in results}


def run_pod(testbed: Testbed, namespace: str, script: str, **annotations: str) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "probe", "namespace": namespace, "annotations": annotations},
        "spec": {
            "terminationGracePeriodSeconds": 5,
            "containers": [{"name": "probe", "image": "local/shop:dev", "command": ["/bin/sh", "-c", script]}],
        },
    }
    testbed.kubectl("apply", "-f", "-", text=json.dumps(pod))


def kept_logs(testbed: Testbed, namespace: str, container: str) -> list[Path]:
    return sorted(testbed.logs_dir.glob(f"{namespace}_probe_*/{container}/*.log*"))


def test_status_tells_all_and_it_fits_in_four_gibibytes(testbed: Testbed) -> None:
    done = command("status", "-o", "json")
    assert done.returncode == 0, done.stdout
    status = json.loads(done.stdout)
    rows = {row["component"]: row for row in status["rows"]}
    assert {"etcd", "kubelet", "prometheus", "istio-system/istiod", "istio-system/istiod-skew"} <= set(rows)
    for row in rows.values():
        assert row["up"], row
        assert row["version"], row
        assert row["memory_bytes"] > 0, row
        assert list(Path(row["log"]).parent.glob(Path(row["log"]).name)), row
    assert status["memory_bytes"] < 4 * _GIBIBYTE


def test_up_on_the_healthy_testbed_changes_nothing(testbed: Testbed) -> None:
    identity, events = identity_of(testbed), testbed.kubectl("get", "pods", "-A", "-o", "jsonpath={..uid}")
    done = command("up")
    assert done.returncode == 0
    assert "nothing to do" in done.stderr
    assert identity_of(testbed) == identity
    assert testbed.kubectl("get", "pods", "-A", "-o", "jsonpath={..uid}") == events


def test_users_outside_have_the_rights_that_their_names_say(testbed: Testbed) -> None:
    def may(user: str, *what: str) -> bool:
        return testbed.kubectl("--context", user, "auth", "can-i", *what, check=False).strip() == "yes"

    assert may("testbed", "delete", "namespaces")
    assert may("testbed-as-viewer", "list", "peerauthentications.security.istio.io", "-A")
    assert not may("testbed-as-viewer", "patch", "deployments", "-n", "shop-web")
    assert may("testbed-as-shop-admin", "patch", "deployments", "-n", "shop-web")
    assert not may("testbed-as-shop-admin", "patch", "namespaces")
    assert not may("testbed-as-stranger", "list", "pods", "-A")


def test_exec_runs_inside_with_the_kubeconfig_and_the_exit_code(testbed: Testbed) -> None:
    node = command("exec", "--", "sh", "-c", "kubectl get nodes -o name; ip -4 -o address show lo")
    assert "node/node1" in node.stdout
    assert "10.96.255.1" in node.stdout
    assert command("exec", "--", "sh", "-c", "exit 37").returncode == 37
    with pytest.raises(TestbedError, match="no-such-file"):
        testbed.exec(["ls", "/no-such-file"])


def test_the_audit_log_has_writes_with_their_content_and_no_secret(testbed: Testbed, namespace: str) -> None:
    testbed.kubectl("-n", namespace, "create", "secret", "generic", "hidden", "--from-literal=key=do-not-show-me")
    testbed.kubectl("-n", namespace, "create", "configmap", "shown", "--from-literal=key=show-me")
    written = [json.loads(line) for line in testbed.audit_log.read_text().splitlines() if namespace in line]
    assert any("show-me" in json.dumps(event.get("requestObject", {})) for event in written)
    assert any(event["objectRef"].get("resource") == "secrets" for event in written)
    assert not any("do-not-show-me" in json.dumps(event) for event in written)


def test_prometheus_scrapes_istiod_the_sidecars_and_the_kubelet(testbed: Testbed) -> None:
    wait_until(lambda: not query(testbed, "up == 0"), 60, "all targets to be up", 1)
    pods = testbed.kubectl("get", "pods", "-A", "-o", "json")
    sidecars = [
        pod
        for pod in json.loads(pods)["items"]
        if "sidecar.istio.io/status" in pod["metadata"].get("annotations", {}) and pod["status"]["phase"] == "Running"
    ]
    scraped = query(testbed, "count by (job) (up == 1)")
    assert scraped["istiod"] == 2
    assert scraped["cadvisor"] == 1
    assert scraped["sidecars"] >= len(sidecars) - 1  # the CronJob's may have just come
    assert query(testbed, 'count by (job) ({__name__=~"envoy_.*ssl_handshake"})')
    assert query(testbed, 'count by (job) (container_memory_working_set_bytes{container="istio-proxy"})')


def test_the_log_of_a_dead_pod_is_kept_to_its_last_line(testbed: Testbed, namespace: str) -> None:
    run_pod(testbed, namespace, "trap 'echo the last line; exit 0' TERM; echo first; while :; do sleep 0.1; done")
    testbed.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/probe", "--timeout=60s")
    testbed.kubectl("-n", namespace, "delete", "pod", "probe")
    (log,) = kept_logs(testbed, namespace, "probe")
    lines = [line.split(" ", 3)[3] for line in log.read_text().splitlines()]
    assert lines == ["first", "the last line"]


def test_the_logs_of_every_restart_are_kept(testbed: Testbed, namespace: str) -> None:
    run_pod(testbed, namespace, "echo one life; exit 1")
    wait_until(lambda: len(kept_logs(testbed, namespace, "probe")) >= 3, 90, "three lives", 0.5)
    assert all("one life" in log.read_text() for log in kept_logs(testbed, namespace, "probe")[:2])


def test_an_old_proxy_runs_with_this_istiod_and_shows_its_age(testbed: Testbed, namespace: str) -> None:
    testbed.kubectl("label", "namespace", namespace, "istio-injection=enabled")
    old = {"sidecar.istio.io/proxyImage": "local/proxyv2-old:dev"}
    run_pod(testbed, namespace, "while :; do sleep 1; done", **old)
    testbed.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/probe", "--timeout=90s")
    version = testbed.kubectl("-n", namespace, "exec", "probe", "-c", "istio-proxy", "--", "envoy", "--version")
    assert "/1.38." in version
    wait_until(lambda: "1.29.0" in query(testbed, "sum by (version) (pilot_xds)"), 30, "istiod to show it", 1)


def test_the_skewed_istiod_is_really_refused_by_the_proxies(testbed: Testbed, namespace: str) -> None:
    rejects = 'sum by (type) (pilot_total_xds_rejects{pod=~"istiod-skew.*"})'
    before = query(testbed, rejects).get("lds", 0)
    testbed.kubectl("label", "namespace", namespace, "istio.io/rev=skew")
    run_pod(testbed, namespace, "while :; do sleep 1; done")

    def says_so() -> bool:
        return any("1 rejected" in log.read_text() for log in kept_logs(testbed, namespace, "istio-proxy"))

    wait_until(says_so, 90, "the proxy to say that it refused its listeners", 1)
    wait_until(lambda: query(testbed, rejects).get("lds", 0) > before, 30, "istiod to count it", 1)


def test_mesh_retries_can_be_switched_off_and_on(testbed: Testbed) -> None:
    def retries() -> bool:
        request = ("pilot-agent", "request", "GET", "config_dump?resource=dynamic_route_configs")
        dump = testbed.kubectl("-n", "load", "exec", "deploy/openload", "-c", "istio-proxy", "--", *request)
        return '"num_retries"' in dump

    try:
        testbed.set_mesh_retries(False)
        assert not retries()
    finally:
        testbed.set_mesh_retries(True)
    assert retries()
