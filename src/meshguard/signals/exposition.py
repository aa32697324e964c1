"""Prometheus' text format, as istiod and Envoy print it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_LINE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)(?:\s+-?\d+)?$")
_LABEL = re.compile(r'(?P<key>[a-zA-Z_]\w*)="(?P<value>(?:[^"\\]|\\.)*)"')
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


@dataclass(frozen=True, slots=True)
class Series:
    """One line: a metric with its labels and its value."""

    name: str
    labels: Mapping[str, str]
    value: float


def parse(text: str) -> Iterator[Series]:
    """Read all lines that are not comments. Raises ValueError for one that is neither."""
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise ValueError(f"not a line of Prometheus' text format: {line[:80]!r}")
        labels = {found["key"]: _unescaped(found["value"]) for found in _LABEL.finditer(match["labels"] or "")}
        yield Series(match["name"], labels, float(match["value"]))


def _unescaped(text: str) -> str:
    return re.sub(r"\\.", lambda match: _ESCAPES.get(match[0], match[0]), text) if "\\" in text else text


def total(series: Iterable[Series], name: str, labels: Mapping[str, str]) -> float | None:
    """Sum the series of a metric that carry these labels; None where there is none."""
    values = [s.value for s in series if s.name == name and labels.items() <= s.labels.items()]
    return sum(values) if values else None


def buckets(series: Iterable[Series], name: str) -> dict[float, float]:
    """The cumulative buckets of a histogram, summed over its label sets, by upper bound."""
    found: dict[float, float] = {}
    for one in series:
        if one.name == f"{name}_bucket" and "le" in one.labels:
            bound = float(one.labels["le"])
            found[bound] = found.get(bound, 0.0) + one.value
    return found


def quantile(cumulative: Mapping[float, float], share: float) -> float:
    """The upper bound of the bucket in which the quantile lies; 0 for a histogram without observations."""
    bounds = sorted(cumulative)
    if not bounds or cumulative[bounds[-1]] <= 0:
        return 0.0
    wanted = share * cumulative[bounds[-1]]
    return next(bound for bound in bounds if cumulative[bound] >= wanted)
