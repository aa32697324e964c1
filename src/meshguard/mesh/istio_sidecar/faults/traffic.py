"""Faults of traffic and configuration: load, jobs that never end, mutual TLS, retries, objects that churn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from meshguard.mesh.istio_sidecar import names
from meshguard.mesh.istio_sidecar.edits import manifest_of
from meshguard.mesh.istio_sidecar.faults import targets
from meshguard.mesh.istio_sidecar.faults.members import NATIVE_SIDECAR
from meshguard.mesh.istio_sidecar.faults.targets import FaultError
from meshguard.mesh.istio_sidecar.membership import carries_proxy
from meshguard.mesh.istio_sidecar.mesh_config import mesh_config
from meshguard.mesh.istio_sidecar.peer_authentication import Mode, PeerPolicies, mode_of
from meshguard.mesh.istio_sidecar.proxy_resources import MEMORY_LIMIT, MEMORY_REQUEST
from meshguard.mesh.protocol import Draft, Settings
from meshguard.model.change import change_at
from meshguard.model.kinds import RESTARTABLE
from meshguard.model.objects import Ref
from meshguard.model.plan import RUN_PLACEHOLDER, Action, Await, Check, Phase, Step, Wave
from meshguard.model.snapshot import Snapshot

RUN_LABEL = "meshguard.dev/run"
CHURNED_LABEL = "meshguard.dev/churned"
_SYSTEMS = ("kube-", "istio-")
_LONGEST_S = 3_600
_MOST_CHURNED = 500
_GRACE_S = 30
_STOP_S = 5
"""For a load that does not heed SIGTERM; nobody waits for its answers."""


def run_job(
    snapshot: Snapshot,
    settings: Settings,
    namespace: str,
    image: str,
    command: Sequence[str],
    seconds: float = 120.0,
    name: str = "job",
    pods: int = 1,
    sidecar: str = "native",
) -> Draft:
    """Run a Job: the load that goes through sidecars, a caller without one, or work that a sidecar keeps from ending.

    `sidecar` is `native`, `classic` or `none`. The Job is ended `seconds` and a little later whatever happens.
    """
    targets.known(namespace, snapshot.namespaces, "namespace")
    targets.positive("seconds", seconds, _LONGEST_S)
    ref = targets.created("Job", namespace, name)
    template = _template(ref, image, command, pods, sidecar)
    template["spec"]["restartPolicy"] = "Never"
    spec = {
        "parallelism": int(pods),
        "completions": int(pods),
        "backoffLimit": 0,
        "activeDeadlineSeconds": int(seconds) + _GRACE_S,
        "template": template,
    }
    sentence = f"Run {' '.join(command)[:120]} in {namespace}, {pods} pod(s), sidecar: {sidecar}"
    step = Step(
        "job-001", Action.CREATE, ref, "", sentence, "it is the traffic of the fault", (), manifest_of(ref, spec)
    )
    return Draft((Phase("fault", "Run a job", (Wave((step,)),)),))


def run_workload(
    snapshot: Snapshot,
    settings: Settings,
    namespace: str,
    image: str,
    command: Sequence[str],
    name: str = "load",
    pods: int = 1,
    sidecar: str = "native",
    sidecar_memory_limit: str = "",
) -> Draft:
    """Run a Deployment: a caller that stays, through its own sidecar, and that a break-glass can restart.

    `sidecar` is `native`, `classic` or `none`; the limit is its sidecar's own.
    """
    targets.known(namespace, snapshot.namespaces, "namespace")
    ref = targets.created("Deployment", namespace, name)
    template = _template(ref, image, command, pods, sidecar)
    if sidecar_memory_limit:
        targets.quantity("sidecar_memory_limit", sidecar_memory_limit)
        template["metadata"]["annotations"] |= {MEMORY_LIMIT: sidecar_memory_limit, MEMORY_REQUEST: "32Mi"}
    spec = {"replicas": int(pods), "selector": {"matchLabels": {"app": ref.name}}, "template": template}
    limited = f", its limit: {sidecar_memory_limit}" if sidecar_memory_limit else ""
    sentence = f"Run {' '.join(command)[:120]} in {namespace}, {pods} pod(s), sidecar: {sidecar}{limited}"
    step = Step(
        "run-001", Action.CREATE, ref, "", sentence, "it calls others through its sidecar", (), manifest_of(ref, spec)
    )
    return Draft((Phase("fault", "Run a workload", (Wave((step,)),)),))


def _template(ref: Ref, image: str, command: Sequence[str], pods: int, sidecar: str) -> dict[str, Any]:
    """Return a pod template of one container. Raises FaultError for what cannot be run."""
    targets.known(sidecar, _SIDECARS, "kind of sidecar")
    targets.positive("pods", pods, 50)
    if not image or not command:
        raise FaultError("an image and a command are needed")
    labels, annotations = _SIDECARS[sidecar]
    container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": list(command)}
    return {
        "metadata": {
            "labels": {"app": ref.name, RUN_LABEL: RUN_PLACEHOLDER, **labels},
            "annotations": dict(annotations),
        },
        "spec": {"containers": [container], "terminationGracePeriodSeconds": _STOP_S},
    }


_SIDECARS: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "native": ({}, {NATIVE_SIDECAR: "true"}),
    "classic": ({}, {NATIVE_SIDECAR: "false"}),
    "none": ({names.POD_INJECT: "false"}, {}),
}


def mtls_mode(snapshot: Snapshot, settings: Settings, namespace: str, mode: str) -> Draft:
    """Set what the servers of a namespace accept, in the policy that holds for it, or in one that is made.

    Never in the mesh-wide one: that would be a fault of everybody.
    """
    targets.known(namespace, snapshot.namespaces, "namespace")
    targets.known(mode, [m.value for m in Mode if m is not Mode.UNSET], "mode of mutual TLS")
    peers = PeerPolicies(snapshot, mesh_config(snapshot).root_namespace)
    policy = peers.namespace_level(namespace)
    sentence = f"Set mutual TLS of {namespace} to {mode}"
    why = "nobody looks first who still speaks plaintext" if mode == Mode.STRICT else "the calm before the fault"
    if policy is None:
        ref = targets.created("PeerAuthentication", namespace, "mtls")
        step = Step("mtls-001", Action.CREATE, ref, "", sentence, why, (), manifest_of(ref, {"mtls": {"mode": mode}}))
    else:
        if mode_of(policy) == mode:
            raise FaultError(f"{policy.ref} says {mode} already; nothing was changed")
        change = change_at(policy.doc, ("spec", "mtls", "mode"), mode)
        step = Step("mtls-001", Action.CHANGE, policy.ref, policy.uid, sentence, why, (change,))
    arrived = Await(
        Check.INBOUND,
        f"the proxies in {namespace} follow the policy",
        (namespace,),
        {},
        settings.converge_deadline_s,
    )
    notes = plaintext_callers(snapshot) if mode == Mode.STRICT else ()
    phase = Phase("fault", "Change what servers accept", (Wave((step,), (arrived,)),))
    return Draft((phase,), notes=notes)


def plaintext_callers(snapshot: Snapshot) -> tuple[str, ...]:
    """Predict by name who can no longer call a STRICT server: workloads whose running pods have no proxy."""
    out = []
    for workload in snapshot.workloads:
        pods = [pod for pod in snapshot.pods_of_workload.get(workload.ref, ()) if not pod.finished]
        system = workload.ref.namespace.startswith(_SYSTEMS)
        if pods and not system and workload.ref.kind in RESTARTABLE and not any(map(carries_proxy, pods)):
            out.append(f"{workload.ref} has no proxy: a STRICT server resets its calls")
    return tuple(sorted(out))


def retry_posts(snapshot: Snapshot, settings: Settings, namespace: str, host: str, attempts: int = 3) -> Draft:
    """Let the mesh retry every failed request to a host, POSTs among them: what Istio's own defaults leave out."""
    targets.known(namespace, snapshot.namespaces, "namespace")
    targets.positive("attempts", attempts, 10)
    ref = targets.created("VirtualService", namespace, "retries")
    route = {
        "route": [{"destination": {"host": host}}],
        "retries": {"attempts": int(attempts), "retryOn": "5xx", "perTryTimeout": "2s"},
    }
    sentence = f"Retry what fails on {host}, up to {attempts} times, whatever the method"
    step = Step(
        "retry-001",
        Action.CREATE,
        ref,
        "",
        sentence,
        "each retry of a POST does its work again",
        (),
        manifest_of(ref, {"hosts": [host], "http": [route]}),
    )
    return Draft((Phase("fault", "Retry what must not be repeated", (Wave((step,)),)),))


