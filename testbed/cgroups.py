"""The testbed's own cgroup in every hierarchy: a child of the caller's, removed without a trace afterwards.

With version 1 a child of the caller's cgroup, so that whatever limits the caller also limits the testbed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from testbed.paths import cache_root

_MOUNTS = Path("/proc/self/mounts")
_MEMBERSHIP = Path("/proc/self/cgroup")
#: The testbed's weight against everything else on the machine, which has 1024 and 100 a process or group: it holds a
#: hundred processes, and starves behind a single compiler otherwise.
_CPU_WEIGHTS = {"cpu.shares": "16384", "cpu.weight": "1600"}


def folder_name(name: str) -> str:
    """Return what the cgroup of the testbed of this name is called, in each hierarchy; another one for each cache."""
    return f"meshguard-testbed-{name}-{hashlib.sha256(bytes(cache_root())).hexdigest()[:6]}"


def create(name: str) -> list[Path]:
    """Create the testbed's cgroup below the caller's, in each hierarchy.

    Returns:
        Its folders, one for each hierarchy.
    """
    folders = [parent / folder_name(name) for parent in own_cgroups()]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # version 1 leaves these empty in a new cgroup, and then it can hold no process
            if (folder / setting).exists() and not (folder / setting).read_text().strip():
                (folder / setting).write_text((folder.parent / setting).read_text())
        for setting, weight in _CPU_WEIGHTS.items():
            if (folder / setting).exists():
                (folder / setting).write_text(weight)
    return folders


def enter(folders: list[Path]) -> None:
    """Move the calling process into the cgroup."""
    for folder in folders:
        (folder / "cgroup.procs").write_text("0")


def make_room_in_own_root() -> None:
    """Move the calling process, the first one in its cgroup namespace, into a cgroup beside the pods'.

    The processes of the control plane then weigh together what one process weighs, half of what all pods weigh, and
    cannot starve what is measured. In version 2 it is a rule besides: a cgroup with children may hold no process.
    """
    root = _version_2_root() or _mounts().get("cpu")
    if root:
        (root / "daemons").mkdir()
        (root / "daemons" / "cgroup.procs").write_text("0")


def remove(folders: list[Path]) -> None:
    """Remove the cgroup with all that was made inside it. The processes must be gone.

    Raises:
        OSError: a process still lives in it.
    """
    for folder in folders:
        if folder.is_dir():
            below = sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True)
            for path in [*below, folder]:
                path.rmdir()


def own_cgroups() -> list[Path]:
    """Return the folder in each mounted hierarchy below which the testbed's own goes."""
    root = _version_2_root()
    if root:
        # the caller's own holds the caller: by the rule of version 2 it has no controllers for children
        for controller in (root / "cgroup.controllers").read_text().split():
            (root / "cgroup.subtree_control").write_text(f"+{controller}")
        return [root]
    mounts = _mounts()
    folders: list[Path] = []
    for line in _MEMBERSHIP.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        mount = mounts.get(controllers.split(",")[0])
        if mount:
            folders.append(mount / path.lstrip("/"))
    return folders


def _mounts() -> dict[str, Path]:
    """Return where each hierarchy is mounted, by controller; version 2's has the empty name."""
    mounts: dict[str, Path] = {}
    for line in _MOUNTS.read_text().splitlines():
        _, mount_point, kind, options, *_ = line.split()
        if kind == "cgroup2":
            mounts[""] = Path(mount_point)
        elif kind == "cgroup":
            mounts.update(dict.fromkeys(options.split(","), Path(mount_point)))
    return mounts


def _version_2_root() -> Path | None:
    """Return the mount of cgroups version 2 if there is no hierarchy of version 1 beside it."""
    mounts = _mounts()
    return mounts[""] if set(mounts) == {""} else None
