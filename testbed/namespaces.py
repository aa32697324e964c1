"""What a testbed's own namespaces look like from the inside: mounts, addresses, routes, kernel settings.

Runs once, in the supervisor, before anything else is started. All of it disappears with the namespaces.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from testbed import cgroups

NODE_ADDRESS = "10.96.255.1"
"""Address of the API server and of the node. On ``lo``, because a dummy device is not there on every kernel; outside
127/8, because Kubernetes refuses loopback addresses; outside the service range, or kube-proxy would claim it."""

SERVICE_RANGE = "10.96.0.0/17"
POD_RANGE = "10.244.0.0/16"
DNS_ADDRESS = "10.96.0.10"
API_SERVICE_ADDRESS = "10.96.0.1"

_CLONE_NEWNS = 0x00020000
_CLONE_NEWCGROUP = 0x02000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000

# The kubelet insists on these values and would set them for the whole machine. It gets files of its own instead.
_KUBELET_TUNABLES = {
    "/proc/sys/vm/overcommit_memory": "1",
    "/proc/sys/vm/panic_on_oom": "0",
    "/proc/sys/kernel/panic": "10",
    "/proc/sys/kernel/panic_on_oops": "1",
    "/proc/sys/kernel/keys/root_maxkeys": "1000000",
    "/proc/sys/kernel/keys/root_maxbytes": "25000000",
}

_NETWORK_SETTINGS = {
    "/proc/sys/net/ipv4/ip_forward": "1",
    "/proc/sys/net/ipv4/conf/all/route_localnet": "1",
    "/proc/sys/net/ipv4/ip_local_port_range": "20000 60999",
    "/proc/sys/net/core/somaxconn": "4096",
}


@dataclass(frozen=True)
class Settings:
    """Folders of the run that the namespaces show in the place of the machine's own."""

    var_log: str
    scratch: str
    reserved_ports: tuple[int, ...]
    """Ports that no outgoing connection may occupy, because a component will listen on them."""


def unshare() -> None:
    """Leave the machine's network, mounts and cgroups; the next child will be process 1 of a new pid namespace.

    Raises:
        OSError: the kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET | _CLONE_NEWNS | _CLONE_NEWCGROUP | _CLONE_NEWPID):
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


def prepare(settings: Settings) -> None:
    """Shape the namespaces that this process is the first one in.

    Raises:
        subprocess.CalledProcessError: a mount or an address was refused.
    """
    _run("mount", "--make-rprivate", "/")
    _run("mount", "-t", "proc", "proc", "/proc")
    _remount_cgroups()
    cgroups.make_room_in_own_root()
    scratch = Path(settings.scratch)
    _run("mount", "-t", "tmpfs", "tmpfs", "/run")
    _run("mount", "--bind", settings.var_log, "/var/log")
    _overlay("/var/lib", scratch)  # the CNI library insists on /var/lib/cni
    _replace_kubelet_tunables(scratch)
    reserved = ",".join(str(port) for port in settings.reserved_ports)
    Path("/proc/sys/net/ipv4/ip_local_reserved_ports").write_text(reserved)
    for path, value in _NETWORK_SETTINGS.items():
        Path(path).write_text(value)
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "address", "add", f"{NODE_ADDRESS}/32", "dev", "lo")
    # the API server calls webhooks by their service address: without a route the packet never meets kube-proxy's rules
    _run("ip", "route", "add", SERVICE_RANGE, "dev", "lo", "src", NODE_ADDRESS)


def _remount_cgroups() -> None:
    """Mount every cgroup hierarchy anew, so that its root is the testbed's own cgroup (a cgroup namespace)."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount_point, kind, options, *_ = line.split()
        if kind == "cgroup":
            wanted = [o for o in options.split(",") if o not in ("rw", "ro", "relatime", "nosuid", "nodev", "noexec")]
            if any(option.startswith("name=") for option in wanted):
                wanted = ["none", *wanted]
            _run("umount", mount_point)
            _run("mount", "-t", "cgroup", "-o", ",".join(wanted), "cgroup", mount_point)
        elif kind == "cgroup2":
            _run("umount", mount_point)
            _run("mount", "-t", "cgroup2", "cgroup2", mount_point)


def _overlay(folder: str, scratch: Path) -> None:
    """Let what is written below a folder of the machine go to the scratch folder instead."""
    upper, work = scratch / "upper", scratch / "work"
    upper.mkdir()
    work.mkdir()
    options = f"lowerdir={folder},upperdir={upper},workdir={work}"
    _run("mount", "-t", "overlay", "-o", options, "overlay", folder)


def _replace_kubelet_tunables(scratch: Path) -> None:
    for path, value in _KUBELET_TUNABLES.items():
        own = scratch / path.removeprefix("/proc/sys/").replace("/", "-")
        own.write_text(value + "\n")
        _run("mount", "--bind", str(own), path)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)
