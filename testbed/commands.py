"""Runs commands against a testbed: inside its namespaces, or kubectl from outside."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from testbed import binaries, sandbox
from testbed.errors import TestbedError
from testbed.paths import RunPaths

_TIMEOUT_SECONDS = 300


def environment(paths: RunPaths) -> dict[str, str]:
    """Return the environment for tools: KUBECONFIG, and kubectl and istioctl of the right version on the PATH."""
    folders = [str(build.folder) for build in (binaries.KUBECTL, binaries.KUBERNETES)]
    path = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return {**os.environ, "KUBECONFIG": str(paths.kubeconfig), "PATH": path}


def run_inside(paths: RunPaths, argv: Sequence[str | Path], check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command inside the namespaces and return what it printed.

    Raises:
        TestbedError: the testbed is not up, or (with ``check``) the command failed.
    """
    return _run(sandbox.inside(paths, argv), None, environment(paths), check)


def kubectl(paths: RunPaths, *arguments: str | Path, text: str | None = None, check: bool = True) -> str:
    """Run kubectl as the administrator and return its output.

    Parameters:
        text: what it reads on standard input.

    Raises:
        TestbedError: it failed (with ``check``).
    """
    program = str(binaries.KUBECTL.folder / "kubectl")
    argv = [program, *(str(argument) for argument in arguments)]
    return _run(argv, text, environment(paths), check).stdout


def run(argv: Sequence[str | Path], text: str | None = None) -> str:
    """Run a command that needs no testbed and return its output.

    Raises:
        TestbedError: it failed.
    """
    return _run([str(argument) for argument in argv], text, dict(os.environ), check=True).stdout


def apply(paths: RunPaths, manifests: str) -> None:
    """Apply manifests (YAML) server-side, so that applying them again changes nothing."""
    kubectl(paths, "apply", "--server-side", "--force-conflicts", "--field-manager=testbed", "-f", "-", text=manifests)


def apply_objects(paths: RunPaths, objects: Sequence[Mapping[str, Any]]) -> None:
    """Apply parsed manifests, as :func:`apply` does."""
    apply(paths, json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def _run(argv: list[str], text: str | None, env: dict[str, str], check: bool) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        argv,
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=True,
        text=True,
        env=env,
        timeout=_TIMEOUT_SECONDS,
    )
    if check and done.returncode:
        shown = " ".join(Path(argv[0]).name if i == 0 else part for i, part in enumerate(argv))
        raise TestbedError(f"`{shown}` failed with status {done.returncode}:\n{done.stderr.strip()[-2000:]}")
    return done
