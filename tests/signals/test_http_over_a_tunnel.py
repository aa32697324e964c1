"""HTTP and the framing of port-forwards, cut into pieces at every place where a network may cut them."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshguard.ports import Unreachable
from meshguard.signals.http1 import HttpConnection, HttpError
from meshguard.signals.portforward import PortForwardError, PortStream

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
)
SIZED = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nagain"


class Bytes:
    """A stream that says its text in given pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = [piece for piece in pieces if piece]
        self.written = b""

    async def write(self, data: bytes) -> None:
        self.written += data

    async def read(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


def bodies(stream: Bytes, count: int) -> list[bytes]:
    async def scenario() -> list[bytes]:
        connection = HttpConnection(stream)
        return [await connection.get(f"/{number}") for number in range(count)]

    return asyncio.run(scenario())


@settings(deadline=None)
@given(st.lists(st.integers(0, len(CHUNKED + SIZED)), max_size=12))
def test_two_answers_however_they_are_cut(cuts: list[int]) -> None:
    text = CHUNKED + SIZED
    edges = [0, *sorted(cuts), len(text)]
    stream = Bytes(*(text[a:b] for a, b in itertools.pairwise(edges)))
    assert bodies(stream, 2) == [b"hello world", b"again"]
    assert stream.written.startswith(b"GET /0 HTTP/1.1\r\nHost: localhost\r\n")


def test_an_answer_may_end_with_the_connection() -> None:
    assert bodies(Bytes(b"HTTP/1.1 200 OK\r\n\r\nall", b" of it"), 1) == [b"all of it"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 7\r\n\r\nno such", "404 Not Found: no such"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nno", "in the middle of an answer"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "not the size of a chunk"),
        (b"SSH-2.0-OpenSSH\r\n\r\n\r\n", "not an HTTP answer"),
        (b"", "in the middle of an answer"),
    ],
)
def test_what_is_no_good_answer_is_an_error(text: bytes, words: str) -> None:
    with pytest.raises(HttpError, match=words):
        bodies(Bytes(text), 1)


class Frames:
    """The frames that a kubelet sends."""

    def __init__(self, *frames: bytes) -> None:
        self.frames = list(frames)
        self.sent: list[bytes] = []

    async def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    async def receive(self) -> bytes | None:
        return self.frames.pop(0) if self.frames else None


def read_all(frames: Frames) -> bytes:
    async def scenario() -> bytes:
        stream, whole = PortStream(frames, 15000), b""
        await stream.write(b"ping")
        while data := await stream.read():
            whole += data
        return whole

    return asyncio.run(scenario())


def test_the_first_frame_of_each_channel_is_the_port_and_not_data() -> None:
    frames = Frames(b"\x00\x98\x3a", b"\x01\x98\x3a", b"", b"\x00po", b"\x00ng")
    assert read_all(frames) == b"pong"
    assert frames.sent == [b"\x00ping"]


def test_the_kubelets_error_is_raised() -> None:
    with pytest.raises(PortForwardError, match="no such container"):
        read_all(Frames(b"\x00\x98\x3a", b"\x01\x98\x3a", b"\x01no such container"))


def test_a_port_where_nobody_listens() -> None:
    with pytest.raises(PortForwardError, match="nothing listens on port 15000"):
        read_all(
            Frames(b"\x00\x98\x3a", b"\x01\x98\x3a", b"\x01dial tcp4 127.0.0.1:15000: connect: connection refused")
        )


def test_the_kubelets_reason_is_heard_even_when_it_hung_up_before_we_spoke() -> None:
    class HungUp(Frames):
        async def send(self, frame: bytes) -> None:
            raise Unreachable("cannot write to a closing connection")

    with pytest.raises(PortForwardError, match="no such container"):
        read_all(HungUp(b"\x00\x98\x3a", b"\x01\x98\x3a", b"\x01no such container"))
    with pytest.raises(Unreachable, match="closing connection"):
        read_all(HungUp())


def test_a_channel_that_a_port_forward_does_not_have_is_an_error() -> None:
    with pytest.raises(PortForwardError, match="channel 3"):
        read_all(Frames(b"\x03whatever"))
