"""Median and spread of a few runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """What the same thing took, again and again. Seconds."""

    seconds: tuple[float, ...]

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Sample:
        """Keep the runs in their order."""
        return cls(tuple(seconds))

    @property
    def median(self) -> float:
        """The middle run."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """From the fastest to the slowest."""
        return max(self.seconds) - min(self.seconds)

    def __str__(self) -> str:
        return f"{self.median:6.2f} s  (spread {self.spread:.2f} s; {', '.join(f'{s:.2f}' for s in self.seconds)})"
