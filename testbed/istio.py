"""Istio in the full testbed: two revisions of istiod, an ingress gateway, and the switch for the mesh's retries."""

from __future__ import annotations

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from testbed import binaries, commands, credentials
from testbed.api_client import ApiClient
from testbed.errors import TestbedError
from testbed.paths import MAIN, PACKAGE, RunPaths, cache_root
from testbed.waiting import wait_until

SYSTEM_NAMESPACE = "istio-system"
SKEW_REVISION = "skew"

_MANIFESTS = PACKAGE / "manifests"
_CHART_VERSION = '"app.kubernetes.io/version": "{}"'

# What a line must hold so that one failed request can be followed from hop to hop.
_ACCESS_LOG_FIELDS = {
    "start_time": "%START_TIME%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "authority": "%REQ(:AUTHORITY)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "downstream_transport_failure_reason": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%",
    "duration": "%DURATION%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "connection_id": "%CONNECTION_ID%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "upstream_peer_san": "%UPSTREAM_PEER_URI_SAN%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_peer_san": "%DOWNSTREAM_PEER_URI_SAN%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "route_name": "%ROUTE_NAME%",
}


def install_definitions(paths: RunPaths) -> None:
    """Create Istio's custom resource definitions, and wait until the API server serves them."""
    definitions = [manifest for manifest in _render(None) if manifest["kind"] == "CustomResourceDefinition"]
    commands.apply_objects(paths, definitions)
    commands.kubectl(
        paths, "wait", "--for=condition=Established", "--timeout=60s", *(
            f"crd/{definition['metadata']['name']}" for definition in definitions
        )
    )  # fmt: skip


def install(paths: RunPaths) -> None:
    """Create both revisions of istiod; they need not be ready yet when this returns."""
    install_definitions(paths)
    others = [
        manifest
        for revision in (None, SKEW_REVISION)
        for manifest in _render(revision)
        if manifest["kind"] != "CustomResourceDefinition"
    ]
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE}}
    commands.apply_objects(paths, [namespace, *others])


def install_gateway(paths: RunPaths) -> None:
    """Create the ingress gateway. The injection webhook must be answering."""
    commands.apply(paths, (_MANIFESTS / "gateway.yaml").read_text())


def wait_for_injection(paths: RunPaths, deadline_seconds: float = 90) -> None:
    """Wait until both revisions really inject a pod, shown by creating one as a dry run.

    A pod that is created earlier is refused, and its controller then backs off for longer and longer.

    Raises:
        TestbedError: the deadline passed.
    """
    for revision in ("default", SKEW_REVISION):
        _wait_for_injection_by(paths, revision, deadline_seconds)


def _wait_for_injection_by(paths: RunPaths, revision: str, deadline_seconds: float) -> None:
    answers: list[str] = []

    def injected() -> bool:
        answers.append(_containers_of_probe(paths, revision))
        return "istio-proxy" in answers[-1]

    wait_until(
        injected, deadline_seconds, f"revision {revision} to inject pods", 0.5, lambda: f"the pod has {answers[-1]}"
    )


def injects(paths: RunPaths, revision: str) -> bool:
    """Tell whether the next pod of a revision comes out with a sidecar, seen on a create by dry run."""
    return "istio-proxy" in _containers_of_probe(paths, revision)


def _containers_of_probe(paths: RunPaths, revision: str) -> str:
    create = ("create", "--dry-run=server", "-o", "jsonpath={..name}", "-f", "-")
    return commands.kubectl(paths, *create, text=_injection_probe(revision), check=False)


def set_mesh_retries(enabled: bool, paths: RunPaths | None = None, deadline_seconds: float = 180) -> None:
    """Switch Istio's default retries on (as production has them) or off, and wait until every proxy has it.

    Raises:
        TestbedError: some proxy still had the other setting at the deadline.
    """
    paths = paths or RunPaths(MAIN)
    client = credentials.api_client(paths)
    changed = False
    for name in ("istio", f"istio-{SKEW_REVISION}"):
        stored = client.get(f"/api/v1/namespaces/{SYSTEM_NAMESPACE}/configmaps/{name}")["data"]["mesh"]
        mesh = yaml.safe_load(stored)
        mesh.pop("defaultHttpRetryPolicy", None)
        if not enabled:
            mesh["defaultHttpRetryPolicy"] = {"attempts": 0}
        if mesh != yaml.safe_load(stored):
            changed = True
            patch = json.dumps({"data": {"mesh": yaml.safe_dump(mesh)}})
            commands.kubectl(paths, "-n", SYSTEM_NAMESPACE, "patch", "configmap", name, "--type=merge", "-p", patch)
    if changed:
        # the kubelet looks at a pod's volumes once a minute, and at once when the pod itself changes
        mark = f"testbed/mesh-config-changed={time.time_ns()}"
        selector = ("-l", "app=istiod", "--overwrite")
        commands.kubectl(paths, "-n", SYSTEM_NAMESPACE, "annotate", "pods", *selector, mark)
    lagging: list[str] = []

    def effective() -> bool:
        lagging[:] = _proxies_with_other_retries(paths, client, enabled)
        return not lagging

    wait_until(effective, deadline_seconds, "the proxies' routes to change", 1.0, lambda: ", ".join(lagging))


