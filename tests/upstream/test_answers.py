"""Answers arrive as the upstream sent them, however the network cut them up."""

import asyncio
import gzip
import re
import zlib
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripted import (
    CHUNKED,
    END,
    OK,
    Wire,
    answer,
    call,
    chunk,
    fetch,
    get,
    read,
    read_until_failure,
    replies,
    route,
    serving,
    spec,
    upstreams,
)

from ai_platform.domain.errors import UpstreamBroken
from ai_platform.upstream.connection import Connection
from ai_platform.upstream.decode import Decoded
from ai_platform.upstream.reply import Reply
from ai_platform.upstream.wire import Limits, Outgoing

pytestmark = pytest.mark.anyio


@pytest.mark.requirement("CC-4")
async def test_status_headers_and_body_arrive_as_sent():
    text = answer(
        200, b'{"id":"msg_1"}', b"request-id: req_1", b"X-Unknown: A, b", b"anthropic-ratelimit-tokens-limit: 5"
    )
    async with serving(replies(text)) as server, upstreams(spec(server)) as upstream:
        got, body = await fetch(upstream)
    assert got.status == 200
    assert body == b'{"id":"msg_1"}'
    assert got.headers == [
        (b"request-id", b"req_1"),
        (b"x-unknown", b"A, b"),
        (b"anthropic-ratelimit-tokens-limit", b"5"),
        (b"content-length", b"14"),
    ]


@pytest.mark.requirement("CC-5")
async def test_each_event_is_delivered_when_it_arrives_pings_and_comments_included():
    taken = asyncio.Event()
    events = [b"event: ping\ndata: {}\n\n", b": a comment\n\n", b"event: message_stop\ndata: {}\n\n"]

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED)
        for event in events:
            await wire.send(chunk(event))
            await taken.wait()  # the next event is written only after this one was delivered
            taken.clear()
        await wire.send(END)

    async with asyncio.timeout(10), serving(script) as server, upstreams(spec(server)) as upstream:
        got = []
        async with upstream.open(route(), call()) as given_answer:
            async for piece in given_answer.body:
                got.append(piece)
                taken.set()
    assert got == events


@pytest.mark.parametrize(
    ("text", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold", b"old"),
        (b"HTTP/1.1 204 None\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, b"{}"),
        (CHUNKED + b"3;ext=1\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n", b"abc"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
    ],
    ids=["until-close", "http-1.0", "204", "304", "interim", "extensions-and-trailers", "empty"],
)
async def test_every_way_of_ending_an_answer_is_understood(text: bytes, body: bytes):
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(text)
        wire.writer.write_eof()
        await wire.hung_up()

    async with serving(script) as server, upstreams(spec(server)) as upstream:
        got, received = await fetch(upstream)
    assert received == body
    assert b"x-trailer" not in dict(got.headers)
    assert b"link" not in dict(got.headers)


async def test_a_head_request_ends_at_the_head():
    text = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"
    async with serving(replies(text)) as server, upstreams(spec(server)) as upstream:
        got, body = await fetch(upstream, call(method="HEAD", path="/api/hello", body=b""))
        assert (got.status, body, got.header(b"content-length")) == (200, b"", b"5000")
        # The 5000 bytes never come: whoever asks next must not be made to wait for them.
        got, body = await fetch(upstream, call(method="HEAD", path="/api/hello", body=b""))
        assert got.status == 200


async def test_redirects_and_pages_in_html_are_handed_on_verbatim():
    redirect = answer(307, b"", b"location: https://elsewhere.example/v1/messages")
    page = answer(200, b"<html>", b"content-type: text/html")
    async with (
        serving(replies(redirect)) as one,
        serving(replies(page)) as two,
        upstreams(spec(one), spec(two, "two")) as upstream,
    ):
        moved, _ = await fetch(upstream)
        html, body = await fetch(upstream, to=route("two"))
    assert (moved.status, moved.header(b"location")) == (307, b"https://elsewhere.example/v1/messages")
    assert len(one.requests) == 1
    assert (html.status, body) == (200, b"<html>")


@pytest.mark.requirement("CC-4")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429])
async def test_an_error_answer_is_handed_on_word_for_word_after_one_try(status: int):
    body = b'{"type":"error","error":{"type":"x","message":"prompt is too long: 210 tokens > 200 maximum"}}'
    text = answer(status, body, b"request-id: req_9", b"retry-after: 3600", b"x-should-retry: true")
    async with serving(replies(text)) as server, upstreams(spec(server)) as upstream:
        got, received = await fetch(upstream)
    assert (got.status, received) == (status, body)
    assert got.header(b"request-id") == b"req_9"
    assert got.header(b"retry-after") == b"3600"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("text", "arrived", "complaint"),
    [
        (answer(200, b"0123456789")[:-4], b"012345", "6 bytes"),
        (CHUNKED + chunk(b"one") + chunk(b"two"), b"onetwo", "6 bytes"),
        (CHUNKED + chunk(b"one") + b"5\r\ntw", b"onetw", "5 bytes"),
        (CHUNKED + chunk(b"one") + b"zz\r\n", b"one", "chunk size"),
    ],
    ids=["short-length", "no-last-chunk", "cut-chunk", "bad-chunk"],
)
async def test_what_arrived_is_delivered_before_an_early_end_is_reported(text: bytes, arrived: bytes, complaint: str):
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(text)

    async with asyncio.timeout(10), serving(script) as server, upstreams(spec(server)) as upstream:
        got, failure = await read_until_failure(upstream)
        assert isinstance(failure, UpstreamBroken)
        assert re.search(complaint, str(failure))
        assert failure.sent
        assert failure.target == "one"
        assert got == arrived
        (health,) = upstream.health()
        assert "one" in health.last_error
        assert health.failures == 1


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "raw-deflate", "members"])
async def test_an_answer_that_was_compressed_all_the_same_is_uncompressed(coding: str):
    plain = b'data: {"text":"hello"}\n\n' * 5000
    if coding == "deflate":
        packed = zlib.compress(plain)
    elif coding == "raw-deflate":
        packed = zlib.compress(plain, wbits=-15)
    elif coding == "members":
        packed = b"".join(map(gzip.compress, (b"", plain[:70], b"", plain[70:], b"")))
    else:
        packed = gzip.compress(plain)
    name = {"raw-deflate": "deflate", "members": "gzip"}.get(coding, coding)
    text = answer(200, packed, b"content-encoding: " + name.encode(), b"request-id: r")
    async with serving(replies(text)) as server, upstreams(spec(server)) as upstream:
        got, body = await fetch(upstream)
    assert body == plain
    assert got.headers == [(b"request-id", b"r")]
    assert server.requests[0].all(b"accept-encoding") == [b"identity"]


