"""What a testbed could leave behind on the machine, in a form that can be compared before and after."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from testbed import cgroups
from testbed.api import Testbed
from testbed.paths import PACKAGE, cache_root
from testbed.waiting import wait_until

_FOLDERS = (
    "/etc",
    "/opt",
    "/run",
    "/srv",
    "/usr/libexec",
    "/usr/local",
    "/usr/sbin",
    "/var/lib",
    "/var/log",
    "/var/cache",
    "/var/tmp",
)
_NOT_OURS = ("/var/lib/apt", "/var/lib/dpkg", "/var/cache/apt", "/var/log/apt", "__pycache__")
_TUNABLES = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/netfilter/nf_conntrack_max",
    "fs/inotify/max_user_instances",
)


@dataclass(frozen=True)
class Machine:
    """The state of the machine outside any testbed's namespaces."""

    routes: str
    routing_rules: str
    links: frozenset[str]
    firewall: str
    mounts: tuple[str, ...]
    cgroups: frozenset[str]
    files: frozenset[str]
    tunables: tuple[str, ...]
    processes: frozenset[str]


def look(name: str) -> Machine:
    """Take down the state of the machine, leaving out the testbeds of other names.

    The components keep their temporary files in the cache; /tmp itself belongs to everybody and tells nothing.
    """
    return Machine(
        routes=_output("ip", "route", "show", "table", "all"),
        routing_rules=_output("ip", "rule"),
        links=frozenset(line.split(":")[1].strip() for line in _output("ip", "-o", "link").splitlines()),
        firewall=_without_counters(_output("iptables-save") + _output("ip6tables-save")),
        mounts=tuple(Path("/proc/self/mounts").read_text().splitlines()),
        cgroups=frozenset(_cgroups(name)),
        files=frozenset(_files()),
        tunables=tuple(f"{key}={_read(Path('/proc/sys') / key)}" for key in _TUNABLES),
        processes=frozenset(processes_of(name).values()),
    )


def processes_of(name: str) -> dict[int, str]:
    """Return the command line of each process that is in the testbed's cgroup, or names its folder, by id."""
    marks = (f"/{cgroups.folder_name(name)}", f"{cache_root()}/run/{name}/")
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            text = _read(folder / "cgroup") + _read(folder / "cmdline").replace("\0", " ")
            if any(mark in text for mark in marks):
                found[int(folder.name)] = text
    return found


def kill_all(name: str) -> None:
    """Send SIGKILL to every process of a testbed, in no particular order, and wait until they have gone."""
    for pid in processes_of(name):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # its pid namespace died with the first one
    wait_until(lambda: not processes_of(name), 60, "the killed processes to go")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m testbed`` as a person would."""
    argv = [sys.executable, "-m", "testbed", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, cwd=PACKAGE.parent)


def identity_of(cluster: Testbed) -> str:
    """Return what tells this cluster from any other: the UID of its kube-system namespace."""
    return cluster.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")


def _cgroups(name: str) -> list[str]:
    """Return all cgroups but those of other testbeds, and of other programs that come and go beside this one."""
    parents = {own.parent: own for own in cgroups.own_cgroups() if (own.parent / "cgroup.procs").exists()}

    def is_a_strangers(folder: Path) -> bool:
        return any(parents[at.parent] != at for at in (folder, *folder.parents) if at.parent in parents)

    return [
        folder
        for folder, _, _ in os.walk("/sys/fs/cgroup")
        if ("meshguard-testbed-" not in folder or cgroups.folder_name(name) in folder)
        and not is_a_strangers(Path(folder))
    ]


def _files() -> list[str]:
    return [
        str(Path(folder) / entry)
        for top in _FOLDERS
        for folder, folders, files in os.walk(top)
        for entry in (*folders, *files)
        if not any(part in f"{folder}/{entry}" for part in (*_NOT_OURS, str(cache_root())))
    ]


def _without_counters(saved: str) -> str:
    return "\n".join(line.split("[")[0] for line in saved.splitlines() if not line.startswith("#"))


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
