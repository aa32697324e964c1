"""Whom the workloads of a scope were seen to call: by Istio's metrics in Prometheus, or by their own proxies' counters.

Prometheus remembers pods that are gone; a proxy knows of its own calls only, since it started.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from meshguard.mesh.istio_sidecar import names
from meshguard.mesh.istio_sidecar.scope import Scope
from meshguard.model.objects import Pod, Ref, dig
from meshguard.model.observed import Observed
from meshguard.model.proxy import ProxyFacts, ProxyUnreachable
from meshguard.ports import ClusterError, Signals
from meshguard.signals.measure.edges import ENVOY, hosts_called
from meshguard.signals.prometheus import Prometheus, PrometheusError

Caller = tuple[str, str]
"""Namespace and workload, as Istio's metrics name them."""
Answer = ProxyFacts | ProxyUnreachable
Answers = Mapping[Ref, Answer]
PROMETHEUS = "prometheus, istio_requests_total and istio_tcp_connections_opened_total"
CALLS = ("istio_requests_total", "istio_tcp_connections_opened_total")
#: How many times the window is looked at to find out since when there are metrics.
LOOKS = 100
PROXY_CONFIG = "proxy.istio.io/config"


async def observed_calls(scope: Scope, signals: Signals, prometheus: Prometheus | None, window_s: float) -> Observed:
    """Ask Prometheus where it has Istio's metrics of the scope, else the scope's proxies. Raises nothing."""
    if prometheus and scope.leaving:
        try:
            found = await observed_by_prometheus(scope, prometheus, window_s)
        except (PrometheusError, ClusterError):
            found = Observed(PROMETHEUS)
        if found.calls:
            return found
    return await observed_by_proxies(scope, signals)


async def observed_by_prometheus(scope: Scope, prometheus: Prometheus, window_s: float) -> Observed:
    """Read the calls of the last `window_s` seconds. Raises PrometheusError or ClusterError.

    A workload is watched when its proxy is: it has metrics, be it as one who calls or as one who is called.
    """
    callers: dict[Caller, Ref] = {(w.ref.namespace, w.ref.name): w.ref for w in scope.leaving}
    spaces = "|".join(sorted({namespace for namespace, _ in callers}))
    since: dict[Ref, float] = {}
    calls: dict[Ref, set[str]] = {}
    for metric in CALLS:
        for side in ("source", "destination"):
            for labels, first in await prometheus.series(_first_seen(metric, side, spaces, window_s)):
                if ref := callers.get(_named(labels, side)):
                    since[ref] = min(first, since.get(ref, first))
        for labels, _ in await prometheus.series(_called(metric, spaces, window_s)):
            if ref := callers.get(_named(labels, "source")):
                calls.setdefault(ref, set()).add(labels.get("destination_service", ""))
    now = datetime.fromisoformat(scope.snapshot.taken_at).timestamp()
    return Observed(
        PROMETHEUS,
        {ref: frozenset(calls.get(ref, ())) for ref in since},
        {ref: now - first for ref, first in since.items()},
        {ref: "Prometheus has no metrics of it" for ref in callers.values() if ref not in since},
    )


def _named(labels: Mapping[str, str], side: str) -> Caller:
    return labels.get(f"{side}_workload_namespace", ""), labels.get(f"{side}_workload", "")


def _called(metric: str, spaces: str, window_s: float) -> str:
    by = "source_workload, source_workload_namespace, destination_service"
    chosen = f'{metric}{{reporter="source", source_workload_namespace=~"{spaces}"}}'
    return f"sum by ({by}) (max_over_time({chosen}[{window_s:.0f}s])) > 0"


def _first_seen(metric: str, side: str, spaces: str, window_s: float) -> str:
    chosen = f'{metric}{{reporter="{side}", {side}_workload_namespace=~"{spaces}"}}'
    oldest = f"min_over_time(timestamp({chosen})[{window_s:.0f}s:{window_s / LOOKS:.0f}s])"
    return f"min by ({side}_workload, {side}_workload_namespace) ({oldest})"


async def observed_by_proxies(scope: Scope, signals: Signals) -> Observed:
    """Ask every proxy of the workloads that would leave; one that cannot tell makes its workload unseen."""
    members = {w.ref: scope.meshed_workloads[w.ref] for w in scope.leaving}
    asked = [pod for pods in members.values() for pod in pods]
    answers = await signals.proxies(asked, ["counters"])
    since = _counting_since(asked, answers)
    calls: dict[Ref, frozenset[str]] = {}
    seconds: dict[Ref, float] = {}
    unseen: dict[Ref, str] = {}
    for ref, pods in members.items():
        if why := _why_unseen(pods, answers, since):
            unseen[ref] = why
            continue
        called = (hosts_called(answer) for pod in pods if isinstance(answer := answers[pod.ref], ProxyFacts))
        calls[ref] = frozenset[str]().union(*(found for found in called if found))
        seconds[ref] = min(_running_for(pod, scope.snapshot.taken_at) for pod in pods)
    return Observed(ENVOY, calls, seconds, unseen)


def _counting_since(pods: Sequence[Pod], answers: Answers) -> Mapping[str, str]:
    """For each setting of proxies the start of the oldest one that was seen to count its calls."""
    found: dict[str, str] = {}
    for pod in pods:
        answer, started = answers.get(pod.ref), _started(pod)
        if started and isinstance(answer, ProxyFacts) and hosts_called(answer) is not None:
            setting = pod.annotations.get(PROXY_CONFIG, "")
            found[setting] = min(started, found.get(setting, started))
    return found


def _why_unseen(pods: Sequence[Pod], answers: Answers, since: Mapping[str, str]) -> str:
    """Say why nothing can be said of a workload, "" when it can.

    Envoy makes the counters of a service with the first call, so a proxy without any has either called nobody or
    keeps none. One of the same settings that has some and is older tells the two apart.
    """
    for pod in pods:
        answer = answers.get(pod.ref)
        if not isinstance(answer, ProxyFacts):
            return f"{pod.ref.name}: {answer.reason if answer else 'no answer'}"
        counting = since.get(pod.annotations.get(PROXY_CONFIG, ""), "")
        if hosts_called(answer) is None and not (counting and counting <= _started(pod)):
            return f"the proxy of {pod.ref.name} has no counters of outgoing calls (see proxyStatsMatcher)"
    return ""


def _running_for(pod: Pod, now: str) -> float:
    """Seconds since the pod's proxy started; its counters begin there. 0 where nobody tells."""
    since = _started(pod)
    return (datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds() if since else 0.0


def _started(pod: Pod) -> str:
    """When the pod's proxy started, RFC 3339 in UTC as Kubernetes writes it; "" where nobody tells."""
    statuses = (
        *dig(pod.doc, "status", "containerStatuses", default=[]),
        *dig(pod.doc, "status", "initContainerStatuses", default=[]),
    )
    started = (dig(s, "state", "running", "startedAt") for s in statuses if s.get("name") == names.PROXY_CONTAINER)
    return next((str(text) for text in started if text), "")
