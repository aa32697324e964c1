"""Reads what a simulated fleet has written down so far."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meshguard.sim.fleet.parts import Happening
from meshguard.sim.fleet.record import Sample


@dataclass
class FleetLog:
    """Everything up to now; `begins` is the time of day at second 0."""

    begins: str = ""
    scenario: str = ""
    samples: list[Sample] = field(default_factory=list)
    nodes: list[Mapping[str, float]] = field(default_factory=list)
    """Used memory of each node in MiB, for each sample."""
    happenings: list[Happening] = field(default_factory=list)

    def first(self, kind: str, subject: str = "") -> Happening | None:
        """The first happening of a kind, perhaps of one subject."""
        return next((h for h in self.happenings if h.kind == kind and subject in ("", h.subject)), None)

    def between(self, begin: float, end: float) -> Sequence[Sample]:
        """The samples of a time."""
        return [s for s in self.samples if begin <= s.at <= end]


class Follower:
    """Reads a log that grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0
        self.log = FleetLog()

    def look(self) -> FleetLog:
        """Read what has been added. A line that is not complete yet is left for the next look."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                data = file.read()
        except FileNotFoundError:
            return self.log
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self._take(json.loads(line))
        return self.log

    def _take(self, row: Mapping[str, object]) -> None:
        match row:
            case {"began": {"begins": begins, "scenario": scenario}}:
                self.log.begins, self.log.scenario = str(begins), str(scenario)
            case {"sample": dict(sample), "nodes": dict(nodes)}:
                self.log.samples.append(Sample(**sample))
                self.log.nodes.append(nodes)
            case {"happening": dict(happening)}:
                self.log.happenings.append(Happening(**happening))
