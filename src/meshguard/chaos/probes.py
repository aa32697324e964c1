"""Probes of the Chaos Toolkit extension, over meshguard's catalogue of signals and its hypotheses.

Annotations are what `chaos discover` shows, so they are not postponed here.
"""

from typing import Any, Dict, List, Optional

from chaoslib.types import Configuration

from meshguard.chaos import asking, looking
from meshguard.chaos.errors import activity

__all__ = [
    "await_health",
    "await_signal",
    "certificate_life",
    "connect_failures",
    "convergence",
    "edge_success",
    "health",
    "injections",
    "job",
    "members",
    "nacks",
    "oom_kills",
    "proxies_per_version",
    "query",
    "restarts",
    "sidecar_memory",
    "signal",
    "workloads_ready",
]

Answer = Dict[str, Any]


def signal(name: str, args: Optional[Dict[str, Any]] = None, configuration: Configuration = None) -> Answer:
    """Measure any signal of the catalogue (docs/hypotheses.md): its samples, and their max, min and sum.

    Raises:
        ActivityFailed: there is no such signal or argument, or the cluster cannot be asked.
    """
    return activity(asking.measure(name, args or {}, configuration))


def await_signal(
    name: str,
    comparison: str,
    threshold: float,
    within: float,
    figure: str = "max",
    args: Optional[Dict[str, Any]] = None,
    configuration: Configuration = None,
) -> Answer:
    """Measure a signal until it is as wanted or the time is over; `met` says which.

    Args:
        name: A signal of the catalogue.
        comparison: `at-least`, `at-most` or `equals`.
        threshold: In the signal's unit.
        within: Seconds.
        figure: Of the samples: `max`, `min` or `sum`.
        args: The signal's arguments.
    """
    return activity(asking.await_signal(name, args or {}, figure, comparison, threshold, within, configuration))


def health(hypothesis: str = "steady-state", configuration: Configuration = None) -> Answer:
    """Ask a hypothesis (one of ours, or a file): `healthy`, `unhealthy` or `unknown`, with every problem."""
    return activity(asking.assess(hypothesis, configuration))


def await_health(
    expected: str, within: float, hypothesis: str = "steady-state", configuration: Configuration = None
) -> Answer:
    """Ask a hypothesis until it is as expected or the time (seconds) is over; `met` says which."""
    return activity(asking.await_health(hypothesis, expected, within, configuration))


def oom_kills(
    namespaces: Optional[List[str]] = None, within: float = 600.0, configuration: Configuration = None
) -> Answer:
    """Count containers that were OOMKilled within the time (seconds), sidecars included, for each pod."""
    return activity(asking.measure("pods.oom", {"namespaces": namespaces or [], "within": within}, configuration))


def restarts(
    namespaces: Optional[List[str]] = None, within: float = 600.0, configuration: Configuration = None
) -> Answer:
    """Count containers that ended and were restarted within the time (seconds), for each pod."""
    return activity(asking.measure("pods.restarts", {"namespaces": namespaces or [], "within": within}, configuration))


def sidecar_memory(namespaces: Optional[List[str]] = None, configuration: Configuration = None) -> Answer:
    """Envoy's memory as a share of its container's limit, for each pod that has one."""
    return activity(asking.measure("proxies.memory", {"namespaces": namespaces or []}, configuration))


def nacks(configuration: Configuration = None) -> Answer:
    """Count proxies that refuse configuration now, for each istiod."""
    return activity(asking.measure("control-plane.rejecting", {}, configuration))


def convergence(quantile: float = 0.99, window: float = 10.0, configuration: Configuration = None) -> Answer:
    """Measure the time from a change to its last proxy (seconds, an upper bound), for each istiod."""
    return activity(
        asking.measure("control-plane.convergence", {"quantile": quantile, "window": window}, configuration)
    )


def edge_success(
    namespaces: Optional[List[str]] = None, window: float = 10.0, configuration: Configuration = None
) -> Answer:
    """Measure for each edge the share of requests within the window (seconds) that did not end in a 5xx."""
    return activity(asking.measure("edges.success", {"namespaces": namespaces or [], "window": window}, configuration))


def connect_failures(
    namespaces: Optional[List[str]] = None, window: float = 10.0, configuration: Configuration = None
) -> Answer:
    """Count for each edge the connects that failed within the window (seconds), TLS handshakes included."""
    return activity(
        asking.measure("edges.connect-failures", {"namespaces": namespaces or [], "window": window}, configuration)
    )


def certificate_life(namespaces: Optional[List[str]] = None, configuration: Configuration = None) -> Answer:
    """Measure the remaining life of workload certificates (seconds), for each pod."""
    return activity(asking.measure("proxies.certificate", {"namespaces": namespaces or []}, configuration))


def workloads_ready(namespaces: Optional[List[str]] = None, configuration: Configuration = None) -> Answer:
    """Measure the ready pods of each workload as a share of those that are wanted."""
    return activity(asking.measure("workloads.ready", {"namespaces": namespaces or []}, configuration))


def proxies_per_version(configuration: Configuration = None) -> Answer:
    """Count connected proxies by their version: more than one is skew."""
    return activity(looking.versions(configuration))


def injections(result: str = "success", window: float = 10.0, configuration: Configuration = None) -> Answer:
    """Count injections within the window (seconds) that came out so: `requests`, `success`, `failure` or `skip`."""
    args = {"metric": f"sidecar_injection_{result}_total", "absent": "zero", "window": window}
    return activity(asking.measure("control-plane.increase", args, configuration))


def query(promql: str, configuration: Configuration = None) -> Answer:
    """Ask Prometheus (`prometheusUrl` or `prometheusService` of meshguard.yaml) an instant query."""
    return activity(asking.measure("prometheus.query", {"query": promql}, configuration))


def members(namespaces: List[str], configuration: Configuration = None) -> Answer:
    """Say for each workload whether it is in the mesh: declared, due at the next create, and actual."""
    return activity(looking.members(namespaces, configuration))


def job(namespace: str, name: str, within: float = 0.0, configuration: Configuration = None) -> Answer:
    """Say whether a Job of an experiment (`meshguard-NAME`) has ended, waiting for it at most so long (seconds)."""
    return activity(looking.job(namespace, name, within, configuration))
