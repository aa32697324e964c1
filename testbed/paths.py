"""Where the testbed keeps its files: one cache for everything that is built, one folder for each running testbed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import TestbedError

PACKAGE = Path(__file__).resolve().parent
MAIN = "main"
"""Name of the full testbed; every other name is a light cluster."""

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")


def cache_root() -> Path:
    """Return the folder outside the checkout that holds every file that the testbed ever writes."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "meshguard-testbed"


@dataclass(frozen=True)
class RunPaths:
    """The files of one running testbed."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise TestbedError(
                f"'{self.name}' is not a testbed name: use up to 20 lower-case letters, digits and hyphens"
            )

    @property
    def root(self) -> Path:
        """Everything of this run; wiped by the next ``up``."""
        return cache_root() / "run" / self.name

    @property
    def lock(self) -> Path:
        """Held while ``up``, ``down`` or ``reset`` work on this testbed."""
        return cache_root() / "run" / f"{self.name}.lock"

    @property
    def control_socket(self) -> Path:
        """Where the supervisor listens. Unix sockets are not bound to a network namespace."""
        return self.root / "control.sock"

    @property
    def state(self) -> Path:
        """What ``up`` decided (ports, cgroups), for the commands that come later."""
        return self.root / "state.json"

    @property
    def kubeconfig(self) -> Path:
        """Works outside and inside the namespaces: the API server has the same port on both sides."""
        return self.root / "kubeconfig"

    @property
    def credentials(self) -> Path:
        """Certificates, service-account keys, tokens."""
        return self.root / "credentials"

    @property
    def config(self) -> Path:
        """Configuration files of the components."""
        return self.root / "config"

    @property
    def data(self) -> Path:
        """Data of the components: etcd, containerd, kubelet, Prometheus."""
        return self.root / "data"

    @property
    def temporary(self) -> Path:
        """Temporary files of the components, which would otherwise be left in /tmp."""
        return self.data / "tmp"

    @property
    def logs(self) -> Path:
        """Output of the components, and the API server's audit log. Survives ``down`` until the next ``up``."""
        return self.root / "logs"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log: one JSON event a line."""
        return self.logs / "audit.log"

    @property
    def var_log(self) -> Path:
        """What the namespaces see as /var/log; the kubelet deletes the logs of dead pods from it."""
        return self.root / "var-log"

    @property
    def container_logs(self) -> Path:
        """Every container's log, to its end, also of pods that are gone. Survives ``down`` until the next ``up``."""
        return self.logs / "containers"

    def component_log(self, component: str) -> Path:
        """Return the file that holds the output of a component."""
        return self.logs / f"{component}.log"
