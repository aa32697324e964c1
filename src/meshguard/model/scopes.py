"""A scope as a person asked for it. What it means on a cluster is `plan.scopes`' business."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OBSERVED = "observed"


@dataclass(frozen=True)
class Asked:
    """Who shall leave (or be realigned), in a person's words.

    Namespaces, workloads and the whole mesh add up; the selector and the revision narrow them down, or, where none
    of these is given, choose among everything that is in the mesh.
    """

    namespaces: frozenset[str] = frozenset()
    workloads: frozenset[str] = frozenset()
    """`NS/NAME`, or `NS/KIND/NAME` where two kinds share the name."""
    whole_mesh: bool = False
    selector: str = ""
    """As kubectl takes it, for the labels of pod templates."""
    revision: str = ""
    """Workloads whose proxies were injected by this revision of the control plane."""
    exclude: frozenset[str] = frozenset()
    """`NS` or `NS/NAME`."""
    cap: str = ""
    """The most that may leave: a number of workloads, or a share of the mesh's as `25%`; "" for the configured caps."""
    by_label: bool = False
    """Switch injection off on each pod template, and leave the namespace's label as it is."""
    callers_from: str = ""
    """`observed`: relax only servers that telemetry has seen the scope call; "" for all that it may call."""

    def words(self) -> tuple[str, ...]:
        """Return the scope as the command line's options; () when it is nothing but whole namespaces."""
        if self == Asked(self.namespaces):
            return ()
        return (
            *(f"--namespace {name}" for name in sorted(self.namespaces)),
            *(f"--workload {name}" for name in sorted(self.workloads)),
            *(["--whole-mesh"] if self.whole_mesh else []),
            *([f"--selector {self.selector}"] if self.selector else []),
            *([f"--revision {self.revision}"] if self.revision else []),
            *(f"--exclude {name}" for name in sorted(self.exclude)),
            *([f"--cap {self.cap}"] if self.cap else []),
            *(["--by-pod-label"] if self.by_label else []),
            *([f"--callers-from {self.callers_from}"] if self.callers_from else []),
        )


def asked_from(namespaces: Iterable[str], words: Iterable[str]) -> Asked:
    """Read back `words`; leading dashes may be missing. Raises ValueError for a word that is none of them."""
    many: dict[str, set[str]] = {"namespace": set(namespaces), "workload": set(), "exclude": set()}
    once = {"selector": "", "revision": "", "cap": "", "callers-from": ""}
    flags = {"whole-mesh": False, "by-pod-label": False}
    for word in words:
        name, _, value = word.removeprefix("--").partition(" ")
        value = value.strip()
        if name == "callers-from" and value != OBSERVED:
            raise ValueError(f"callers come from {OBSERVED!r} telemetry or are not narrowed, not {value!r}")
        if name in flags and not value:
            flags[name] = True
        elif name in many and value:
            many[name].add(value)
        elif name in once and value:
            once[name] = value
        else:
            raise ValueError(f"{word!r} is no part of a scope")
    return Asked(
        frozenset(many["namespace"]),
        frozenset(many["workload"]),
        flags["whole-mesh"],
        once["selector"],
        once["revision"],
        frozenset(many["exclude"]),
        once["cap"],
        flags["by-pod-label"],
        once["callers-from"],
    )
