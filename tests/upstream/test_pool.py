"""Connections are kept, bounded, waited for in order, given up at once when a caller leaves, and never mixed up."""

import asyncio
import re
import socket
import struct

import pytest
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
    pace,
    read,
    replies,
    route,
    serving,
    spec,
    until,
    upstreams,
)

from ai_platform.domain.errors import UpstreamBroken, UpstreamError, UpstreamUnreachable
from ai_platform.upstream.connection import HIGH_WATER
from ai_platform.upstream.reply import Reply
from ai_platform.upstream.settings import RetrySettings

pytestmark = pytest.mark.anyio

ONCE = RetrySettings(attempts=1)


async def test_calls_one_after_the_other_share_one_connection():
    async with serving(replies(OK)) as server, upstreams(spec(server)) as upstream:
        reused = [(await fetch(upstream))[0].facts["reused"] for _ in range(5)]
        (health,) = upstream.health()
    assert reused == [False, True, True, True, True]
    assert server.connections == 1
    assert (health.open_connections, health.idle_connections, health.in_flight) == (1, 1, 0)
    assert (health.calls, health.tries) == (5, 5)


@pytest.mark.parametrize(
    "text", [answer(200, b"x", b"connection: close"), b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx"]
)
async def test_a_connection_the_upstream_will_not_keep_is_not_used_again(text: bytes):
    async with serving(replies(text)) as server, upstreams(spec(server)) as upstream:
        await fetch(upstream)
        await fetch(upstream)
    assert server.connections == 2


async def test_a_connection_returns_when_the_answer_arrived_not_when_it_was_read():
    async with (
        asyncio.timeout(10),
        serving(replies(OK)) as server,
        upstreams(spec(server, max_connections=1)) as upstream,
        upstream.open(route(), call()) as first,
    ):
        async with upstream.open(route(), call()) as second:
            assert await read(second) == b"{}"
        assert await read(first) == b"{}"
    assert server.connections == 1


async def test_a_kept_connection_that_was_closed_meanwhile_is_noticed():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK)

    async with serving(script) as server, upstreams(spec(server)) as upstream:
        for _ in range(3):
            got, _ = await fetch(upstream)
            assert len(got.facts["attempts"]) == 1
            await until(lambda: upstream.health()[0].open_connections == 0)
    assert server.connections == 3


async def test_a_kept_connection_that_closes_as_the_request_leaves_is_replaced_without_waiting():
    async def script(wire: Wire) -> None:
        await wire.request()
        if wire.number > 1:
            await wire.send(OK)
            await wire.hung_up()
        await wire.send(OK)
        await wire.request()  # reads the second request and hangs up on it

    async with serving(script) as server, upstreams(spec(server), retry=ONCE) as upstream:
        await fetch(upstream)
        got, body = await fetch(upstream)
        (health,) = upstream.health()
    assert (got.status, body) == (200, b"{}")
    assert [(attempt.error, attempt.reused) for attempt in got.facts["attempts"]] == [
        ("ConnectionDied", True),
        ("", False),
    ]
    assert got.facts["maybe_billed"], "nobody can know what the upstream did with the request it read"
    assert (health.stale, health.failures) == (1, 0)


async def test_a_stale_connection_is_not_replaced_when_repeating_is_forbidden():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK)
        await wire.request()

    async with serving(script) as server, upstreams(spec(server), retry=RetrySettings(retry_sent=False)) as upstream:
        await fetch(upstream)
        with pytest.raises(UpstreamBroken) as failure:
            await fetch(upstream)
    assert failure.value.sent
    assert len(server.requests) == 2


async def test_a_stale_replacement_is_fresh_even_when_every_slot_lies_idle():
    release = asyncio.Event()

    async def script(wire: Wire) -> None:
        while True:
            request = await wire.request()
            if request.line.startswith(b"POST") and wire.number <= 2:
                return  # hangs up on the first call after the warm-up
            if wire.number <= 2:
                wire.server.log.append(wire.number)
                await release.wait()
            await wire.send(OK)

    async with (
        asyncio.timeout(10),
        serving(script) as server,
        upstreams(spec(server, max_connections=2), retry=ONCE) as upstream,
    ):
        warm = [asyncio.create_task(fetch(upstream, get())) for _ in range(2)]
        await until(lambda: len(server.log) == 2)
        release.set()
        await asyncio.gather(*warm)
        assert upstream.health()[0].idle_connections == 2
        got, _ = await fetch(upstream)
        assert [attempt.reused for attempt in got.facts["attempts"]] == [True, False]
        assert upstream.health()[0].open_connections <= 2


