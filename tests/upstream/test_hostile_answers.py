"""An upstream that lies, floods, mixes messages up or never ends: refused, bounded, and the connection not reused."""

import asyncio
import gzip
import zlib
from contextlib import suppress

import pytest
from hypothesis import given, settings
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
    pieces_until_failure,
    read_until_failure,
    replies,
    serving,
    spec,
    until,
    upstreams,
)

from ai_platform.domain.errors import UpstreamBroken, UpstreamError
from ai_platform.upstream.decode import PIECE
from ai_platform.upstream.settings import RetrySettings

pytestmark = pytest.mark.anyio

ONCE = RetrySettings(attempts=1)
HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "text",
    [
        HEAD + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        HEAD + b"content-length: 2, 3\r\n\r\n{}",
        HEAD + b"content-length: +2\r\n\r\n{}",
        HEAD + b"content-length: -2\r\n\r\n{}",
        HEAD + b"content-length: 0x2\r\n\r\n{}",
        HEAD + b"content-length:\r\n\r\n{}",
        HEAD + b"content-length: 99999999999999999999999999\r\n\r\n{}",
        HEAD + b"content-length : 2\r\n\r\n{}",
        HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked, identity\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: xchunked\r\n\r\n{}",
        HEAD + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"x: folded\r\n line\r\ncontent-length: 2\r\n\r\n{}",
        HEAD + b"x: a\0b\r\ncontent-length: 2\r\n\r\n{}",
        HEAD + b"x: a\rb\r\ncontent-length: 2\r\n\r\n{}",
        HEAD + b"bad name: a\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\ncontent-length: 2\n\n{}",
        b"HTTP/1.1 099 No\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 999 No\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/9.9 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"<html>not http</html>",
        b"SSH-2.0-OpenSSH\r\n",
        CHUNKED + b"fffffffffffffffff\r\nx",
        CHUNKED + b"-1\r\nx",
        CHUNKED + b"0x2\r\n{}\r\n0\r\n\r\n",
        CHUNKED + b"2\n{}\n0\n\n",
    ],
)
async def test_an_answer_that_two_readers_could_read_differently_is_refused(text: bytes):
    async with serving(replies(text)) as server, upstreams(spec(server), retry=ONCE) as upstream:
        got, failure = await read_until_failure(upstream)
        assert got == b""
        assert isinstance(failure, UpstreamBroken)
        assert failure.sent
        await until(lambda: not upstream.health()[0].open_connections)


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, br", b"compress"])
async def test_a_coding_nobody_asked_for_and_nobody_here_reads_is_refused(coding: bytes):
    text = answer(200, b"\x01\x02\x03", b"content-encoding: " + coding)
    async with serving(replies(text)) as server, upstreams(spec(server), retry=ONCE) as upstream:
        _, failure = await read_until_failure(upstream)
    assert isinstance(failure, UpstreamBroken)
    assert "compressed" in str(failure)


async def test_two_codings_in_two_fields_do_not_pass_as_one():
    text = answer(200, gzip.compress(b"x"), b"content-encoding: gzip", b"content-encoding: br")
    async with serving(replies(text)) as server, upstreams(spec(server), retry=ONCE) as upstream:
        _, failure = await read_until_failure(upstream)
    assert isinstance(failure, UpstreamBroken)


@pytest.mark.parametrize(
    ("packed", "coding"),
    [
        (gzip.compress(b"a" * 999, mtime=0)[:-9], b"gzip"),
        (b"not gzip at all", b"gzip"),
        (gzip.compress(b"a", mtime=0) + b"junk", b"gzip"),
        (b"\x08junk", b"deflate"),
        (zlib.compress(b"a") + b"junk", b"deflate"),
        (gzip.compress(b"") * 5000, b"gzip"),
    ],
)
async def test_damaged_compression_is_reported(packed: bytes, coding: bytes):
    text = answer(200, packed, b"content-encoding: " + coding)
    async with serving(replies(text)) as server, upstreams(spec(server), retry=ONCE) as upstream:
        _, failure = await read_until_failure(upstream)
    assert isinstance(failure, UpstreamBroken)
    assert "damaged" in str(failure)


async def test_a_compression_bomb_is_unpacked_in_small_pieces_and_stopped_at_the_limit():
    text = answer(200, gzip.compress(b"\0" * 50_000_000), b"content-encoding: gzip")
    limit = 3_000_000
    async with (
        serving(replies(text)) as server,
        upstreams(spec(server, max_response_bytes=limit), retry=ONCE) as upstream,
    ):
        pieces, failure = await pieces_until_failure(upstream)
    assert isinstance(failure, UpstreamBroken)
    assert "max_response_bytes" in str(failure)
    assert sum(map(len, pieces)) <= limit
    assert max(map(len, pieces)) <= PIECE


