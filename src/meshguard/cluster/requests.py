"""One way to ask the API server: with a deadline, with patience where it is safe, with errors a person understands."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient
from multidict import CIMultiDict

from meshguard.cluster.answers import Answer, document, refusal, seconds
from meshguard.cluster.connections import Connections
from meshguard.cluster.credentials import Access
from meshguard.cluster.errors import ConfigError, Undecided
from meshguard.ports import Clock, Forbidden, Unreachable

Query = Sequence[tuple[str, str]]

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in seconds."""

    first_contact_s: float = 4.5
    """For a server that has never answered yet: a person waits for the sentence that it is unreachable."""
    attempt_s: float = 30.0
    """For one attempt."""
    total_s: float = 60.0
    """For all attempts of one call; long enough to outlive the restart of an API server."""
    grace_s: float = 5.0
    """For all calls together, once the moment has passed by which everything was to end: what is under way is ended,
    and written down."""
    connect_s: float = 3.0
    """For one TCP connection."""
    first_pause_s: float = 0.1
    longest_pause_s: float = 2.0


def patience_of(run: str) -> Patience:
    """Return how long calls of a run ("" outside of one) wait.

    A run that goes on was begun on a server that answered: one that is slow now must not stop it midway.
    """
    usual = Patience()
    return replace(usual, first_contact_s=usual.total_s) if run else usual


_SHORTEST_ATTEMPT_S, _SHORTEST_CALL_S = 0.05, 0.5


class _Again(Exception):
    """This attempt did not help; after a pause another one may."""

    def __init__(self, trouble: str, wait_s: float | None = None) -> None:
        super().__init__(trouble)
        self.wait_s = wait_s


