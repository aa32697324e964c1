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
        """Everything in the pid namespace."""
        return sum(self.by_session.values()) + sum(self.by_pod.values())


def measure(supervisor_pid: int) -> MemoryUse:
    """Add up the memory of every process in the supervisor's pid namespace."""
    namespace = Path(f"/proc/{supervisor_pid}/ns/pid").readlink()
    by_session: dict[int, int] = defaultdict(int)
    by_pod: dict[str, int] = defaultdict(int)
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            if (process / "ns" / "pid").readlink() != namespace:
                continue
            proportional = _field(process / "smaps_rollup", "Pss") * 1024
            pod = _POD.search((process / "cgroup").read_text())
            if pod:
                by_pod[pod.group(1)] += proportional
            else:
                by_session[_field(process / "status", "NSsid")] += proportional
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        except PermissionError:
            continue  # more privileged than we are, so none of ours
    return MemoryUse(dict(by_session), dict(by_pod))


def _field(file: Path, name: str) -> int:
    """Return the last number in a line like ``Pss:   123 kB`` or ``NSsid: 4711 15``; 0 if there is no such line."""
    for line in file.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(re.findall(r"\d+", line)[-1])
    return 0
