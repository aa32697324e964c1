"""The one real node: containerd with the testbed's images, kubelet, kube-proxy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from testbed import binaries, credentials, image_store
from testbed.commands import run_inside
from testbed.namespaces import DNS_ADDRESS, NODE_ADDRESS, POD_RANGE
from testbed.paths import RunPaths
from testbed.processes import Processes
from testbed.waiting import wait_until

NAME = "node1"
_SOCKET = "/run/containerd/containerd.sock"
_LOAD = ("ctr", "-a", _SOCKET, "-n", "k8s.io", "images", "import")


def start_containerd(paths: RunPaths, processes: Processes, archives: list[Path]) -> None:
    """Start containerd with the images in its store.

    Raises:
        TestbedError: it did not come up, or an image could not be loaded.
    """
    settings = paths.config / "containerd.toml"
    settings.write_text(_containerd_settings(paths))
    network = paths.config / "cni"
    network.mkdir(exist_ok=True)
    (network / "10-pods.conflist").write_text(json.dumps(_POD_NETWORK))
    stored = image_store.folder(archives)
    if stored.is_dir():
        image_store.copy(stored, _store(paths))
        _run_containerd(paths, processes)
        return
    _run_containerd(paths, processes)
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda archive: run_inside(paths, [*_LOAD, archive]), archives):
            pass
    processes.stop("containerd")  # its databases are whole on the disk only when it has ended
    image_store.keep(_store(paths), stored)
    _run_containerd(paths, processes)


def load_images(paths: RunPaths, archives: Sequence[Path]) -> None:
    """Load images into a running containerd; they stay until the next `up` from nothing. Raises TestbedError."""
    for archive in archives:
        run_inside(paths, [*_LOAD, archive])


def _run_containerd(paths: RunPaths, processes: Processes) -> None:
    processes.start("containerd", ["containerd", "--config", paths.config / "containerd.toml"])

    def serving() -> bool:
        processes.require_running("containerd")
        return run_inside(paths, ["ctr", "-a", _SOCKET, "version"], check=False).returncode == 0

    wait_until(serving, 60, "containerd to serve")


def _store(paths: RunPaths) -> Path:
    return paths.data / "containerd"


def start_kubelet(paths: RunPaths, processes: Processes) -> None:
    """Start the kubelet and kube-proxy."""
    settings = paths.config / "kubelet.yaml"
    settings.write_text(yaml.safe_dump(_KUBELET))
    kubelet: list[str | Path] = [
        binaries.KUBERNETES.folder / "kubelet",
        f"--config={settings}",
        f"--kubeconfig={credentials.component_kubeconfig(paths, 'kubelet')}",
        f"--root-dir={paths.data / 'kubelet'}",
        f"--cert-dir={paths.data / 'kubelet' / 'pki'}",
        f"--hostname-override={NAME}",
        f"--node-ip={NODE_ADDRESS}",
    ]
    processes.start("kubelet", kubelet)
    proxy: list[str | Path] = [
        binaries.KUBERNETES.folder / "kube-proxy",
        f"--kubeconfig={credentials.component_kubeconfig(paths, 'kube-proxy')}",
        "--proxy-mode=iptables",
        f"--hostname-override={NAME}",
        f"--cluster-cidr={POD_RANGE}",
        "--conntrack-max-per-core=0",  # a limit of the whole machine: leave it alone
    ]
    processes.start("kube-proxy", proxy)


# Routed point-to-point links instead of a bridge: an answer between two pods then always passes the node, where the
# service address is translated back, whether or not the kernel can filter bridged packets.
_POD_NETWORK = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "ptp",
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": POD_RANGE}]],
                "routes": [{"dst": "0.0.0.0/0"}],
                "dataDir": "/run/cni",
            },
        }
    ],
}

_KUBELET = {
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "kind": "KubeletConfiguration",
    "address": NODE_ADDRESS,
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"},  # its address exists inside the testbed only
    "cgroupDriver": "cgroupfs",
    "failCgroupV1": False,
    "failSwapOn": False,
    "clusterDNS": [DNS_ADDRESS],
    "clusterDomain": "cluster.local",
    "resolvConf": "/dev/null",
    "maxPods": 200,
    "containerRuntimeEndpoint": f"unix://{_SOCKET}",
    "podCIDR": POD_RANGE,
    "evictionHard": {"memory.available": "100Mi"},  # the machine's disk is none of the testbed's business
    "containerLogMaxSize": "200Mi",
    "imageGCHighThresholdPercent": 100,  # never: no registry could bring an image back
    "registryPullQPS": 0,
    "serializeImagePulls": False,
    "volumePluginDir": "/run/volume-plugins",
    "kubeAPIQPS": 100,
    "kubeAPIBurst": 200,
}


def _containerd_settings(paths: RunPaths) -> str:
    cni_programs = "/usr/lib/cni"
    return f"""version = 2
root = "{_store(paths)}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]  # it would create /opt/containerd
[grpc]
  address = "{_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "local/pause:dev"
  restrict_oom_score_adj = true  # lowering it takes a capability that a container or virtual machine may lack
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_programs}"
    conf_dir = "{paths.config / "cni"}"
"""
