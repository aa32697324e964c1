"""Controllers and kubelet, on a clock that stands still until a test lets it go on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sim.asking import APPS, CORE, Client, config_map, deployment

WEB = f"{APPS}/deployments/web"
RESTART = {"spec": {"template": {"metadata": {"annotations": {"meshguard.dev/restart": "run-1"}}}}}


@pytest.fixture
def client() -> Client:
    return Client()


def pods(client: Client, **options: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get(f"{CORE}/pods", **options).doc["items"]
    return items


def alive(client: Client) -> list[dict[str, Any]]:
    return [pod for pod in pods(client) if "deletionTimestamp" not in pod["metadata"]]


def is_ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


def rolled_out(client: Client, **spec: Any) -> dict[str, Any]:
    client.post(f"{APPS}/deployments", deployment(replicas=4, **spec))
    client.pass_time(5)
    doc: dict[str, Any] = client.get(WEB).doc
    return doc


def test_a_deployment_comes_up_spread_over_the_nodes(client: Client) -> None:
    status = rolled_out(client)["status"]
    assert (status["readyReplicas"], status["updatedReplicas"], status["observedGeneration"]) == (4, 4, 1)
    assert {c["type"]: c["reason"] for c in status["conditions"]} == {
        "Available": "MinimumReplicasAvailable",
        "Progressing": "NewReplicaSetAvailable",
    }
    assert len({pod["spec"]["nodeName"] for pod in pods(client)}) == 3


def test_a_restart_never_has_too_few_ready_nor_too_many_pods(client: Client) -> None:
    rolled_out(client)
    before = {pod["metadata"]["uid"] for pod in pods(client)}
    client.patch(WEB, RESTART)
    for _ in range(40):
        client.pass_time(0.25, 0.25)
        assert sum(is_ready(pod) for pod in alive(client)) >= 3
        assert len(alive(client)) <= 5
    after = {pod["metadata"]["uid"] for pod in pods(client)}
    assert len(after) == 4
    assert before.isdisjoint(after)
    sets = client.get(f"{APPS}/replicasets").doc["items"]
    revisions = {s["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: s["spec"]["replicas"] for s in sets}
    assert revisions == {"1": 0, "2": 4}


def test_a_template_that_comes_back_uses_its_old_replica_set_again(client: Client) -> None:
    rolled_out(client)
    first = {s["metadata"]["name"] for s in client.get(f"{APPS}/replicasets").doc["items"]}
    client.patch(WEB, RESTART)
    client.pass_time(10)
    client.patch(WEB, {"spec": {"template": {"metadata": {"annotations": None}}}})
    client.pass_time(10)
    sets = client.get(f"{APPS}/replicasets").doc["items"]
    assert {s["metadata"]["name"] for s in sets if s["spec"]["replicas"]} == first
    assert client.get(WEB).doc["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"


def test_a_paused_deployment_does_not_roll_out(client: Client) -> None:
    rolled_out(client)
    client.patch(WEB, {"spec": {"paused": True}})
    client.patch(WEB, RESTART)
    client.pass_time(10)
    assert len(client.get(f"{APPS}/replicasets").doc["items"]) == 1
    client.patch(WEB, {"spec": {"paused": None}})
    client.pass_time(10)
    assert client.get(WEB).doc["status"]["updatedReplicas"] == 4


def test_recreate_ends_all_old_pods_first(client: Client) -> None:
    rolled_out(client, strategy={"type": "Recreate"})
    old = {pod["metadata"]["uid"] for pod in pods(client)}
    client.patch(WEB, RESTART)
    for _ in range(20):
        client.pass_time(0.25, 0.25)
        now = {pod["metadata"]["uid"] for pod in pods(client)}
        assert not (now & old and now - old)
    assert client.get(WEB).doc["status"]["readyReplicas"] == 4


def test_a_rollout_that_does_not_get_on_says_so(client: Client) -> None:
    rolled_out(client, progressDeadlineSeconds=30)
    stuck = {"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/os": "plan9"}}}}}
    client.patch(WEB, stuck)
    client.pass_time(20)
    reasons = {c["type"]: c["reason"] for c in client.get(WEB).doc["status"]["conditions"]}
    assert reasons["Progressing"] == "ReplicaSetUpdated"
    client.pass_time(20)
    reasons = {c["type"]: c["reason"] for c in client.get(WEB).doc["status"]["conditions"]}
    assert reasons["Progressing"] == "ProgressDeadlineExceeded"


def test_readiness_comes_after_the_probe_s_delay(client: Client) -> None:
    body = deployment(replicas=1)
    probe = {"httpGet": {"port": 80}, "initialDelaySeconds": 20}
    body["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = probe
    client.post(f"{APPS}/deployments", body)
    client.pass_time(15)
    assert [pod["status"]["phase"] for pod in pods(client)] == ["Running"]
    assert not is_ready(pods(client)[0])
    client.pass_time(10)
    assert is_ready(pods(client)[0])


def test_endpoints_follow_readiness(client: Client) -> None:
    service = {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}
    client.post(f"{CORE}/services", service)
    rolled_out(client)
    (subset,) = client.get(f"{CORE}/endpoints/web").doc["subsets"]
    assert {address["ip"] for address in subset["addresses"]} == {pod["status"]["podIP"] for pod in pods(client)}
    gone = pods(client)[0]
    client.delete(f"{CORE}/pods/{gone['metadata']['name']}")
    client.cluster.work.settle()
    (subset,) = client.get(f"{CORE}/endpoints/web").doc["subsets"]
    assert gone["status"]["podIP"] not in {address["ip"] for address in subset["addresses"]}
    slices = client.get("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices").doc["items"]
    terminating = [e["targetRef"]["name"] for s in slices for e in s["endpoints"] if e["conditions"]["terminating"]]
    assert terminating == [gone["metadata"]["name"]]


def stateful_set(**spec: Any) -> dict[str, Any]:
    body = deployment("db", replicas=3, serviceName="db", **spec)
    return {**body, "kind": "StatefulSet"}


def test_a_stateful_set_starts_in_order_and_restarts_in_reverse(client: Client) -> None:
    client.post(f"{APPS}/statefulsets", stateful_set())
    client.cluster.work.settle()
    assert [pod["metadata"]["name"] for pod in pods(client)] == ["db-0"]
    client.pass_time(5)
    old = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods(client)}
    assert sorted(old) == ["db-0", "db-1", "db-2"]
    client.patch(f"{APPS}/statefulsets/db", RESTART)
    replaced: list[str] = []
    for _ in range(60):
        client.pass_time(0.25, 0.25)
        for pod in pods(client):
            name = pod["metadata"]["name"]
            if pod["metadata"]["uid"] != old[name] and name not in replaced:
                replaced.append(name)
    assert replaced == ["db-2", "db-1", "db-0"]
    status = client.get(f"{APPS}/statefulsets/db").doc["status"]
    assert status["currentRevision"] == status["updateRevision"]


def test_partition_and_on_delete_leave_old_pods(client: Client) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    client.post(f"{APPS}/statefulsets", stateful_set(updateStrategy=strategy))
    client.pass_time(5)
    client.patch(f"{APPS}/statefulsets/db", RESTART)
    client.pass_time(10)
    assert client.get(f"{APPS}/statefulsets/db").doc["status"]["updatedReplicas"] == 1
    client.patch(f"{APPS}/statefulsets/db", {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}}})
    client.pass_time(10)
    assert client.get(f"{APPS}/statefulsets/db").doc["status"]["updatedReplicas"] == 1


def test_a_daemon_set_has_a_pod_on_each_node_and_replaces_one_by_one(client: Client) -> None:
    body = {**deployment("agent"), "kind": "DaemonSet"}
    client.post(f"{APPS}/daemonsets", body)
    client.pass_time(5)
    assert len({pod["spec"]["nodeName"] for pod in pods(client)}) == 3
    client.patch(f"{APPS}/daemonsets/agent", RESTART)
    for _ in range(40):
        client.pass_time(0.25, 0.25)
        assert sum(is_ready(pod) for pod in alive(client)) >= 2
    status = client.get(f"{APPS}/daemonsets/agent").doc["status"]
    assert (status["updatedNumberScheduled"], status["numberReady"]) == (3, 3)


def job(**template: Any) -> dict[str, Any]:
    spec = {"restartPolicy": "Never", "containers": [{"name": "app", "image": "x:1"}], **template}
    return {"metadata": {"name": "once"}, "spec": {"template": {"spec": spec}}}


def test_a_job_ends_unless_a_sidecar_keeps_it_alive(client: Client) -> None:
    path = "/apis/batch/v1/namespaces/shop/jobs"
    client.post(path, job())
    client.pass_time(10)
    assert client.get(f"{path}/once").doc["status"]["succeeded"] == 1
    meshed = job(containers=[{"name": "app", "image": "x:1"}, {"name": "istio-proxy", "image": "p:1"}])
    meshed["metadata"]["name"] = "meshed"
    client.post(path, meshed)
    client.pass_time(60)
    assert "completionTime" not in client.get(f"{path}/meshed").doc["status"]


def test_a_cron_job_creates_a_job_each_minute(client: Client) -> None:
    body = {"metadata": {"name": "tick"}, "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job()["spec"]}}}
    client.post("/apis/batch/v1/namespaces/shop/cronjobs", body)
    client.pass_time(190)
    assert len(client.get("/apis/batch/v1/namespaces/shop/jobs").doc["items"]) == 3


def test_a_deleted_deployment_takes_its_pods_with_it(client: Client) -> None:
    rolled_out(client)
    client.delete(WEB)
    client.pass_time(3)
    assert pods(client) == []
    assert client.get(f"{APPS}/replicasets").doc["items"] == []


def test_orphans_stay_and_foreground_deletion_waits(client: Client) -> None:
    rolled_out(client)
    client.delete(WEB, {"propagationPolicy": "Orphan"})
    client.pass_time(3)
    (orphan,) = client.get(f"{APPS}/replicasets").doc["items"]
    assert "ownerReferences" not in orphan["metadata"]
    assert client.get(WEB).status == 404
    path = f"{APPS}/replicasets/{orphan['metadata']['name']}"
    client.delete(path, {"propagationPolicy": "Foreground"})
    client.cluster.work.settle()
    assert client.get(path).doc["metadata"]["finalizers"] == ["foregroundDeletion"]
    client.pass_time(3)
    assert client.get(path).status == 404


def test_a_namespace_goes_when_it_is_empty(client: Client) -> None:
    client.post(f"{CORE}/configmaps", config_map("a"))
    rolled_out(client)
    assert client.delete("/api/v1/namespaces/shop").doc["status"]["phase"] == "Terminating"
    refused = client.post(f"{CORE}/configmaps", config_map("b"))
    assert (refused.status, "because it is being terminated" in refused.message) == (403, True)
    client.cluster.work.settle()
    assert client.get("/api/v1/namespaces/shop").status == 200
    client.pass_time(3)
    assert client.get("/api/v1/namespaces/shop").status == 404


def test_a_budget_guards_evictions(client: Client) -> None:
    budget = {"metadata": {"name": "web"}, "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app": "web"}}}}
    client.post("/apis/policy/v1/namespaces/shop/poddisruptionbudgets", budget)
    rolled_out(client)
    names = [pod["metadata"]["name"] for pod in pods(client)]
    first, second = (client.post(f"{CORE}/pods/{name}/eviction", {"metadata": {"name": name}}) for name in names[:2])
    assert first.status == 201
    assert second.status == 429
    assert second.message == "Cannot evict pod as it would violate the pod's disruption budget."


def test_logs_are_the_container_s_own(client: Client) -> None:
    rolled_out(client)
    name = pods(client)[0]["metadata"]["name"]
    body = client.get(f"{CORE}/pods/{name}/log", tailLines="1").response.body
    assert body == f"app of {name} has started\n".encode()
    assert client.get(f"{CORE}/pods/{name}/log", container="other").status == 400
