"""What controllers make of objects; asked when they have come to rest."""

from __future__ import annotations

from testbed.proofs.api_cases.bodies import APPS, BATCH, CORE, POLICY, deployment, job, service, thing, workload
from testbed.proofs.api_cases.case import TABLE, Case, delete, get, patch, post, put, settled, wait

_DEPLOYMENTS, _WEB = f"{APPS}/deployments", f"{APPS}/deployments/web"
_RESTART = {"spec": {"template": {"metadata": {"annotations": {"meshguard.dev/restart": "r"}}}}}
_UP = (
    post(_DEPLOYMENTS, deployment(replicas=2)).quietly(),
    wait(_WEB, status__readyReplicas=2, status__observedGeneration=1),
)
_BUDGET = thing(
    "policy/v1", "PodDisruptionBudget", spec={"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}
)

CASES: tuple[Case, ...] = (
    settled("a deployment comes up", *_UP, get(f"{APPS}/replicasets")),
    settled("a deployment in a table", *_UP, get(_DEPLOYMENTS, TABLE), get(f"{APPS}/replicasets", TABLE)),
    settled(
        "a deployment restarts",
        *_UP,
        patch(_WEB, _RESTART).quietly(),
        wait(
            _WEB, status__observedGeneration=2, status__updatedReplicas=2, status__readyReplicas=2, status__replicas=2
        ),
    ),
    settled(
        "a deployment shrinks to nothing",
        *_UP,
        patch(_WEB, {"spec": {"replicas": 0}}).quietly(),
        wait(_WEB, status__observedGeneration=2, status__replicas=None),
    ),
    settled(
        "a deployment with no pods",
        post(_DEPLOYMENTS, deployment()).quietly(),
        wait(_WEB, status__observedGeneration=1),
    ),
    settled(
        "a paused deployment",
        post(_DEPLOYMENTS, deployment(paused=True)).quietly(),
        wait(_WEB, status__observedGeneration=1),
    ),
    settled(
        "a deployment that waits for a node",
        post(
            _DEPLOYMENTS,
            deployment(
                replicas=1,
                template={
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "app", "image": "x"}], "nodeSelector": {"no": "where"}},
                },
            ),
        ).quietly(),
        wait(_WEB, status__observedGeneration=1, status__replicas=1),
    ),
    settled(
        "a stateful set comes up",
        post(f"{APPS}/statefulsets", workload("StatefulSet", replicas=2, serviceName="web")).quietly(),
        wait(
            f"{APPS}/statefulsets/web", status__readyReplicas=2, status__availableReplicas=2, status__updatedReplicas=2
        ),
        get(f"{APPS}/statefulsets", TABLE),
    ),
    settled(
        "a daemon set comes up",
        post(f"{APPS}/daemonsets", workload("DaemonSet")).quietly(),
        wait(f"{APPS}/daemonsets/web", status__numberAvailable=3, status__updatedNumberScheduled=3),
        get(f"{APPS}/daemonsets", TABLE),
    ),
    settled(
        "endpoints without pods",
        post(f"{CORE}/services", service(selector={"app": "none"})).quietly(),
        wait(f"{CORE}/endpoints/a", kind="Endpoints"),
    ),
    settled(
        "a suspended job",
        post(f"{BATCH}/jobs", job()).quietly(),
        wait(f"{BATCH}/jobs/a", status__ready=0),
        get(f"{BATCH}/jobs", TABLE),
    ),
    settled(
        "no endpoints without a selector", post(f"{CORE}/services", service()).quietly(), get(f"{CORE}/endpoints/a")
    ),
    settled(
        "a budget",
        *_UP,
        post(f"{POLICY}/poddisruptionbudgets", _BUDGET).quietly(),
        wait(f"{POLICY}/poddisruptionbudgets/a", status__disruptionsAllowed=1),
        get(f"{POLICY}/poddisruptionbudgets", TABLE),
    ),
    settled("a namespace is furnished", get(f"{CORE}/serviceaccounts/default")),
    settled(
        "orphans stay",
        *_UP,
        delete(_WEB, {"propagationPolicy": "Orphan"}).quietly(),
        wait(_WEB, code=404),
        get(f"{APPS}/replicasets"),
    ),
    settled(
        "an own replica set is not adopted",
        post(f"{APPS}/replicasets", workload("ReplicaSet", replicas=1)).quietly(),
        wait(f"{APPS}/replicasets/web", status__readyReplicas=1),
        put(f"{APPS}/replicasets/web", workload("ReplicaSet", replicas=0)).quietly(),
        wait(f"{APPS}/replicasets/web", status__replicas=0),
    ),
)
