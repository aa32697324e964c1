"""Installs the Debian packages that the testbed uses, without starting any service of theirs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.errors import TestbedError
from testbed.progress import Progress

_PACKAGE_OF_PROGRAM = {
    "containerd": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "/usr/sbin/xtables-nft-multi": "iptables",
    "conntrack": "conntrack",
    "curl": "curl",
    "prometheus": "prometheus",
    "hey": "hey",
    "openssl": "openssl",
    "gcc": "gcc",
    "/usr/lib/x86_64-linux-gnu/libc.a": "libc6-dev",
    "ip": "iproute2",
}
_POLICY = Path("/usr/sbin/policy-rc.d")


def ensure(progress: Progress) -> None:
    """Install what is missing.

    Raises:
        TestbedError: apt-get failed, or is not there.
    """
    missing = sorted({package for program, package in _PACKAGE_OF_PROGRAM.items() if not shutil.which(program)})
    missing = [package for package in missing if not _is_library_there(package)]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise TestbedError(f"install these yourself, apt-get is not there: {' '.join(missing)}")
    with progress.step(f"installing Debian packages: {' '.join(missing)}"), _no_services_started():
        _apt_get("update", "-q")
        _apt_get("install", "-q", "-y", "--no-install-recommends", *missing)


def _is_library_there(package: str) -> bool:
    """shutil.which() finds only what is executable; a library is not."""
    return any(Path(program).is_file() for program, owner in _PACKAGE_OF_PROGRAM.items() if owner == package)


@contextmanager
def _no_services_started() -> Iterator[None]:
    """Make the packages' scripts start nothing, by Debian's own switch for this."""
    if _POLICY.exists():
        yield  # the machine's owner has a policy already
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def _apt_get(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["apt-get", *arguments], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise TestbedError(f"apt-get {' '.join(arguments)} failed:\n{(done.stdout + done.stderr)[-2000:]}")
