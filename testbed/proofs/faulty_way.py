"""A way to the API server on which things go wrong, as a schedule says: by chance, but by a chance that has a seed.

meshguard watches nothing, it reads; so a lost watch event is an answer that is older than it should be, and a doubled
one a request that arrives twice. Would anybody ask for a watch, it would be counted.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from testbed.api import Testbed
from testbed.proofs.api_proxy import ApiProxy, Told, writes

FAULTS = ("409", "410", "429", "500", "503", "reset", "stall", "half", "doubled", "old")
_PAGE = 5
"""Objects a page where continue tokens expire; few, so that there are several pages."""
_WORDS = {
    409: ("Conflict", "Operation cannot be fulfilled: the object has been modified; please apply your changes to it"),
    410: ("Expired", "The provided continue parameter is too old to display a consistent list result."),
    429: ("TooManyRequests", "The server has received too many requests and has asked us to try again later."),
    500: ("InternalError", "etcdserver: request timed out"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
}


@dataclass(frozen=True)
class Outage:
    """The API server cannot be reached: connections are refused, or (`silent`) nothing comes back."""

    after: int
    """So many requests."""
    seconds: float
    silent: bool


@dataclass(frozen=True)
class Trouble:
    """What goes wrong between us and the API server."""

    seed: str
    faults: tuple[str, ...] = ()
    share: float = 0.0
    """Of all requests; 0 to 1."""
    most: int = 0
    """So many faults, then there are no more."""
    outage: Outage | None = None


class FaultyWay(ApiProxy):
    """The proxy; use it as a context manager."""

    def __init__(self, testbed: Testbed, kubeconfig: Path) -> None:
        """`kubeconfig` is written: the testbed's own, by way of this proxy."""
        super().__init__(testbed, kubeconfig)
        self.met: Counter[str] = Counter()
        """Faults that were met, by sort."""
        self.watches = self.requests = 0
        self.calm()

    def expect(self, trouble: Trouble) -> None:
        """Let this go wrong from now on."""
        self._trouble, self._left = trouble, trouble.most
        self._chance = random.Random(trouble.seed)
        self._outage = trouble.outage
        self._away: asyncio.Event | None = None
        self._known: dict[str, Told] = {}
        self.requests = 0

    def calm(self) -> None:
        """Let nothing go wrong from now on; an outage that has begun takes its time."""
        away = getattr(self, "_away", None)
        self.expect(Trouble("calm"))
        self._away = away

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Pass the request on, or do to it what the schedule says."""
        self.requests += 1
        self.watches += "watch" in request.query
        if self._outage and self.requests > self._outage.after:
            outage, self._outage = self._outage, None
            self._away = asyncio.Event()
            self._task = asyncio.create_task(self._be_away(outage, self._away))
        if away := self._away:
            if "silent" in self.met and self._silent:
                await away.wait()
            return self._broken(request)
        fault = self._fault_for(request)
        if not fault:
            return await self._answered(request)
        self.met[fault] += 1
        return await self._wronged(request, fault)

    async def _be_away(self, outage: Outage, away: asyncio.Event) -> None:
        self._silent = outage.silent
        self.met["silent" if outage.silent else "outage"] += 1
        if not outage.silent:
            await self.refuse_connections()
        await asyncio.sleep(outage.seconds)
        if not outage.silent:
            await self.listen()
        away.set()
        self._away = None

    def _fault_for(self, request: web.Request) -> str:
        if not self._left or self._chance.random() >= self._trouble.share:
            return ""
        fault = self._chance.choice(self._trouble.faults)
        apt = {
            "409": request.method in ("PATCH", "PUT", "DELETE") and writes(request),
            "410": "continue" in request.query,
            "old": request.path_qs in self._known,
            "doubled": writes(request),
        }
        if not apt.get(fault, True):
            return ""
        self._left -= 1
        return fault

    async def _wronged(self, request: web.Request, fault: str) -> web.StreamResponse:
        effect = self._chance.random() < 0.5
        match fault:
            case "409" | "410" | "429":
                return self._status(int(fault))
            case "500" | "503":
                if effect:
                    await self.forward(request)
                return self._status(int(fault))
            case "reset":
                if effect:
                    await self.forward(request)
                return self._broken(request)
            case "stall":
                await asyncio.sleep(35.0 if self._chance.random() < 0.05 else self._chance.uniform(0.5, 4.0))
                return await self._answered(request)
            case "half":
                return await self._half(request)
            case "doubled":
                await self.forward(request)
                return await self._answered(request)
        return _response(self._known[request.path_qs])

    async def _answered(self, request: web.Request) -> web.StreamResponse:
        path = request.path_qs
        if "410" in self._trouble.faults:
            path = path.replace("limit=500", f"limit={_PAGE}")
        told = await self.forward(request, path)
        if request.method == "GET" and told[0] == 200:
            self._known.setdefault(request.path_qs, told)
        return _response(told)

    async def _half(self, request: web.Request) -> web.StreamResponse:
        """Send the head and half of the body, and end the connection."""
        status, headers, body = await self.forward(request)
        response = web.StreamResponse(status=status, headers={**headers, "Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        self._broken(request)
        return response

    def _status(self, code: int) -> web.StreamResponse:
        reason, message = _WORDS[code]
        document = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}
        wait = {"Retry-After": "1"} if code == 429 and self._chance.random() < 0.7 else {}
        if code == 503 and self._chance.random() < 0.3:
            return web.Response(status=503, text="<html>upstream connect error</html>", content_type="text/html")
        return web.json_response(document, status=code, headers=wait, dumps=json.dumps)

    def _broken(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=503)


def _response(told: Told) -> web.Response:
    status, headers, body = told
    return web.Response(status=status, headers=headers, body=body)