async def test_calls_beyond_the_limit_wait_their_turn_in_order():
    order: list[int] = []

    async def script(wire: Wire) -> None:
        while True:
            request = await wire.request()
            order.append(int(request.body))
            await wire.send(OK)

    async with asyncio.timeout(10), serving(script) as server, upstreams(spec(server, max_connections=1)) as upstream:
        tasks = [asyncio.create_task(fetch(upstream, call(body=b"%d" % number))) for number in range(30)]
        await asyncio.gather(*tasks)
        (health,) = upstream.health()
    assert server.connections == 1
    assert order == list(range(30))
    assert (health.open_connections, health.waiting) == (1, 0)


async def test_a_full_queue_refuses_at_once_and_goes_to_the_next_upstream():
    async def silent(wire: Wire) -> None:
        await wire.request()
        await wire.hung_up()

    async with asyncio.timeout(10), serving(silent) as one, serving(replies(OK)) as two:
        tight = spec(one, max_connections=1, max_waiting=0)
        async with upstreams(tight, spec(two, "two")) as upstream:
            busy = asyncio.create_task(fetch(upstream))
            await until(lambda: len(one.requests) == 1)
            with pytest.raises(UpstreamUnreachable, match="in use"):
                await fetch(upstream)
            got, _ = await fetch(upstream, to=route("one", "two"))
            assert got.facts["target"].name == "two"
            assert upstream.health()[0].failures == 0
            busy.cancel()
            await asyncio.wait([busy])


async def test_waiting_callers_that_leave_give_their_turn_and_slot_away():
    gate = asyncio.Event()

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await gate.wait()
            await wire.send(OK)

    async with asyncio.timeout(10), serving(script) as server, upstreams(spec(server, max_connections=1)) as upstream:
        tasks = [asyncio.create_task(fetch(upstream)) for _ in range(6)]
        await until(lambda: upstream.health()[0].waiting == 5)
        for task in tasks[1::2]:
            task.cancel()
        await until(lambda: upstream.health()[0].waiting == 2)
        gate.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(result, asyncio.CancelledError) for result in done] == [False, True] * 3
        assert upstream.health()[0].idle_connections == 1


async def test_cancelling_at_every_possible_moment_never_loses_a_slot():
    async with (
        asyncio.timeout(60),
        serving(replies(CHUNKED + chunk(b"a"), chunk(b"b"), END)) as server,
        upstreams(spec(server, max_connections=2)) as upstream,
    ):
        for turns in range(60):
            tasks = [asyncio.create_task(fetch(upstream)) for _ in range(5)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await until(lambda: upstream.health()[0].in_flight == 0)
            (health,) = upstream.health()
            assert health.open_connections <= 2
            assert health.waiting == 0
        assert (await fetch(upstream))[1] == b"ab"


@pytest.mark.requirement("CC-5")
async def test_a_caller_that_hangs_up_in_mid_stream_hangs_up_on_the_upstream():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED + chunk(b"begun"))
        await wire.hung_up()
        wire.server.log.append("hung up")

    async with asyncio.timeout(10), serving(script) as server, upstreams(spec(server)) as upstream:
        async with upstream.open(route(), call()) as given:
            assert await anext(given.body) == b"begun"
        await until(lambda: server.log)
        assert upstream.health()[0].open_connections == 0
        assert upstream.health()[0].failures == 0
        with pytest.raises(UpstreamBroken, match="after its call had ended"):
            await anext(given.body)


@pytest.mark.requirement("CC-5")
async def test_a_caller_that_hangs_up_before_the_head_hangs_up_on_the_upstream():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.hung_up()
        wire.server.log.append("hung up")

    async with asyncio.timeout(10), serving(script) as server, upstreams(spec(server)) as upstream:
        task = asyncio.create_task(fetch(upstream))
        await until(lambda: len(server.requests) == 1)
        task.cancel()
        await asyncio.wait([task])
        await until(lambda: server.log)
        assert upstream.health()[0].in_flight == 0


async def test_an_error_inside_the_context_hangs_up_too():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED + chunk(b"begun"))
        await wire.hung_up()
        wire.server.log.append("hung up")

    async with asyncio.timeout(10), serving(script) as server, upstreams(spec(server)) as upstream:
        with pytest.raises(ZeroDivisionError):
            async with upstream.open(route(), call()):
                raise ZeroDivisionError
        await until(lambda: server.log)


