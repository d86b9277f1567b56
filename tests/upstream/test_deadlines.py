"""Every wait ends: connecting, TLS, the first byte, silence, the whole call, a place in the queue."""

import asyncio
import socket

import pytest
from scripted import (
    CHUNKED,
    OK,
    Wire,
    call,
    chunk,
    fetch,
    get,
    pace,
    read_until_failure,
    replies,
    route,
    serving,
    spec,
    until,
    upstreams,
)

from ai_platform.domain.errors import UpstreamTimeout, UpstreamUnreachable
from ai_platform.upstream.settings import RetrySettings

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UP-3")]

ONCE = RetrySettings(attempts=1)


async def silent(wire: Wire) -> None:
    await wire.request()
    await wire.hung_up()
    wire.server.log.append("hung up")


async def test_an_upstream_that_never_answers_runs_into_the_first_byte_deadline_and_is_hung_up_on():
    async with asyncio.timeout(10), serving(silent) as server:
        async with upstreams(spec(server, first_byte_timeout=0.05)) as upstream:
            with pytest.raises(UpstreamTimeout, match="first_byte_timeout") as failure:
                await fetch(upstream)
            assert failure.value.sent
            (attempt,) = failure.value.attempts
            assert (attempt.target, attempt.error, attempt.maybe_billed) == ("one", "AnswerTimeout", True)
        await until(lambda: server.log)


async def test_a_head_that_trickles_does_not_move_the_first_byte_deadline():
    async def trickle(wire: Wire) -> None:
        await wire.request()
        for letter in b"HTTP/1.1 200 OK\r\nx-slow: " + b"y" * 100_000:
            await wire.send(bytes([letter]))
            await pace(0.005)

    async with serving(trickle) as server, upstreams(spec(server, first_byte_timeout=0.1)) as upstream:
        with pytest.raises(UpstreamTimeout, match="first_byte_timeout"):
            await fetch(upstream)


async def test_silence_within_an_answer_ends_it_after_what_arrived():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED + chunk(b"so far"))
        await wire.hung_up()

    async with serving(script) as server, upstreams(spec(server, idle_timeout=0.4)) as upstream:
        got, failure = await read_until_failure(upstream)
    assert got == b"so far"
    assert isinstance(failure, UpstreamTimeout)
    assert "idle_timeout" in str(failure)


async def test_chunk_extensions_do_not_pass_for_progress():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED + chunk(b"so far") + b"5;")
        while True:
            await wire.send(b"x")
            await pace(0.005)

    async with serving(script) as server, upstreams(spec(server, idle_timeout=0.1)) as upstream:
        _, failure = await read_until_failure(upstream)
    assert "idle_timeout" in str(failure)


async def test_events_that_keep_coming_keep_an_answer_alive_beyond_the_idle_deadline():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED)
        for _ in range(20):
            await wire.send(chunk(b"."))
            await pace(0.05)
        await wire.send(b"0\r\n\r\n")

    async with serving(script) as server, upstreams(spec(server, idle_timeout=0.6)) as upstream:
        _, body = await fetch(upstream)
    assert body == b"." * 20


async def test_the_total_deadline_holds_although_events_keep_coming():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED)
        while True:
            await wire.send(chunk(b"."))
            await pace(0.005)

    async with serving(script) as server, upstreams(spec(server, total_timeout=0.6)) as upstream:
        got, failure = await read_until_failure(upstream)
    assert got
    assert "total_timeout" in str(failure)


async def test_an_upload_that_nobody_reads_runs_into_the_idle_deadline():
    async def script(wire: Wire) -> None:
        wire.writer.transport.pause_reading()
        await asyncio.Event().wait()

    async with serving(script) as server, upstreams(spec(server, idle_timeout=0.4)) as upstream:
        with pytest.raises(UpstreamTimeout, match="took nothing of the request"):
            await fetch(upstream, call(body=b"x" * 30_000_000))


