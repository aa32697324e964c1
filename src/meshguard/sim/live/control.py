"""How another process looks at a running simulator and moves its clock: one line of JSON each way, on a Unix socket."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

from meshguard.sim.clock import SimClock
from meshguard.sim.fleet.fleet import Fleet

SOCKET = "control.sock"
_PATIENCE_S = 600.0


class ControlError(Exception):
    """The simulator does not answer."""


async def listen(folder: Path, clock: SimClock, fleet: Fleet) -> asyncio.AbstractServer:
    """Answer at a socket in the simulator's folder."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(await reader.readline() or b"{}")
        if "speed" in asked:
            clock.set(speed=float(asked["speed"]))
        if "paused" in asked:
            clock.set(paused=bool(asked["paused"]))
        if "mark" in asked:
            fleet.happen("operator", str(asked["mark"]))
        if "peakEnds" in asked:
            fleet.end_peak()
        if "until" in asked:
            await clock.skip(max(0.0, float(asked["until"]) - fleet.now))
        told = {"seconds": fleet.now, "speed": clock.speed, "paused": clock.paused, "wall": clock.wall()}
        writer.write(json.dumps(told).encode() + b"\n")
        await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(answer, str(folder / SOCKET))


def ask(folder: Path, **wanted: Any) -> dict[str, Any]:
    """Ask the simulator; `speed`, `paused`, `mark`, `peakEnds`, `until` (move on to that second).

    Raises ControlError.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.connect(str(folder / SOCKET))
            connection.sendall(json.dumps(wanted).encode() + b"\n")
            with connection.makefile() as lines:
                told: dict[str, Any] = json.loads(lines.readline())
                return told
    except (OSError, ValueError) as error:
        raise ControlError(f"the simulator does not answer: {error}") from error
