"""The testbed for tests: ``from testbed.api import Testbed``."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from testbed import commands, istio, lifecycle, status
from testbed.errors import TestbedError
from testbed.paths import MAIN, RunPaths
from testbed.progress import Progress

__all__ = ["Testbed", "TestbedError"]


class Testbed:
    """A running testbed: the full one, or a light cluster by its name."""

    __test__ = False

    def __init__(self, name: str = MAIN) -> None:
        self._paths = RunPaths(name)

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig for tools outside; its contexts are ``testbed``, ``testbed-as-viewer`` and so on."""
        return self._paths.kubeconfig

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, one JSON event a line."""
        return self._paths.audit_log

    @property
    def logs_dir(self) -> Path:
        """Every container's log, of dead pods too: ``NAMESPACE_POD_UID/CONTAINER/RESTART.log``."""
        return self._paths.container_logs

    @property
    def prometheus_url(self) -> str | None:
        """Address of Prometheus on the machine's loopback; None for a light cluster."""
        return status.read(self._paths).prometheus_url

    def up(self) -> None:
        """Make sure that it is up; see :func:`testbed.lifecycle.up`."""
        lifecycle.up(self._paths, Progress())

    def down(self) -> None:
        """End it without a trace."""
        lifecycle.down(self._paths, Progress())

    def reset(self) -> None:
        """Replace it by a fresh one under the same addresses."""
        lifecycle.reset(self._paths, Progress())

    def status(self) -> dict[str, Any]:
        """Return what ``status -o json`` prints."""
        return status.read(self._paths).as_json()

    def exec(self, argv: Sequence[str | Path], check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside the namespaces, with KUBECONFIG set.

        Raises:
            TestbedError: the testbed is not up, or (with ``check``) the command failed.
        """
        return commands.run_inside(self._paths, argv, check)

    def kubectl(self, *arguments: str | Path, text: str | None = None, check: bool = True) -> str:
        """Run kubectl as the administrator and return its output.

        Raises:
            TestbedError: it failed (with ``check``).
        """
        return commands.kubectl(self._paths, *arguments, text=text, check=check)

    def set_mesh_retries(self, enabled: bool) -> None:
        """Switch Istio's default retries on or off, and wait until every proxy has it."""
        istio.set_mesh_retries(enabled, self._paths)
