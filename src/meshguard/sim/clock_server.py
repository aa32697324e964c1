"""The simulator's clock, and its other switches, for programs of other processes.

Plain HTTP on the loopback, under a path that is a secret.

`GET` tells the time, `POST .../sleep?seconds=S` answers when so much simulated time has passed, `POST .../skip` moves
the clock on instead of waiting, `POST .../set` takes `{"speed": S, "paused": true}`. These answers tell the time.
Further switches take a JSON object at `POST .../NAME` and answer with one.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from meshguard.sim.clock import SimClock

SLOWEST, FASTEST = 0.01, 10_000.0
"""Simulated seconds per second."""
_LONGEST_S = 7 * 86_400.0


Switch = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Takes what somebody wants and returns what is now so. Raises ValueError with a sentence for what cannot be."""


def _reading(clock: SimClock) -> Mapping[str, Any]:
    return {"now": clock.now(), "wall": clock.wall(), "speed": clock.speed, "paused": clock.paused}


def _told(clock: SimClock) -> web.Response:
    return web.json_response(_reading(clock))


def _refused(sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=400)


def _seconds(request: web.Request) -> float | None:
    try:
        seconds = float(request.query.get("seconds", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds <= _LONGEST_S else None  # NaN is not


def _handler(switch: Switch) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            wanted = await request.json()
        except ValueError:
            wanted = None
        if not isinstance(wanted, dict):
            return _refused("the body must be a JSON object")
        try:
            return web.json_response(switch(wanted))
        except ValueError as error:
            return _refused(str(error))

    return handle


def _application(clock: SimClock, secret: str, switches: Mapping[str, Switch]) -> web.Application:
    async def tell(_: web.Request) -> web.Response:
        return _told(clock)

    def passing(pass_: Callable[[float], Awaitable[None]]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def wait(request: web.Request) -> web.StreamResponse:
            seconds = _seconds(request)
            if seconds is None:
                return _refused(f"seconds must be a number from 0 to {_LONGEST_S:.0f}")
            await pass_(seconds)
            return _told(clock)

        return wait

    def change(wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        speed, paused = wanted.get("speed"), wanted.get("paused")
        numeric = isinstance(speed, (int, float)) and not isinstance(speed, bool) and math.isfinite(speed)
        if speed is not None and not (numeric and SLOWEST <= speed <= FASTEST):
            raise ValueError(f"speed must be a number from {SLOWEST:g} to {FASTEST:g}")
        if paused is not None and not isinstance(paused, bool):
            raise ValueError("paused must be true or false")
        clock.set(speed=speed, paused=paused)
        return _reading(clock)

    application = web.Application()
    application.router.add_get(f"/{secret}", tell)
    application.router.add_post(f"/{secret}/sleep", passing(clock.sleep))
    application.router.add_post(f"/{secret}/skip", passing(clock.skip))
    for name, switch in {**switches, "set": change}.items():
        application.router.add_post(f"/{secret}/{name}", _handler(switch))
    return application


@asynccontextmanager
async def serving(clock: SimClock, switches: Mapping[str, Switch] | None = None) -> AsyncIterator[str]:
    """Serve a clock and further switches on a free port and yield the clock's URL."""
    secret = secrets.token_urlsafe(16)
    runner = web.AppRunner(
        _application(clock, secret, switches or {}), access_log=None, shutdown_timeout=0.1, handler_cancellation=True
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/{secret}"
    finally:
        await runner.cleanup()
