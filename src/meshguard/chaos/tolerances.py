"""Tolerances for the answers of our probes: `type: probe` with these functions.

Chaos Toolkit hands the answer over as `value`; its validation wants a default. What was not seen is never tolerated.
"""

from typing import Any, Dict, Optional

__all__ = ["at_least", "at_most", "healthy", "is_met", "single_version"]

Answer = Optional[Dict[str, Any]]


def at_most(threshold: float, figure: str = "max", value: Answer = None) -> bool:
    """The figure (`max`, `min`, `sum`) of a signal is at most the threshold, and everything was seen."""
    return _seen(value, figure) and value is not None and bool(value[figure] <= threshold)


def at_least(threshold: float, figure: str = "min", empty: bool = False, value: Answer = None) -> bool:
    """The figure (`max`, `min`, `sum`) of a signal is at least the threshold, and everything was seen.

    Args:
        threshold: In the signal's unit.
        figure: Of the samples.
        empty: What it means when there is nothing to measure, such as an edge that nobody uses.
        value: The answer.
    """
    if value is not None and not value["samples"] and not value["unseen"]:
        return empty
    return _seen(value, figure) and value is not None and bool(value[figure] >= threshold)


def healthy(value: Answer = None) -> bool:
    """The hypothesis is healthy: every probe of it was answered, and holds."""
    return value is not None and bool(value["health"] == "healthy")


def is_met(value: Answer = None) -> bool:
    """What was awaited came in time."""
    return value is not None and bool(value["met"])


def single_version(value: Answer = None) -> bool:
    """All connected proxies are of one version, and every istiod was asked."""
    return value is not None and not value["unseen"] and len(value["versions"]) <= 1


def _seen(value: Answer, figure: str) -> bool:
    return value is not None and not value["unseen"] and value[figure] is not None