async def test_a_caller_that_takes_nothing_loses_the_answer_and_the_upstream_is_not_blamed():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED)
        while True:
            await wire.send(chunk(b"x" * 65536))

    async with asyncio.timeout(10), serving(script) as server, upstreams(spec(server, idle_timeout=0.4)) as upstream:
        async with upstream.open(route(), call()) as answer:
            await until(lambda: not upstream.health()[0].open_connections)
            with pytest.raises(UpstreamTimeout, match="caller"):
                async for _ in answer.body:
                    pass
        assert upstream.health()[0].failures == 0


async def test_a_slow_caller_who_runs_into_the_total_deadline_is_not_the_upstreams_fault_either():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(CHUNKED)
        while True:
            await wire.send(chunk(b"x" * 65536))

    async with (
        asyncio.timeout(10),
        serving(script) as server,
        upstreams(spec(server, total_timeout=0.6)) as upstream,
        upstream.open(route(), call()) as answer,
    ):
        await until(lambda: not upstream.health()[0].open_connections)
        with pytest.raises(UpstreamTimeout, match="caller"):
            async for _ in answer.body:
                pass
        assert upstream.health()[0].failures == 0


async def test_a_tls_handshake_that_never_ends_runs_into_its_deadline():
    async with (
        serving(Wire.hung_up) as server,
        upstreams(spec(server.url.replace("http:", "https:"), tls_timeout=0.05), retry=ONCE) as upstream,
    ):
        with pytest.raises(UpstreamTimeout, match="tls_timeout"):
            await fetch(upstream)
        assert upstream.health()[0].open_connections == 0


async def test_a_connection_that_is_never_accepted_runs_into_the_connect_deadline():
    # A listener with a full backlog leaves further connections unanswered, as a packet filter does.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with upstreams(spec(url, connect_timeout=0.1)) as upstream:
                with pytest.raises(UpstreamTimeout, match="connect_timeout") as failure:
                    await fetch(upstream)
            assert not failure.value.sent
            assert len(failure.value.attempts) == 1, "a deadline that passed is not waited for again"
        finally:
            for filler in fillers:
                filler.close()


async def test_a_call_waits_for_a_connection_no_longer_than_allowed():
    async with serving(silent) as server:
        limits = {"max_connections": 1, "wait_timeout": 0.05}
        async with asyncio.timeout(10), upstreams(spec(server, **limits)) as upstream:
            first = asyncio.create_task(fetch(upstream))
            await until(lambda: upstream.health()[0].in_flight == 1)
            with pytest.raises(UpstreamUnreachable, match="max_connections") as failure:
                await fetch(upstream)
            assert failure.value.retry_after == 1.0
            assert not failure.value.sent
            health = upstream.health()[0]
            assert (health.failures, health.waiting, health.open_connections) == (0, 0, 1)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first


async def test_an_unused_connection_is_closed_after_a_while():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK)
        await wire.hung_up()
        wire.server.log.append("closed")

    async with asyncio.timeout(10), serving(script) as server, upstreams(spec(server, keep_alive=0.05)) as upstream:
        await fetch(upstream, get())
        assert upstream.health()[0].idle_connections == 1
        await until(lambda: server.log)
        assert upstream.health()[0].open_connections == 0


@pytest.mark.parametrize("announced", [b"timeout=1", b"timeout=0, max=5"])
async def test_a_connection_that_the_upstream_will_close_soon_is_not_kept(announced: bytes):
    text = OK.replace(b"content-type", b"keep-alive: " + announced + b"\r\ncontent-type")
    async with serving(replies(text)) as server, upstreams(spec(server)) as upstream:
        await fetch(upstream)
        await fetch(upstream)
    assert server.connections == 2


async def test_a_later_shorter_deadline_rings_in_time_after_a_longer_one():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(OK)
        await silent(wire)

    async with (
        asyncio.timeout(10),
        serving(script) as server,
        upstreams(spec(server, keep_alive=100, first_byte_timeout=0.05), retry=ONCE) as upstream,
    ):
        await fetch(upstream)
        with pytest.raises(UpstreamTimeout):
            await fetch(upstream)
    assert server.connections == 1
