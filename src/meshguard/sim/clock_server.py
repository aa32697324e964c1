"""The simulator's clock for programs of other processes: plain HTTP on the loopback, under a path that is a secret.

`GET` tells the time, `POST .../sleep?seconds=S` answers when so much simulated time has passed, `POST .../skip` moves
the clock on instead of waiting, `POST .../set` takes `{"speed": S, "paused": true}`. Every answer tells the time.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from meshguard.sim.clock import SimClock

SLOWEST, FASTEST = 0.01, 10_000.0
"""Simulated seconds per second."""
_LONGEST_S = 7 * 86_400.0


def _told(clock: SimClock) -> web.Response:
    shown = {"now": clock.now(), "wall": clock.wall(), "speed": clock.speed, "paused": clock.paused}
    return web.json_response(shown)


def _refused(sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=400)


def _seconds(request: web.Request) -> float | None:
    try:
        seconds = float(request.query.get("seconds", ""))
    except ValueError:
        return None
    return seconds if 0 <= seconds <= _LONGEST_S else None  # NaN is not


def _application(clock: SimClock, secret: str) -> web.Application:
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

    async def change(request: web.Request) -> web.Response:
        try:
            wanted = await request.json()
            speed, paused = wanted.get("speed"), wanted.get("paused")
        except (ValueError, AttributeError):
            return _refused("the body must be a JSON object")
        numeric = isinstance(speed, (int, float)) and not isinstance(speed, bool) and math.isfinite(speed)
        if speed is not None and not (numeric and SLOWEST <= speed <= FASTEST):
            return _refused(f"speed must be a number from {SLOWEST:g} to {FASTEST:g}")
        if paused is not None and not isinstance(paused, bool):
            return _refused("paused must be true or false")
        clock.set(speed=speed, paused=paused)
        return _told(clock)

    application = web.Application()
    application.router.add_get(f"/{secret}", tell)
    application.router.add_post(f"/{secret}/sleep", passing(clock.sleep))
    application.router.add_post(f"/{secret}/skip", passing(clock.skip))
    application.router.add_post(f"/{secret}/set", change)
    return application


@asynccontextmanager
async def serving(clock: SimClock) -> AsyncIterator[str]:
    """Serve a clock on a free port and yield its URL."""
    secret = secrets.token_urlsafe(16)
    runner = web.AppRunner(
        _application(clock, secret), access_log=None, shutdown_timeout=0.1, handler_cancellation=True
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/{secret}"
    finally:
        await runner.cleanup()