class Requests:
    """Sends requests to one API server.

    Reads are repeated after connection errors and 5xx; writes only where the server has certainly done nothing
    (429, an expired credential, no connection). A write whose answer is lost raises Undecided.
    """

    def __init__(
        self,
        access: Access,
        client: ApiClient,
        connections: Connections,
        clock: Clock,
        headers: Sequence[tuple[str, str]],
        patience: Patience | None = None,
    ) -> None:
        self.access, self.client, self.clock = access, client, clock
        self.patience = patience or Patience()
        self.sent = 0
        """Requests sent so far, repetitions included."""
        self._headers = tuple(headers)
        self._answered = False
        self._end: float | None = None
        self._renewals = 0
        self._renewing = asyncio.Lock()
        self._opened = [(client, connections)]

    @property
    def server(self) -> str:
        """The API server's URL."""
        return str(self.client.configuration.host)

    async def close(self) -> None:
        """Close all connections."""
        for client, connections in self._opened:
            await client.close()  # type: ignore[no-untyped-call]
            await connections.close()

    def end_in(self, seconds: float) -> None:
        """Let no call take longer than until so many seconds from now and a short grace, however patient it is."""
        self._end = self.clock.now() + seconds

    def until(self) -> float:
        """Return the moment of the clock until which something that begins now may take."""
        now = self.clock.now()
        usual = now + (self.patience.total_s if self._answered else self.patience.first_contact_s)
        if self._end is None:
            return usual
        return min(usual, max(self._end + self.patience.grace_s, now + _SHORTEST_CALL_S))

    async def read(self, path: str, query: Query = (), *, accept: str = JSON, until: float | None = None) -> Any:
        """GET a document, by `until` where several calls share their time. Raises ClusterError."""
        return await self._send("GET", path, query, {"Accept": accept}, None, until, repeatable=True)

    async def write(
        self,
        method: str,
        path: str,
        body: Any,
        *,
        query: Query = (),
        content_type: str = JSON,
        harmless: bool = False,
        until: float | None = None,
    ) -> Any:
        """Send a write and return the server's document.

        `harmless` marks what changes nothing (reviews, dry runs) and is repeated like a read.
        Raises Undecided when the answer was lost, and ClusterError.
        """
        headers = {"Accept": JSON, "Content-Type": content_type}
        return await self._send(method, path, query, headers, body, until, repeatable=harmless)

    async def headers(self, more: Mapping[str, str] | None = None) -> CIMultiDict[str]:
        """The headers that every request carries: who asks, in whose name, for which run."""
        authentication: dict[str, str] = {}
        await self.client.update_params_for_auth(authentication, None, ["BearerToken"], "", "GET", None)
        return CIMultiDict([*self._headers, *authentication.items(), *(more or {}).items()])

    async def renew(self, seen: int) -> None:
        """Fetch new credentials, unless somebody has done so since renewal number `seen`. Raises Forbidden."""
        async with self._renewing:
            if self._renewals == seen:
                try:
                    self._opened.append(await self.access.client())
                except ConfigError as error:
                    raise Forbidden(f"the credentials have expired and cannot be renewed: {error}") from error
                self.client = self._opened[-1][0]
                self._renewals += 1

    @property
    def renewals(self) -> int:
        """How often the credentials have been renewed."""
        return self._renewals

    async def _send(
        self,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str],
        body: Any,
        until: float | None,
        *,
        repeatable: bool,
    ) -> Any:
        started, pause, renewed = self.clock.now(), self.patience.first_pause_s, False
        deadline = self.until() if until is None else until
        while True:
            seen = self._renewals
            try:
                answer = await self._attempt(
                    method, path, query, headers, body, deadline - self.clock.now(), repeatable
                )
                if answer.status == 401 and not renewed:
                    await self.renew(seen)
                    renewed = True
                    continue
                return self._document(answer, repeatable)
            except _Again as again:
                wait = pause * random.uniform(0.5, 1.0) if again.wait_s is None else again.wait_s
                if self.clock.now() + wait >= deadline:
                    elapsed = self.clock.now() - started
                    raise Unreachable(
                        f"{self.server} gave no answer to {method} {path} within {elapsed:.1f} s: {again}"
                    ) from again
            await self.clock.sleep(wait)
            pause = min(pause * 2, self.patience.longest_pause_s)

    async def _attempt(
        self,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str],
        body: Any,
        left_s: float,
        repeatable: bool,
    ) -> Answer:
        """Send once. Raises _Again where another attempt can help, Undecided where it could do harm."""
        self.sent += 1
        url = f"{self.server}{path}?{urlencode(query)}" if query else f"{self.server}{path}"
        total_s = max(_SHORTEST_ATTEMPT_S, min(self.patience.attempt_s, left_s))
        timeout = aiohttp.ClientTimeout(total=total_s, sock_connect=self.patience.connect_s)
        try:
            response = await self.client.call_api(
                method, url, await self.headers(headers), body, _request_timeout=timeout, _preload_content=False
            )
            text = await response.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            raise Unreachable(f"{self.server} cannot be trusted: {error}") from error
        except aiohttp.ClientConnectorError as error:
            if not self._answered:
                raise Unreachable(f"{self.server} cannot be reached: {error.os_error}") from error
            raise _Again(f"no connection ({error.os_error})") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            trouble = "no answer (timed out)" if isinstance(error, TimeoutError) else f"no answer ({error})"
            if repeatable:
                raise _Again(trouble) from error
            raise Undecided(f"{method} {path}: {trouble}; it may have happened or not") from error
        self._answered = True
        return Answer(response.status, text, seconds(response.headers.get("Retry-After")))

    def _document(self, answer: Answer, repeatable: bool) -> Any:
        if answer.refuses:
            raise refusal(answer.status, answer.said())
        if answer.status == 429 or (answer.status >= 500 and repeatable):
            raise _Again(f"{answer.said()} (HTTP {answer.status})", answer.retry_after_s)
        if answer.status >= 500:
            raise Undecided(f"{answer.said()} (HTTP {answer.status})")
        try:
            return document(answer.body)
        except ValueError as error:
            raise Unreachable(f"{self.server} does not answer like a Kubernetes API server: {answer.said()}") from error