async def test_a_slow_reader_stops_the_upstream_from_writing():
    written = 0

    async def script(wire: Wire) -> None:
        nonlocal written
        await wire.request()
        wire.server.log.append(wire.writer.transport)
        await wire.send(CHUNKED)
        piece = chunk(b"x" * 65536)
        for _ in range(2000):
            wire.writer.write(piece)
            await wire.writer.drain()
            written += 65536
        await wire.send(END)

    async with (
        asyncio.timeout(30),
        serving(script) as server,
        upstreams(spec(server)) as upstream,
        upstream.open(route(), call()) as given,
    ):
        body: Reply = given.body
        (transport,) = server.log
        # This side has stopped reading, and behind it both kernel buffers are full: the upstream is stopped too.
        await until(lambda: body._connection.paused and transport.get_write_buffer_size() > 0)
        assert body.buffered <= HIGH_WATER + 256 * 1024
        assert written < 64_000_000, "what two socket buffers can hold on loopback, of 131 megabytes in all"
        assert len(await read(given)) == 2000 * 65536


async def test_a_large_request_is_written_at_the_pace_it_is_read():
    body = bytes(range(256)) * 40_000

    async def script(wire: Wire) -> None:
        request = await wire.request()
        wire.server.log.append(request.body == body)
        await wire.send(OK)

    async with asyncio.timeout(20), serving(script, limit=2**16) as server, upstreams(spec(server)) as upstream:
        for _ in range(2):
            got, _ = await fetch(upstream, call(body=body))
            assert got.status == 200
    assert server.log == [True, True]


async def test_an_answer_that_comes_before_the_request_was_read_is_handed_on_and_ends_the_upload():
    async def script(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        await wire.send(answer(413, b"too large"))
        await wire.hung_up()

    async with asyncio.timeout(10), serving(script, limit=2**16) as server, upstreams(spec(server)) as upstream:
        got, body = await fetch(upstream, call(body=b"x" * 50_000_000))
        assert (got.status, body) == (413, b"too large")
        await until(lambda: upstream.health()[0].open_connections == 0)


async def test_only_one_reader_at_a_time_may_read_an_answer():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED)
        await wire.hung_up()

    async with (
        asyncio.timeout(10),
        serving(script) as server,
        upstreams(spec(server)) as upstream,
        upstream.open(route(), call()) as given,
    ):
        first = asyncio.ensure_future(anext(given.body))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one reader"):
            await anext(given.body)
        first.cancel()
        await asyncio.wait([first])


async def test_a_read_that_was_cancelled_loses_nothing():
    go_on = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED)
        await go_on.wait()
        await wire.send(chunk(b"still here"), END)

    async with (
        asyncio.timeout(10),
        serving(script) as server,
        upstreams(spec(server)) as upstream,
        upstream.open(route(), call()) as given,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await anext(given.body)
        go_on.set()
        assert await read(given) == b"still here"


async def test_a_thousand_streams_at_once_each_get_their_own_events():
    async def script(wire: Wire) -> None:
        while True:
            request = await wire.request()
            await wire.send(CHUNKED)
            for turn in range(5):
                await wire.send(chunk(b"%b:%d " % (request.body, turn)))
                await pace(0.005)
            await wire.send(END)

    async def one(upstream: object, number: int) -> bool:
        _, body = await fetch(upstream, call(body=b"%d" % number))
        return re.fullmatch(rb"(?:%d:\d ){5}" % number, body) is not None

    async with asyncio.timeout(60), serving(script, backlog=1024) as server, upstreams(spec(server)) as upstream:
        results = await asyncio.gather(*(one(upstream, number) for number in range(1000)))
        assert all(results)
        assert upstream.health()[0].in_flight == 0
    assert server.connections <= 1024


async def test_closing_hangs_up_on_everything_and_refuses_what_comes_after():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED + chunk(b"begun"))
        await wire.hung_up()
        wire.server.log.append("hung up")

    async with asyncio.timeout(10), serving(script) as server:
        async with upstreams(spec(server, max_connections=1)) as upstream:
            async with upstream.open(route(), call()) as given:
                waiting = asyncio.create_task(fetch(upstream))
                await until(lambda: upstream.health()[0].waiting == 1)
                await upstream.close()
                assert await anext(given.body) == b"begun"
                with pytest.raises(UpstreamBroken):
                    await anext(given.body)
                with pytest.raises(UpstreamUnreachable, match="shutting down"):
                    await waiting
                with pytest.raises(UpstreamUnreachable, match="shutting down"):
                    await fetch(upstream)
            assert upstream.health()[0].open_connections == 0
        await until(lambda: server.log)


async def test_a_connection_reset_in_mid_answer_is_an_upstream_error():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED + chunk(b"begun"))
        await wire.server.log[0].wait()
        sock = wire.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing sends RST
        wire.reset()

    async with asyncio.timeout(10), serving(script) as server, upstreams(spec(server)) as upstream:
        server.log.append(asyncio.Event())
        async with upstream.open(route(), call()) as given:
            assert await anext(given.body) == b"begun"
            server.log[0].set()
            with pytest.raises(UpstreamError, match="closed the connection after 5 bytes"):
                await anext(given.body)