def churn_hosts(
    snapshot: Snapshot, settings: Settings, namespace: str, hosts: int = 1, exported_to: str = "*"
) -> Draft:
    """Make hosts whose endpoints can be changed at a rate, as evictions change them; see the action `churn`.

    `exported_to` is `*` for every proxy, `.` for those in the same namespace only: what a scoping resource buys.
    """
    targets.known(exported_to, ["*", "."], "scope of an export")
    targets.known(namespace, snapshot.namespaces, "namespace")
    targets.positive("hosts", hosts, _MOST_CHURNED)
    steps = []
    for number in range(1, int(hosts) + 1):
        ref = targets.created("ServiceEntry", namespace, f"churn-{number}")
        spec = {
            "hosts": [f"churn-{number}.{namespace}.meshguard.invalid"],
            "location": "MESH_INTERNAL",
            "ports": [{"number": 8080, "name": "http", "protocol": "HTTP"}],
            "resolution": "STATIC",
            "exportTo": [exported_to],
            "endpoints": [{"address": "192.0.2.1"}],
        }
        manifest = manifest_of(ref, spec)
        manifest["metadata"]["labels"] = {CHURNED_LABEL: "true"}
        sentence = f"Make the host {spec['hosts'][0]}"
        steps.append(
            Step(f"churn-{number:03d}", Action.CREATE, ref, "", sentence, "its endpoints will change", (), manifest)
        )
    return Draft((Phase("fault", "Make hosts that change", (Wave(tuple(steps)),)),))
