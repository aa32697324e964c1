"""Prometheus, as a process beside the cluster: scrapes istiod, the sidecars and the kubelet's cAdvisor."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import yaml

from testbed import credentials
from testbed.namespaces import NODE_ADDRESS
from testbed.paths import RunPaths
from testbed.processes import Processes

_SCRAPE_SECONDS = 5


def start(paths: RunPaths, processes: Processes, port: int) -> None:
    """Start Prometheus on a port of the testbed's loopback, which is forwarded to the machine's."""
    settings = paths.config / "prometheus.yaml"
    settings.write_text(yaml.safe_dump(_settings(paths)))
    argv: list[str | Path] = [
        "prometheus",
        f"--config.file={settings}",
        f"--storage.tsdb.path={paths.data / 'prometheus'}",
        "--storage.tsdb.retention.time=6h",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    processes.start("prometheus", argv)
    kubeconfig = credentials.component_kubeconfig(paths, "prometheus")
    processes.start_python("scrape-targets", "testbed.scrape_targets", kubeconfig, _targets(paths))


def is_ready(port: int) -> bool:
    """Whether Prometheus answers through the forwarder."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"http://127.0.0.1:{port}/-/ready", timeout=5
        ) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _settings(paths: RunPaths) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": f"{_SCRAPE_SECONDS}s", "scrape_timeout": f"{_SCRAPE_SECONDS}s"},
        "scrape_configs": [
            # istiod and the sidecars; the targets carry their job, path, namespace and pod as labels
            {"job_name": "pods", "file_sd_configs": [{"files": [str(_targets(paths))]}]},
            {
                "job_name": "cadvisor",
                "scheme": "https",
                "tls_config": {"insecure_skip_verify": True},  # the kubelet signs its own certificate
                "metrics_path": "/metrics/cadvisor",
                "static_configs": [{"targets": [f"{NODE_ADDRESS}:10250"]}],
            },
        ],
    }


def _targets(paths: RunPaths) -> Path:
    return paths.config / "prometheus-targets.json"
