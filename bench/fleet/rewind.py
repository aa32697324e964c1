"""Puts a light cluster back to an earlier moment: the way back through the webhook would take minutes each time.

All that a fake fleet is lies in etcd. So everything is stopped, etcd's folder is exchanged, and all is started again.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from testbed import controlplane, light, light_istiod, sandbox
from testbed.paths import RunPaths
from testbed.processes import Processes

_STOPPED = (
    "kwok",
    *light_istiod.PROCESSES,
    "kube-scheduler",
    "kube-controller-manager",
    "kube-apiserver",
    "etcd",
)


@dataclass(frozen=True)
class Rewind:
    """The moments of one cluster that can be gone back to, by name."""

    paths: RunPaths

    def save(self, moment: str) -> None:
        """Remember the cluster as it is now. Everything restarts meanwhile."""
        self._exchange(moment, back=False)

    def to(self, moment: str) -> None:
        """Make the cluster what it was at that moment, and return when pods are injected again."""
        self._exchange(moment, back=True)

    def _exchange(self, moment: str, *, back: bool) -> None:
        processes = Processes(self.paths)
        for name in _STOPPED:
            processes.stop(name)
        now, then = self.paths.data / "etcd", self.paths.data / f"etcd-{moment}"
        source, target = (then, now) if back else (now, then)
        if target.exists():
            shutil.rmtree(target)
        shutil.copytree(source, target)
        state = sandbox.read_state(self.paths)
        assert state is not None
        controlplane.start(self.paths, processes, state.ports[0])
        light.start_kwok(self.paths, processes)
        light_istiod.start(self.paths)
