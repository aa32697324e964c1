"""Carries connections from the machine's loopback into the testbed.

The listening sockets were opened in the machine's own network namespace and inherited; a socket stays in the
namespace that it was made in. This process runs inside the testbed, so its outgoing connections are made there, to
the same port numbers.
"""

from __future__ import annotations

import asyncio
import socket
import sys

_CHUNK_BYTES = 256 * 1024


async def _copy(source: asyncio.StreamReader, destination: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_CHUNK_BYTES):
            destination.write(data)
            await destination.drain()
        if destination.can_write_eof():
            destination.write_eof()
    except OSError:
        destination.close()  # one side is gone: the other must notice


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    port = writer.get_extra_info("sockname")[1]
    try:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port, limit=_CHUNK_BYTES)
    except OSError:
        writer.close()  # nobody listens inside: refuse as well as one can after the fact
        return
    await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
    for stream in (inner_writer, writer):
        stream.close()


async def _serve(descriptors: list[int]) -> None:
    servers = [
        await asyncio.start_server(_carry, sock=socket.socket(fileno=descriptor), limit=_CHUNK_BYTES)
        for descriptor in descriptors
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    asyncio.run(_serve([int(argument) for argument in sys.argv[1:]]))
