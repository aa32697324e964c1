"""Simulated time for other processes: told, waited for, moved on, paused; and chosen by the kubeconfig alone."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshguard import app
from meshguard.clock import WallClock
from meshguard.cluster.errors import ConfigError
from meshguard.sim import clock_server
from meshguard.sim.clock import SimClock
from meshguard.simulated_clock import EXTENSION, SimulatedClock
from tests.cluster.api_server import kubeconfig

SLOW = 0.01
"""Simulated seconds per second: no test ends by waiting at this speed."""


class Served:
    """A clock in a thread of its own, as in a process of its own."""

    def __init__(self) -> None:
        self.events: list[float] = []
        self.clock: SimClock
        self.loop = asyncio.new_event_loop()
        self.url = ""
        self._ready, self._ended = threading.Event(), asyncio.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self._serve(),))

    async def _serve(self) -> None:
        self.clock = SimClock(speed=SLOW)
        for seconds in (10.0, 20.0, 1000.0):
            self.clock.call_later(seconds, lambda at=seconds: self.events.append(at))  # type: ignore[misc]
        running = asyncio.create_task(self.clock.run())
        async with clock_server.serving(self.clock) as self.url:
            self._ready.set()
            await self._ended.wait()
        running.cancel()

    def __enter__(self) -> Served:
        self.thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._ended.set)
        self.thread.join()
        self.loop.close()

    def set(self, **changes: object) -> int:
        request = urllib.request.Request(f"{self.url}/set", json.dumps(changes).encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture
def served() -> Iterator[Served]:
    with Served() as served:
        yield served


def test_an_engines_wait_moves_the_clock_from_event_to_event(served: Served) -> None:
    clock = SimulatedClock(served.url, skips=True)
    began = clock.now()
    asyncio.run(clock.sleep(30.0))
    assert clock.now() - began >= 30.0
    assert served.events == [10.0, 20.0]


def test_a_paused_clock_stands_still_and_lets_nobody_pass(served: Served) -> None:
    clock = SimulatedClock(served.url, skips=True)
    assert served.set(paused=True) == 200
    assert (clock.now(), clock.wall()) == (clock.now(), clock.wall())

    async def wait_and_resume() -> None:
        waiting = asyncio.create_task(clock.sleep(30.0))
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        assert not done
        assert await asyncio.to_thread(served.set, paused=False) == 200
        await waiting

    asyncio.run(wait_and_resume())


def test_others_wait_for_time_to_pass(served: Served) -> None:
    assert served.set(speed=1000) == 200
    clock = SimulatedClock(served.url)
    began, real = clock.now(), time.monotonic()
    asyncio.run(clock.sleep(100.0))
    assert clock.now() - began >= 100.0
    assert time.monotonic() - real >= 0.09


@pytest.mark.parametrize("change", [{"speed": 0}, {"speed": "fast"}, {"speed": True}, {"paused": 1}, {"speed": 1e9}])
def test_a_change_that_cannot_be(served: Served, change: dict[str, object]) -> None:
    assert served.set(**change) == 400


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon", ""])
def test_a_wait_that_cannot_be(served: Served, seconds: str) -> None:
    request = urllib.request.Request(f"{served.url}/skip?seconds={seconds}", b"", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=60)


def test_without_the_secret_nobody_is_told(served: Served) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(served.url.rpartition("/")[0] + "/", timeout=60)


def test_a_clock_that_is_gone_runs_on() -> None:
    with Served() as served:
        clock = SimulatedClock(served.url)
        before = clock.now()
    assert clock.now() >= before
    assert clock.wall().endswith("Z")


def _with_extension(folder: Path, extension: object) -> app.Target:
    path = kubeconfig(folder, "http://127.0.0.1:1")
    document = json.loads(path.read_text())
    document["contexts"][0]["context"]["extensions"] = [{"name": EXTENSION, "extension": extension}]
    path.write_text(json.dumps(document))
    return app.Target(kubeconfig=str(path))


def test_the_kubeconfig_chooses(tmp_path: Path, served: Served) -> None:
    plain, waits = app.clocks_of(_with_extension(tmp_path, {"url": served.url}))
    assert isinstance(plain, SimulatedClock)
    assert isinstance(waits, SimulatedClock)
    asyncio.run(waits.sleep(15.0))
    assert plain.now() >= 15.0
    without = app.Target(kubeconfig=str(kubeconfig(tmp_path, "http://127.0.0.1:1")))
    assert all(isinstance(clock, WallClock) for clock in app.clocks_of(without))


@pytest.mark.parametrize("extension", [{}, {"url": "tomorrow"}, "http://127.0.0.1:1/x", {"url": "https://here:1/"}])
def test_an_extension_that_cannot_be_used_is_refused(tmp_path: Path, extension: object) -> None:
    with pytest.raises(ConfigError, match=r"the extension meshguard\.dev/clock cannot be used"):
        app.clocks_of(_with_extension(tmp_path, extension))