async def test_a_compressed_event_is_delivered_before_the_next_one_is_sent():
    taken = asyncio.Event()
    packer = zlib.compressobj(wbits=31)

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED[:-2] + b"content-encoding: gzip\r\n\r\n")
        for event in (b"first", b"second"):
            await wire.send(chunk(packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)))
            await taken.wait()
            taken.clear()
        await wire.send(chunk(packer.flush()), END)

    async with asyncio.timeout(10), serving(script) as server, upstreams(spec(server)) as upstream:
        got = []
        async with upstream.open(route(), call()) as given_answer:
            async for piece in given_answer.body:
                got.append(piece)
                taken.set()
    assert got == [b"first", b"second"]


async def test_a_head_answer_with_a_coding_has_nothing_to_uncompress():
    text = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 10\r\n\r\n"
    async with serving(replies(text)) as server, upstreams(spec(server)) as upstream:
        got, body = await fetch(upstream, call(method="HEAD", body=b""))
    assert (got.header(b"content-encoding"), body) == (b"gzip", b"")


async def test_the_body_of_a_finished_call_cannot_be_read_from_the_next_ones_connection():
    async with asyncio.timeout(10), serving(replies(OK)) as server, upstreams(spec(server)) as upstream:
        async with upstream.open(route(), get()) as first:
            pass
        async with upstream.open(route(), get()) as second:
            assert await read(second) == b"{}"
        with pytest.raises(UpstreamBroken, match="after its call had ended"):
            await read(first)
    assert server.connections == 1


class Shelf:
    """Owns a connection that is fed by hand."""

    def __init__(self) -> None:
        self.back: list[Connection] = []

    def put(self, connection: Connection) -> None:
        self.back.append(connection)

    def gone(self, connection: Connection) -> None:
        pass


class Line(asyncio.Transport):
    """Swallows what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def is_closing(self) -> bool:
        return self.aborted

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.aborted = True


LIMITS = Limits(name="one", first_byte=9, idle=9, total=9, keep_alive=9, max_body=10**6, max_head=65536)
PIECES = st.lists(st.binary(min_size=1, max_size=40), max_size=6)


def cut(text: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges) if start < end]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=PIECES, chunked=st.booleans(), interim=st.booleans(), places=st.lists(st.integers(0, 10**6), max_size=12))
async def test_no_split_of_the_wire_changes_an_answer(
    *, pieces: list[bytes], chunked: bool, interim: bool, places: list[int]
):
    body = b"".join(pieces)
    if chunked:
        wire = CHUNKED + b"".join(map(chunk, pieces)) + END
    else:
        wire = answer(200, body, b"content-type: text/event-stream")
    if interim:
        wire = b"HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n" + wire
    shelf, line = Shelf(), Line()
    connection = Connection(asyncio.get_running_loop(), LIMITS, shelf)
    connection.connection_made(line)
    for _ in range(2):  # twice: what one answer leaves behind must not touch the next
        reply: Reply = connection.start(Outgoing(b"GET / HTTP/1.1\r\n\r\n"))
        for part in cut(wire, places):
            connection.data_received(part)
        await reply.head()
        assert dict(reply.headers)[b"content-type"] == b"text/event-stream"
        assert [data async for data in reply] == ([body] if body else [])
        assert reply.finished
    assert shelf.back == [connection, connection]
    assert not line.aborted
    connection.connection_lost(None)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plain=st.binary(max_size=4000), gz=st.booleans(), places=st.lists(st.integers(0, 10**6), max_size=8))
async def test_no_split_of_compressed_data_changes_its_content(*, plain: bytes, gz: bool, places: list[int]):
    packed = gzip.compress(plain) if gz else zlib.compress(plain)

    async def source() -> AsyncIterator[bytes]:
        for part in cut(packed, places):
            yield part

    decoded = Decoded(source(), b"gzip" if gz else b"deflate", limit=10**6, name="one")
    assert b"".join([part async for part in decoded]) == plain
