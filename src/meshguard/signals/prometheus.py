"""Prometheus, where there is one: instant queries, by URL or through the API server's service proxy."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

from meshguard.model.measurement import Measurement, Sample
from meshguard.ports import ClusterError

Fetch = Callable[[str], Awaitable[Any]]
"""Gets the JSON document at a path, query included, from Prometheus. Raises PrometheusError or ClusterError."""

_LONGEST_ANSWER = 16 * 1024 * 1024


class PrometheusError(Exception):
    """Prometheus gave no usable answer; the message says why."""


class Prometheus:
    """Asks instant queries."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def query(self, promql: str) -> Measurement:
        """Ask one instant query; every series is a sample. No answer, and NaN, are unseen."""
        try:
            return read(await self._fetch("/api/v1/query?" + urlencode({"query": promql})))
        except (PrometheusError, ClusterError) as error:
            return Measurement((), "prometheus", (f"prometheus: {error}",))

    async def series(self, promql: str) -> list[tuple[Mapping[str, str], float]]:
        """Ask one instant query; return labels and value of every series. Raises PrometheusError or ClusterError."""
        return [
            (labels, float(text))
            for labels, (_, text) in _rows(await self._fetch("/api/v1/query?" + urlencode({"query": promql})))
        ]


def read(answer: Any) -> Measurement:
    """Read the answer to an instant query. Raises PrometheusError."""
    samples, unseen = [], list((answer.get("warnings") if isinstance(answer, dict) else None) or ())
    for labels, (_, text) in _rows(answer):
        value, title = float(text), _title(labels)
        if math.isnan(value):
            unseen.append(f"{title} is not a number")
        else:
            samples.append(Sample(title, value))
    return Measurement(tuple(sorted(samples, key=lambda s: s.subject)), "prometheus", tuple(unseen))


def _rows(answer: Any) -> list[tuple[Mapping[str, str], tuple[float, str]]]:
    """Raises PrometheusError."""
    if not isinstance(answer, dict) or answer.get("status") != "success":
        told = answer.get("error", "no reason given") if isinstance(answer, dict) else repr(answer)[:80]
        raise PrometheusError(f"it refused the query: {told}")
    kind, result = answer["data"]["resultType"], answer["data"]["result"]
    return [({}, result)] if kind == "scalar" else [(row["metric"], row["value"]) for row in result]


def _title(labels: Mapping[str, Any]) -> str:
    told = ", ".join(f"{key}={value}" for key, value in sorted(labels.items()) if key != "__name__")
    return told or str(labels.get("__name__", "value"))


def by_url(url: str, deadline_s: float = 10.0) -> Fetch:
    """Reach Prometheus at a URL."""

    async def fetch(path: str) -> Any:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=deadline_s)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url.rstrip("/") + path) as answer:
                body = await answer.content.read(_LONGEST_ANSWER)
                if answer.status not in (200, 400, 422, 503):  # with these it says in JSON what was wrong
                    raise PrometheusError(f"{url} answered HTTP {answer.status}")
                return json.loads(body)
        except TimeoutError as error:
            raise PrometheusError(f"{url} did not answer within {deadline_s:g} s") from error
        except aiohttp.ClientError as error:
            raise PrometheusError(f"{url}: {error}") from error
        except ValueError as error:
            raise PrometheusError(f"{url} did not answer in JSON") from error

    return fetch


class ServiceProxy(Protocol):
    """Whoever can reach a service through the API server."""

    async def read_service(self, namespace: str, service: str, path: str) -> Any:
        """GET the JSON document at a path, query included, from `name:port`. Raises ClusterError."""
        ...


def by_service(cluster: ServiceProxy, service: str) -> Fetch:
    """Reach Prometheus as `NS/NAME:PORT` through the API server's proxy of services; needs `get services/proxy`."""
    namespace, _, name = service.partition("/")

    async def fetch(path: str) -> Any:
        return await cluster.read_service(namespace, name, path)

    return fetch
