"""The testbed's own cgroup in every hierarchy: a child of the caller's, removed without a trace afterwards.

A child of the caller's cgroup, not of the root, so that whatever limits the caller also limits the testbed.
"""

from __future__ import annotations

from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")
_MEMBERSHIP = Path("/proc/self/cgroup")


def folder_name(name: str) -> str:
    """Return what the cgroup of the testbed of this name is called, in each hierarchy."""
    return f"meshguard-testbed-{name}"


def create(name: str) -> list[Path]:
    """Create the testbed's cgroup below the caller's, in each hierarchy.

    Returns:
        Its folders, one for each hierarchy.
    """
    folders = [parent / folder_name(name) for parent in _own_cgroups()]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # version 1 leaves these empty in a new cgroup, and then it can hold no process
            if (folder / setting).exists() and not (folder / setting).read_text().strip():
                (folder / setting).write_text((folder.parent / setting).read_text())
    return folders


def enter(folders: list[Path]) -> None:
    """Move the calling process into the cgroup."""
    for folder in folders:
        (folder / "cgroup.procs").write_text("0")


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


def _own_cgroups() -> list[Path]:
    """Return the caller's folder in each mounted hierarchy."""
    mounts: dict[str, Path] = {}
    for line in _MOUNTS.read_text().splitlines():
        _, mount_point, kind, options, *_ = line.split()
        if kind == "cgroup2":
            mounts[""] = Path(mount_point)
        elif kind == "cgroup":
            for option in options.split(","):
                mounts[option] = Path(mount_point)
    folders: list[Path] = []
    for line in _MEMBERSHIP.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        mount = mounts.get(controllers.split(",")[0])
        if mount:
            folders.append(mount / path.lstrip("/"))
    return folders
