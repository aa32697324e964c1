"""The control plane of a testbed cluster: etcd, API server, controller manager, scheduler."""

from __future__ import annotations

from pathlib import Path

from testbed import binaries, credentials
from testbed.namespaces import NODE_ADDRESS, POD_RANGE, SERVICE_RANGE
from testbed.paths import PACKAGE, RunPaths
from testbed.processes import Processes
from testbed.waiting import wait_until

_ETCD_CLIENTS = "http://127.0.0.1:2379"
_AUDIT_POLICY = PACKAGE / "manifests" / "audit-policy.yaml"


def start(paths: RunPaths, processes: Processes, api_port: int) -> None:
    """Start etcd and the API server, and wait until it is ready to serve; then the two others, that need it.

    Raises:
        TestbedError: the API server was not ready in time, or one of them died.
    """
    processes.start("etcd", _etcd(paths))
    processes.start("kube-apiserver", _api_server(paths, api_port))
    client = credentials.api_client(paths)

    def ready() -> bool:
        processes.require_running("etcd")
        processes.require_running("kube-apiserver")
        return client.is_ready()

    wait_until(ready, 60, "the API server to be ready")
    processes.start("kube-controller-manager", _controller_manager(paths))
    processes.start("kube-scheduler", _scheduler(paths))


def _etcd(paths: RunPaths) -> list[str | Path]:
    return [
        binaries.ETCD.folder / "etcd",
        f"--data-dir={paths.data / 'etcd'}",
        f"--listen-client-urls={_ETCD_CLIENTS}",
        f"--advertise-client-urls={_ETCD_CLIENTS}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--unsafe-no-fsync",  # the data does not outlive the testbed anyway
        "--quota-backend-bytes=4000000000",
        "--log-level=warn",
    ]


def _api_server(paths: RunPaths, port: int) -> list[str | Path]:
    secret = paths.credentials
    return [
        binaries.KUBERNETES.folder / "kube-apiserver",
        f"--etcd-servers={_ETCD_CLIENTS}",
        f"--secure-port={port}",
        "--bind-address=0.0.0.0",
        f"--advertise-address={NODE_ADDRESS}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--tls-cert-file={secret / 'apiserver.crt'}",
        f"--tls-private-key-file={secret / 'apiserver.key'}",
        f"--client-ca-file={secret / 'ca.crt'}",
        f"--token-auth-file={secret / 'tokens.csv'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={secret / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={secret / 'service-accounts.key'}",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged",
        "--kubelet-preferred-address-types=InternalIP",  # without it, exec looks for the node's name in DNS
        "--max-requests-inflight=2000",
        "--max-mutating-requests-inflight=1000",
        f"--audit-policy-file={_AUDIT_POLICY}",
        f"--audit-log-path={paths.audit_log}",
    ]


def _controller_manager(paths: RunPaths) -> list[str | Path]:
    return [
        binaries.KUBERNETES.folder / "kube-controller-manager",
        f"--kubeconfig={credentials.component_kubeconfig(paths, 'controller-manager')}",
        f"--service-account-private-key-file={paths.credentials / 'service-accounts.key'}",
        f"--root-ca-file={paths.credentials / 'ca.crt'}",  # without it no pod learns whom to trust
        "--flex-volume-plugin-dir=/run/volume-plugins",  # it creates it: not in the machine's /usr
        "--leader-elect=false",
        f"--cluster-cidr={POD_RANGE}",
        "--allocate-node-cidrs=false",
        "--kube-api-qps=200",
        "--kube-api-burst=200",
        "--concurrent-deployment-syncs=20",
        "--concurrent-replicaset-syncs=20",
        "--node-monitor-grace-period=120s",  # two busy cores must not look like a dead node
    ]


def _scheduler(paths: RunPaths) -> list[str | Path]:
    return [
        binaries.KUBERNETES.folder / "kube-scheduler",
        f"--kubeconfig={credentials.component_kubeconfig(paths, 'scheduler')}",
        "--leader-elect=false",
        "--kube-api-qps=300",
        "--kube-api-burst=300",
    ]
