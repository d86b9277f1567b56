"""A second HTTP reader (h11, pure Python) reads the same mutilated bytes: where both accept, both see one message."""

import asyncio

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_chaos import LIMITS, Line, Shelf

from ai_platform.domain.errors import UpstreamError
from ai_platform.upstream.connection import Connection
from ai_platform.upstream.wire import Outgoing

pytestmark = pytest.mark.anyio

ANSWERS = (
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx: y\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3;a=b\r\nabc\r\n0\r\nt: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not\r\nContent-Length:  5  \r\n\r\nhello",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 204 No\r\ncontent-length: 5\r\n\r\n",
)
SPLINTERS = (
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b" ",
        b"\t",
        b"0",
        b"1",
        b"5",
        b":",
        b";",
        b",",
        b"\0",
        b"\x0b",
        b"\xff",
        b"-",
        b"+",
        b"_",
    ),
    *(b"f", b"0x", b"chunked", b"HTTP/1.1 200 OK\r\n", b"content-length: 3\r\n", b"content-length: 5\r\n"),
    *(b"transfer-encoding: chunked\r\n", b"Transfer-Encoding : chunked\r\n", b"transfer-encoding: identity\r\n"),
)
WOUND = st.tuples(st.integers(0, 200), st.sampled_from(SPLINTERS), st.integers(0, 3))


def wounded(text: bytes, wounds: list[tuple[int, bytes, int]]) -> bytes:
    for place, splinter, lost in wounds:
        at = place % (len(text) + 1)
        text = text[:at] + splinter + text[at + lost :]
    return text


async def ours(text: bytes) -> tuple[int, bytes] | None:
    connection = Connection(asyncio.get_running_loop(), LIMITS, Shelf())
    connection.connection_made(Line())
    reply = connection.start(Outgoing(b"GET / HTTP/1.1\r\n\r\n"))
    connection.data_received(text)
    connection.eof_received()
    connection.connection_lost(None)
    try:
        await reply.head()
        return reply.status, b"".join([piece async for piece in reply])
    except UpstreamError:
        return None


def theirs(text: bytes) -> tuple[int, bytes] | None:
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    reader.send(h11.EndOfMessage())
    status, body = 0, b""
    ended = False
    try:
        reader.receive_data(text)
        while True:
            event = reader.next_event()
            if event is h11.NEED_DATA and not ended:
                ended = True
                reader.receive_data(b"")
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return status, body
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None


@settings(max_examples=1000, deadline=None)
@given(text=st.sampled_from(ANSWERS), wounds=st.lists(WOUND, max_size=3))
async def test_two_readers_never_see_two_messages_in_the_same_bytes(text: bytes, wounds: list[tuple[int, bytes, int]]):
    wire = wounded(text, wounds)
    mine, other = await ours(wire), theirs(wire)
    assert mine is None or other is None or mine == other


@pytest.mark.parametrize("text", ANSWERS)
async def test_both_readers_accept_what_is_whole(text: bytes):
    assert await ours(text) == theirs(text) is not None
