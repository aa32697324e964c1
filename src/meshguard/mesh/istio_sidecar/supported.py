"""The minor versions of Istio's control plane that these rules hold for, and how each of them is known.

`docs/support.md` says the same in prose. What is not in the table is refused: a rule that a version has changed is
met in the middle of an exit, and nobody wants to learn of it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshguard.model.versions import release

CHART_VERSION = "app.kubernetes.io/version"
#: What the charts in Istio's repository carry until a release is built (manifests/charts/*/Chart.yaml).
NEVER_SHIPPED = "1.0.0"


@dataclass(frozen=True)
class Supported:
    """One minor version."""

    major: int
    minor: int
    seen: bool
    """Run on the testbed; else written from sources and documentation, and never tried."""

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


#: Source: Istio's charts and injector of each release; `v1` of the policies' API is served since 1.22.
SUPPORTED = (
    Supported(1, 24, seen=False),
    Supported(1, 25, seen=False),
    Supported(1, 26, seen=False),
    Supported(1, 27, seen=False),
    Supported(1, 28, seen=False),
    Supported(1, 29, seen=False),
    Supported(1, 30, seen=False),
    Supported(1, 31, seen=True),
)


def is_supported(version: tuple[int, int, int]) -> bool:
    """Tell whether the rules hold for a control plane of this version."""
    return any((row.major, row.minor) == version[:2] for row in SUPPORTED)


def in_words() -> str:
    """`1.31 (seen), 1.24, 1.25 (claimed)`: for the sentence of a refusal."""
    groups = (("seen", [r for r in SUPPORTED if r.seen]), ("claimed", [r for r in SUPPORTED if not r.seen]))
    return ", ".join(f"{', '.join(map(str, rows))} ({word})" for word, rows in groups if rows)


def declared_version(image: str, labels: Mapping[str, str]) -> str:
    """Return the version that an istiod's image or its chart's label names, "" where neither does."""
    named = (image.partition("@")[0].rpartition("/")[2].partition(":")[2], labels.get(CHART_VERSION, ""))
    return next((text for text in named if release(text) and text != NEVER_SHIPPED), "")