def _proxies_with_other_retries(paths: RunPaths, client: ApiClient, enabled: bool) -> list[str]:
    pods = [
        (pod["metadata"]["namespace"], pod["metadata"]["name"])
        for pod in client.get("/api/v1/pods")["items"]
        if pod["status"]["phase"] == "Running"
        and not pod["metadata"].get("deletionTimestamp")
        and _proxy_is_ready(pod)
        and "sidecar.istio.io/status" in pod["metadata"].get("annotations", {})
    ]

    def lags(pod: tuple[str, str]) -> bool:
        routes = _proxy_admin(paths, *pod, "config_dump?resource=dynamic_route_configs")
        return ('"retry_policy"' in routes) != enabled

    with ThreadPoolExecutor(4) as pool:
        return [f"{pod[0]}/{pod[1]}" for pod, late in zip(pods, pool.map(lags, pods), strict=True) if late]


def _proxy_is_ready(pod: dict[str, Any]) -> bool:
    status = pod["status"]
    containers = [*status.get("containerStatuses", []), *status.get("initContainerStatuses", [])]
    return any(container["name"] == "istio-proxy" and container["ready"] for container in containers)


def _proxy_admin(paths: RunPaths, namespace: str, pod: str, path: str) -> str:
    """Return the answer of an Envoy's admin interface, or nothing if its pod has just gone."""
    request = ("--", "pilot-agent", "request", "GET", path)
    return commands.kubectl(paths, "-n", namespace, "exec", pod, "-c", "istio-proxy", *request, check=False)


def _injection_probe(revision: str) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "injection-probe",
                "namespace": "default",
                "labels": {"istio.io/rev": revision, "sidecar.istio.io/inject": "true"},
            },
            "spec": {"containers": [{"name": "probe", "image": "local/pause:dev"}]},
        }
    )


def render_default() -> list[dict[str, Any]]:
    """Return the manifests of the default revision out of Istio's own charts."""
    return _render(None)


def _render(revision: str | None) -> list[dict[str, Any]]:
    """Return the manifests of a revision out of Istio's own charts."""
    settings = yaml.safe_load((_MANIFESTS / "istio.yaml").read_text())
    settings["spec"]["meshConfig"]["accessLogFormat"] = json.dumps(_ACCESS_LOG_FIELDS)
    if revision:
        settings["spec"]["revision"] = revision
        # the skew: this istiod sends filters that the stock Envoys do not have, and they refuse its listeners
        del settings["spec"]["values"]["pilot"]["env"]
    stored = _rendered_file(settings)
    if not stored.is_file():
        _store_rendered(settings, stored)
    # as Istio's release builder does: in its repository the charts carry a version that is never shipped
    text = stored.read_text().replace(_CHART_VERSION.format("1.0.0"), _CHART_VERSION.format(binaries.ISTIO_VERSION))
    manifests: list[dict[str, Any]] = json.loads(text)
    return manifests


def _rendered_file(settings: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps([binaries.KUBERNETES.folder.name, settings]).encode())
    return cache_root() / "istio" / f"{digest.hexdigest()[:12]}.json"


def _store_rendered(settings: dict[str, Any], stored: Path) -> None:
    """Render once for these settings: it takes seconds, for a megabyte of YAML."""
    istioctl = binaries.KUBERNETES.folder / "istioctl"
    charts = ("-f", "-", "-d", binaries.istio_charts())
    rendered = commands.run([istioctl, "manifest", "generate", *charts], text=json.dumps(settings))
    # libyaml's parser: the one written in Python would take half a minute
    manifests = [manifest for manifest in yaml.load_all(rendered, Loader=yaml.CSafeLoader) if manifest]
    if not manifests:
        raise TestbedError("istioctl rendered no manifests")
    stored.parent.mkdir(parents=True, exist_ok=True)
    partial = stored.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(manifests))
    partial.rename(stored)
