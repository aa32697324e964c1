"""The catalogue of signals that a probe may name: what each measures, in which unit, and from where.

Source of the names: Istio `pilot/pkg/xds/monitoring.go`, `pkg/istio-agent`; Envoy's statistics overview; Kubernetes'
ContainerStatus. A row without a reader, or a reader without a row, fails a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Unit(StrEnum):
    """What a number counts."""

    PODS = "pods"
    PROXIES = "proxies"
    SECONDS = "seconds"
    RATIO = "ratio"
    EVENTS = "events"
    NUMBER = "number"
    """Whatever the query or the metric says; only for signals that take a query or a metric's name."""


@dataclass(frozen=True, slots=True)
class Arg:
    """An argument of a signal; its type is that of its default."""

    name: str
    default: Any
    what: str
    required: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signal:
    """A row of the catalogue."""

    name: str
    unit: Unit
    what: str
    source: str
    args: tuple[Arg, ...] = ()

    def arg(self, name: str) -> Arg | None:
        """The argument of that name."""
        return next((arg for arg in self.args if arg.name == name), None)

    def complete(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return all arguments, the given ones and the defaults of the others."""
        return {arg.name: given.get(arg.name, arg.default) for arg in self.args}


_SPACES = Arg("namespaces", [], "only these namespaces; empty for all that hold meshed pods")


def _window(seconds: float) -> Arg:
    return Arg("window", seconds, "seconds between the two looks that make a difference")


def _ago(seconds: float) -> Arg:
    return Arg("within", seconds, "seconds to look back")


_METRIC = Arg("metric", "", "the metric's name", required=True)
_LABELS = Arg("labels", {}, "only series with these labels")
_ABSENT = Arg(
    "absent",
    "unknown",
    "what a metric that a replica does not have means; `zero` fits counters that appear with their first event",
    choices=("unknown", "zero"),
)

_TABLE = (
    Signal(
        "control-plane.ready",
        Unit.PODS,
        "ready istiod pods, for each revision that has one or wants one, or whose injector's webhook is there",
        "kubernetes, Ready condition",
    ),
    Signal(
        "control-plane.unsynced",
        Unit.PROXIES,
        "proxies that leave the same kind of configuration unacknowledged in two looks, for each istiod replica",
        "istiod /debug/syncz",
        (_window(5.0),),
    ),
    Signal(
        "control-plane.rejecting",
        Unit.PROXIES,
        "proxies that refuse configuration now (NACK), for each istiod replica",
        "istiod /debug/syncz",
    ),
    Signal(
        "control-plane.unlisted",
        Unit.PROXIES,
        "ready pods with a sidecar that no istiod replica has a connection to, for each namespace",
        "istiod /debug/syncz of all replicas, kubernetes",
        (_SPACES,),
    ),
    Signal(
        "control-plane.metric",
        Unit.NUMBER,
        "a metric of istiod as it is now, summed over its series, for each replica",
        "istiod /metrics",
        (_METRIC, _LABELS, _ABSENT),
    ),
    Signal(
        "control-plane.increase",
        Unit.EVENTS,
        "how much a counter of istiod rose within the window, for each replica",
        "istiod /metrics",
        (_METRIC, _LABELS, _ABSENT, _window(10.0)),
    ),
    Signal(
        "control-plane.convergence",
        Unit.SECONDS,
        "the quantile of the time from a change to its last proxy within the window (0 without a push), for each "
        "replica; an upper bound, by histogram bucket",
        "istiod /metrics, pilot_proxy_convergence_time",
        (Arg("quantile", 0.99, "between 0 and 1"), _window(10.0)),
    ),
    Signal(
        "control-plane.pushes",
        Unit.EVENTS,
        "endpoint updates (EDS) within the window, on average for each connected proxy, for each replica",
        "istiod /metrics, pilot_xds_pushes and pilot_xds",
        (_window(10.0),),
    ),
    Signal(
        "proxies.rejected",
        Unit.EVENTS,
        "configuration updates that a proxy refused within the window, for each pod",
        "envoy stats, cds and lds update_rejected",
        (_SPACES, _window(10.0)),
    ),
    Signal(
        "proxies.certificate",
        Unit.SECONDS,
        "remaining lifetime of the workload certificate, for each pod",
        "envoy /certs",
        (_SPACES,),
    ),
    Signal(
        "proxies.memory",
        Unit.RATIO,
        "memory that Envoy has allocated, as a share of the container's limit, for each pod that has one",
        "envoy /memory, kubernetes",
        (_SPACES,),
    ),
    Signal(
        "edges.success",
        Unit.RATIO,
        "requests within the window that did not end in a 5xx, for each edge from a workload to a service",
        "istio_requests_total, or envoy's upstream_rq_*; the answer names which",
        (
            _SPACES,
            _window(10.0),
            Arg("minRequests", 20.0, "edges with fewer requests within the window are left out"),
            Arg(
                "telemetry",
                "auto",
                "whose counters; `auto` takes Istio's where there are any",
                False,
                ("auto", "istio", "envoy"),
            ),
        ),
    ),
    Signal(
        "edges.connect-failures",
        Unit.EVENTS,
        "connects that failed within the window, TLS handshakes included, for each edge that was used",
        "envoy stats, upstream_cx_connect_fail, ssl.connection_error, ssl.fail_verify_*",
        (_SPACES, _window(10.0)),
    ),
    Signal(
        "edges.retries",
        Unit.EVENTS,
        "requests within the window that the caller's proxy sent once more, for each edge that was used",
        "envoy stats, upstream_rq_retry",
        (_SPACES, _window(10.0)),
    ),
    Signal(
        "pods.held",
        Unit.PODS,
        "pods whose containers have all ended but for the proxy, which keeps the pod from ending, for each namespace",
        "kubernetes, containerStatuses",
        (_SPACES,),
    ),
    Signal(
        "pods.restarts",
        Unit.EVENTS,
        "containers that ended and were restarted within the time, native sidecars included, for each pod; the API "
        "remembers the last end of each container only",
        "kubernetes, containerStatuses and initContainerStatuses",
        (_SPACES, _ago(600.0)),
    ),
    Signal(
        "pods.restarts-outside",
        Unit.EVENTS,
        "containers of pods without a proxy that ended within the time, for each pod outside kube-* and istio-*",
        "kubernetes, containerStatuses",
        (Arg("namespaces", [], "only these namespaces"), _ago(600.0)),
    ),
    Signal(
        "policies.strict",
        Unit.EVENTS,
        "PeerAuthentications that say STRICT and were written within the time, each by its name",
        "kubernetes, creationTimestamp and managedFields",
        (_ago(600.0),),
    ),
    Signal(
        "pods.oom",
        Unit.EVENTS,
        "containers that were OOMKilled within the time, native sidecars included, for each pod",
        "kubernetes, containerStatuses and initContainerStatuses",
        (_SPACES, _ago(600.0)),
    ),
    Signal(
        "pods.evicted",
        Unit.EVENTS,
        "pods with a proxy that were evicted within the time because their node had no memory left",
        "kubernetes, status.reason and status.message of failed pods",
        (_SPACES, _ago(600.0)),
    ),
    Signal(
        "workloads.ready",
        Unit.RATIO,
        "ready pods as a share of those that are wanted, for each workload with meshed pods or in `namespaces`",
        "kubernetes",
        (_SPACES,),
    ),
    Signal(
        "prometheus.query",
        Unit.NUMBER,
        "the value of each series of an instant query",
        "prometheus, at `prometheusUrl` or `prometheusService`",
        (Arg("query", "", "PromQL", required=True),),
    ),
)

CATALOGUE: Mapping[str, Signal] = {signal.name: signal for signal in _TABLE}
