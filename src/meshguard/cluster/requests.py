"""One way to ask the API server: with a deadline, with patience where it is safe, with errors a person understands."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client import ApiClient
from multidict import CIMultiDict

from meshguard.cluster.credentials import Access
from meshguard.cluster.errors import Conflict, Expired, Invalid, NotFound, Undecided
from meshguard.ports import Clock, ClusterError, Forbidden, Rejected, Unreachable

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
    connect_s: float = 3.0
    """For one TCP connection."""
    first_pause_s: float = 0.1
    longest_pause_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said."""

    status: int
    body: bytes
    retry_after_s: float | None

    @property
    def ok(self) -> bool:
        """A success, body and all."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """Return the body as a document."""
        return json.loads(self.body)

    def said(self) -> str:
        """The server's own words."""
        try:
            document = json.loads(self.body)
        except ValueError:
            document = None
        if isinstance(document, dict) and document.get("message"):
            return str(document["message"])
        return self.body[:200].decode(errors="replace").strip() or f"HTTP {self.status}"


class Requests:
    """Sends requests to one API server.

    Reads are repeated after connection errors and 5xx; writes only where the server has certainly done nothing
    (429, an expired credential, no connection). A write whose answer is lost raises Undecided.
    """

    def __init__(
        self,
        access: Access,
        client: ApiClient,
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
        self._renewals = 0
        self._renewing = asyncio.Lock()
        self._retired: list[ApiClient] = []

    @property
    def server(self) -> str:
        """The API server's URL."""
        return str(self.client.configuration.host)

    async def close(self) -> None:
        """Close all connections."""
        for client in (*self._retired, self.client):
            await client.close()  # type: ignore[no-untyped-call]

    async def read(self, path: str, query: Query = (), *, accept: str = JSON) -> Any:
        """GET a document. Raises ClusterError."""
        return await self._send("GET", path, query, {"Accept": accept}, None, repeatable=True)

    async def write(
        self, method: str, path: str, body: Any, *, query: Query = (), content_type: str = JSON, harmless: bool = False
    ) -> Any:
        """Send a write and return the server's document.

        `harmless` marks what changes nothing (reviews, dry runs) and is repeated like a read.
        Raises Undecided when the answer was lost, and ClusterError.
        """
        headers = {"Accept": JSON, "Content-Type": content_type}
        return await self._send(method, path, query, headers, body, repeatable=harmless)

    async def headers(self, more: Mapping[str, str] | None = None) -> CIMultiDict[str]:
        """The headers that every request carries: who asks, in whose name, for which run."""
        authentication: dict[str, str] = {}
        await self.client.update_params_for_auth(authentication, None, ["BearerToken"], "", "GET", None)
        return CIMultiDict([*self._headers, *authentication.items(), *(more or {}).items()])

    async def renew(self, seen: int) -> None:
        """Fetch new credentials, unless somebody has done so since renewal number `seen`. Raises ConfigError."""
        async with self._renewing:
            if self._renewals == seen:
                fresh = await self.access.client()
                self._retired.append(self.client)
                self.client = fresh
                self._renewals += 1

    @property
    def renewals(self) -> int:
        """How often the credentials have been renewed."""
        return self._renewals

    async def _send(
        self, method: str, path: str, query: Query, headers: dict[str, str], body: Any, *, repeatable: bool
    ) -> Any:
        started, first_contact = self.clock.now(), not self._answered
        deadline = started + (self.patience.first_contact_s if first_contact else self.patience.total_s)
        pause, renewed = self.patience.first_pause_s, False
        what = f"{method} {path}"
        while True:
            seen = self._renewals
            trouble: str
            wait = pause * random.uniform(0.5, 1.0)
            try:
                answer = await self._attempt(method, path, query, headers, body, deadline - self.clock.now())
            except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
                raise Unreachable(f"{self.server} cannot be trusted: {error}") from error
            except aiohttp.ClientConnectorError as error:
                if first_contact:
                    raise Unreachable(f"{self.server} cannot be reached: {error.os_error or error}") from error
                trouble = f"no connection ({error.os_error or error})"
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                trouble = f"no answer ({_words(error)})"
                if not repeatable:
                    raise Undecided(f"{what}: {trouble}; it may have happened or not") from error
            else:
                self._answered = True
                if answer.ok:
                    return answer.json()
                if answer.status == 401 and not renewed:
                    await self.renew(seen)
                    renewed = True
                    continue
                if answer.status == 429:
                    wait = wait if answer.retry_after_s is None else answer.retry_after_s
                elif answer.status < 500:
                    raise refusal(answer.status, answer.said())
                elif not repeatable:
                    raise Undecided(f"{what}: {answer.said()} (HTTP {answer.status})")
                trouble = f"{answer.said()} (HTTP {answer.status})"
            if self.clock.now() + wait >= deadline:
                elapsed = self.clock.now() - started
                raise Unreachable(f"{self.server} gave no answer to {what} within {elapsed:.1f} s: {trouble}")
            await self.clock.sleep(wait)
            pause = min(pause * 2, self.patience.longest_pause_s)

    async def _attempt(
        self, method: str, path: str, query: Query, headers: dict[str, str], body: Any, left_s: float
    ) -> Answer:
        self.sent += 1
        client = self.client
        url = f"{self.server}{path}?{urlencode(query)}" if query else f"{self.server}{path}"
        timeout = aiohttp.ClientTimeout(
            total=max(0.05, min(self.patience.attempt_s, left_s)), sock_connect=self.patience.connect_s
        )
        response = await client.call_api(
            method, url, await self.headers(headers), body, _request_timeout=timeout, _preload_content=False
        )
        body_read = await response.read()  # type: ignore[no-untyped-call]
        return Answer(response.status, body_read, _seconds(response.headers.get("Retry-After")))


def refusal(status: int, message: str) -> ClusterError:
    """Make the exception that says what a client error (4xx) means."""
    match status:
        case 401:
            return Forbidden(f"the API server does not accept the credentials: {message}")
        case 403 if " cannot " in message:
            return Forbidden(message)
        case 404:
            return NotFound(message)
        case 409:
            return Conflict(message)
        case 410:
            return Expired(message)
        case 422:
            return Invalid(message)
    # 403 is also what admission plugins answer: quotas, pod security, webhooks. Nobody lacks a right there.
    return Rejected(message)


def _seconds(retry_after: str | None) -> float | None:
    try:
        return None if retry_after is None else max(0.0, float(retry_after))
    except ValueError:
        return None


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return str(error) or type(error).__name__
