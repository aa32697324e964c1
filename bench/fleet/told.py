"""When the API server had the last workload's write, and how many requests somebody sent: by its own audit log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class AuditLog:
    """The log from a certain moment on."""

    path: Path
    offset: int

    @classmethod
    def from_now(cls, path: Path) -> AuditLog:
        """Skip everything before."""
        return cls(path, path.stat().st_size)

    def workloads_told(self) -> tuple[int, float]:
        """Return how many writes of workloads there were, and when the last one was answered (seconds since 1970)."""
        ended = [
            datetime.fromisoformat(event["stageTimestamp"].replace("Z", "+00:00")).timestamp()
            for event in self._events(b'"resource":"deployments"')
            if event["verb"] in ("patch", "update")
            and event["user"]["username"] == "admin"
            and not event["objectRef"].get("subresource")
            and event["responseStatus"]["code"] < 300
            and "dryRun" not in event["requestURI"]
        ]
        return len(ended), max(ended, default=0.0)

    def requests_of(self, agent: str) -> int:
        """Return how many requests were sent under a User-Agent that begins so."""
        return sum(event.get("userAgent", "").startswith(agent) for event in self._events(agent.encode()))

    def _events(self, marker: bytes) -> Iterator[Mapping[str, Any]]:
        with self.path.open("rb") as log:
            log.seek(self.offset)
            for line in log:
                if marker in line and line.endswith(b"\n"):
                    yield json.loads(line)
