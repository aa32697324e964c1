"""How much memory the processes of a testbed take: proportional set size, which counts shared pages once."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_POD = re.compile(r"pod([0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{32})")


@dataclass(frozen=True)
class MemoryUse:
    """Bytes of proportional set size."""

    by_session: dict[int, int]
    """Session id inside the pid namespace: a component is the leader of its session."""
    by_pod: dict[str, int]
    """Pod UID; a static process outside any pod is not in it."""

    @property
    def total(self) -> int:
        """Every process of the testbed."""
        return sum(self.by_session.values()) + sum(self.by_pod.values())


def measure(cgroup_name: str) -> MemoryUse:
    """Add up the memory of every process in the cgroup of this name, and in those below it."""
    cgroup = f"/{cgroup_name}/"
    by_session: dict[int, int] = defaultdict(int)
    by_pod: dict[str, int] = defaultdict(int)
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            membership = (process / "cgroup").read_text().replace("\n", "/\n")
            if cgroup not in membership:
                continue
            proportional = _field(process / "smaps_rollup", "Pss") * 1024
            pod = _POD.search(membership)
            if pod:
                by_pod[pod.group(1)] += proportional
            else:
                by_session[_field(process / "status", "NSsid")] += proportional
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
    return MemoryUse(dict(by_session), dict(by_pod))


def _field(file: Path, name: str) -> int:
    """Return the last number in a line like ``Pss:   123 kB`` or ``NSsid: 4711 15``; 0 if there is no such line."""
    for line in file.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(re.findall(r"\d+", line)[-1])
    return 0