@pytest.mark.parametrize(
    "text",
    [answer(200, b"x" * 2000), CHUNKED + chunk(b"x" * 600) * 4 + END, HEAD + b"\r\n" + b"x" * 2000],
    ids=["announced", "chunked", "until-close"],
)
async def test_an_answer_above_the_size_limit_is_cut_off(text: bytes):
    async with serving(replies(text)) as server, upstreams(spec(server, max_response_bytes=1000)) as upstream:
        got, failure = await read_until_failure(upstream)
        (health,) = upstream.health()
    assert isinstance(failure, UpstreamBroken)
    assert "max_response_bytes" in str(failure)
    assert len(got) <= 1000
    assert health.failures == 0, "the platform's own limit says nothing about the upstream's health"
    assert len(server.requests) == 1, "the same answer would be as long the second time"


def endless(start: bytes, more: bytes) -> object:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(start)
        while True:
            wire.writer.write(more)
            await wire.writer.drain()

    return script


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (HEAD, b"x-flood: 1\r\n"),
        (HEAD + b"x: ", b"y" * 4096),
        (HEAD, b"z" * 4096),
        (b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
        (CHUNKED + b"5;", b"ext=1;" * 100),
        (CHUNKED + b"0\r\n", b"x-trailer: 1\r\n"),
        (b"HTTP/1.1 200 ", b"reason " * 100),
    ],
    ids=["fields", "one-value", "one-name", "interim-answers", "chunk-extensions", "trailers", "reason"],
)
async def test_endless_heads_extensions_and_trailers_are_cut_off(start: bytes, more: bytes):
    async with (
        serving(endless(start, more)) as server,
        upstreams(spec(server, max_header_bytes=8192), retry=ONCE) as upstream,
    ):
        _, failure = await read_until_failure(upstream)
    assert isinstance(failure, UpstreamBroken)


async def test_a_head_above_the_limit_is_refused_even_when_it_arrives_in_one_piece():
    text = HEAD + b"x: " + b"y" * 9000 + b"\r\ncontent-length: 2\r\n\r\n{}"
    async with serving(replies(text)) as server, upstreams(spec(server, max_header_bytes=8192), retry=ONCE) as upstream:
        _, failure = await read_until_failure(upstream)
    assert "8192" in str(failure)


async def test_too_many_fields_are_refused():
    async with (
        serving(replies(answer(200, b"", *[b"x: 1"] * 300))) as server,
        upstreams(spec(server), retry=ONCE) as upstream,
    ):
        _, failure = await read_until_failure(upstream)
    assert "header fields" in str(failure)


@pytest.mark.parametrize("extra", [OK, b"junk", b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n"])
async def test_bytes_after_an_answer_never_become_the_next_ones_answer(extra: bytes):
    async with serving(replies(answer(200, b"mine") + extra)) as server, upstreams(spec(server)) as upstream:
        for _ in range(3):
            got, body = await fetch(upstream)
            assert (got.status, body) == (200, b"mine")
    assert len(server.requests) == 3


async def test_an_answer_planted_on_an_idle_connection_is_never_read():
    planted = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(answer(200, b"real"))
        if wire.number == 1:
            await wire.send(answer(200, b"planted"))
            planted.set()
            await wire.hung_up()
            wire.server.log.append("closed")

    async with asyncio.timeout(10), serving(script) as server, upstreams(spec(server)) as upstream:
        await fetch(upstream)
        await planted.wait()
        await until(lambda: server.log)
        _, body = await fetch(upstream)
    assert body == b"real"
    assert server.connections == 2


async def test_content_sent_to_a_head_request_does_not_reach_the_next_call():
    async with serving(replies(answer(200, b"sneaky"))) as server, upstreams(spec(server)) as upstream:
        _, empty = await fetch(upstream, call(method="HEAD", body=b""))
        _, body = await fetch(upstream, get())
    assert (empty, body) == (b"", b"sneaky")
    assert server.connections == 2


async def test_fields_that_would_act_on_the_platforms_own_origin_do_not_travel():
    text = answer(
        200,
        b"",
        b"set-cookie: session=stolen",
        b"strict-transport-security: max-age=1",
        b"alt-svc: h3=evil",
        b"clear-site-data: *",
        b"connection: x-hop",
        b"x-hop: 1",
        b"keep-alive: timeout=5",
        b"upgrade: h2c",
        b"proxy-authenticate: Basic",
        b"x-kept: 1",
    )
    async with serving(replies(text)) as server, upstreams(spec(server)) as upstream:
        got, _ = await fetch(upstream)
    assert got.headers == [(b"x-kept", b"1"), (b"content-length", b"0")]


@settings(max_examples=300, deadline=None)
@given(noise=st.binary(max_size=200), start=st.sampled_from([b"", HEAD, CHUNKED, HEAD + b"content-length: 5\r\n"]))
async def test_no_bytes_an_upstream_can_send_raise_anything_but_an_upstream_error(noise: bytes, start: bytes):
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(start + noise)

    async with serving(script) as server, upstreams(spec(server), retry=ONCE) as upstream:
        with suppress(UpstreamError):
            await fetch(upstream)
        await until(lambda: not upstream.health()[0].open_connections)
