"""Tells Prometheus which pods to scrape: writes its target file whenever a pod comes or goes.

Debian's Prometheus is built without its own Kubernetes discovery; it re-reads a target file at once when that changes.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from testbed.api_client import ApiClient
from testbed.errors import TestbedError

_SECONDS_BETWEEN_ATTEMPTS = 1
_ISTIOD_METRICS = 15014
_SIDECAR_METRICS = 15020


def targets(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the scrape targets that these pods have, in the form of Prometheus' target files."""
    found: list[dict[str, Any]] = []
    for pod in pods:
        address = pod.get("status", {}).get("podIP")
        if not address or pod["status"].get("phase") in ("Succeeded", "Failed"):
            continue
        labels = {"namespace": pod["metadata"]["namespace"], "pod": pod["metadata"]["name"]}
        containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
        if any(container["name"] == "istio-proxy" for container in containers):
            path = {"__metrics_path__": "/stats/prometheus", "job": "sidecars"}
            found.append({"targets": [f"{address}:{_SIDECAR_METRICS}"], "labels": {**labels, **path}})
        if pod["metadata"].get("labels", {}).get("app") == "istiod":
            found.append({"targets": [f"{address}:{_ISTIOD_METRICS}"], "labels": {**labels, "job": "istiod"}})
    return sorted(found, key=lambda target: str(target["targets"]))


def follow(client: ApiClient, file: Path) -> None:
    """Keep the target file up to date while the API server's watch lasts."""
    listed = client.get("/api/v1/pods")
    pods = {pod["metadata"]["uid"]: pod for pod in listed["items"]}
    _write(file, list(pods.values()))
    for event in client.watch("/api/v1/pods", listed["metadata"]["resourceVersion"]):
        if event["type"] == "ERROR":
            return  # the version is too old to watch from: list again
        pod = event["object"]
        if event["type"] == "DELETED":
            pods.pop(pod["metadata"]["uid"], None)
        else:
            pods[pod["metadata"]["uid"]] = pod
        _write(file, list(pods.values()))


def _write(file: Path, pods: list[dict[str, Any]]) -> None:
    text = json.dumps(targets(pods))
    if not file.exists() or file.read_text() != text:
        partial = file.with_suffix(".partial")
        partial.write_text(text)
        partial.rename(file)


def main() -> None:
    """Follow the pods until killed. Arguments: a kubeconfig and the target file."""
    client = ApiClient(Path(sys.argv[1]))
    while True:
        try:
            follow(client, Path(sys.argv[2]))
        except (TestbedError, OSError) as error:
            print(f"the watch ended, trying again: {error}", file=sys.stderr, flush=True)
            time.sleep(_SECONDS_BETWEEN_ATTEMPTS)


if __name__ == "__main__":
    main()
