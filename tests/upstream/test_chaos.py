"""Everything at once: hostile answers, resets, callers that leave, a tight pool. No answer reaches the wrong caller."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from scripted import CHUNKED, END, Wire, answer, call, chunk, fetch, pace, route, serving, spec, until, upstreams

from ai_platform.domain.breaker import BreakerSettings
from ai_platform.domain.errors import UpstreamError
from ai_platform.upstream import Upstream
from ai_platform.upstream.connection import SLICE, Connection
from ai_platform.upstream.errors import Closing
from ai_platform.upstream.framing import read_answer_head
from ai_platform.upstream.pool import Pool
from ai_platform.upstream.settings import RetrySettings
from ai_platform.upstream.wire import Limits, Outgoing

pytestmark = pytest.mark.anyio

NEVER = BreakerSettings(failures=1_000_000)
WAYS = (
    "plain",
    "plain",
    "chunked",
    "until-close",
    "close",
    "reset",
    "half",
    "half-chunked",
    "two-answers",
    "garbage",
    "early",
    "slow",
    "overloaded",
)


async def misbehave(wire: Wire) -> None:
    while True:
        request = await wire.request()
        way, _, tag = request.body.partition(b":")
        plain = answer(200, tag, b"x-way: " + way)
        match way.decode():
            case "plain" | "early":
                await wire.send(plain)
            case "chunked":
                await wire.send(CHUNKED, *[chunk(tag[at : at + 1]) for at in range(len(tag))], END)
            case "until-close":
                await wire.send(b"HTTP/1.1 200 OK\r\n\r\n" + tag)
                wire.writer.write_eof()
                return
            case "close":
                return
            case "reset":
                wire.reset()
                return
            case "half":
                await wire.send(answer(200, tag)[:-2])
                return
            case "half-chunked":
                await wire.send(CHUNKED + chunk(tag[:3]))
                return
            case "two-answers":
                await wire.send(plain + answer(200, b"forged"))
            case "garbage":
                await wire.send(b"\x16\x03\x01 what\r\n\r\n")
            case "slow":
                await wire.send(CHUNKED)
                for at in range(len(tag)):
                    await wire.send(chunk(tag[at : at + 1]))
                    await pace(0.001)
                await wire.send(END)
            case _:
                await wire.send(answer(529, b"overloaded"))


WHOLE = {"plain", "early", "chunked", "until-close", "two-answers", "slow"}


async def one(upstream: Upstream, way: str, number: int) -> str:
    tag = b"tag-%d-" % number * 5
    got = b""
    try:
        async with upstream.open(route(), call(body=way.encode() + b":" + tag)) as given:
            if way == "early" and number % 2:
                return "left"
            async for piece in given.body:
                got += piece
            if given.status == 529:
                assert got == b"overloaded"
                return "overloaded"
    except UpstreamError:
        assert tag.startswith(got), "what arrived before an error is this call's own"
        assert way not in WHOLE, f"{way} should have succeeded"
        return "failed"
    assert got == tag
    return "whole"


@pytest.mark.parametrize("seed", range(4))
async def test_no_answer_ever_reaches_another_caller_and_no_slot_is_lost(seed: int):
    dice = random.Random(seed)
    retry = RetrySettings(attempts=2, base=0)
    async with asyncio.timeout(60), serving(misbehave) as server:
        limits = {"max_connections": 8, "keep_alive": 0.05, "max_waiting": 1000}
        async with upstreams(spec(server, **limits), retry=retry, breaker=NEVER) as upstream:
            tasks: list[asyncio.Task[str]] = []
            for number in range(400):
                tasks.append(asyncio.create_task(one(upstream, dice.choice(WAYS), number)))
                if dice.random() < 0.15:
                    dice.choice(tasks[-20:]).cancel()
                if dice.random() < 0.3:
                    await asyncio.sleep(0)
            results = await asyncio.gather(*tasks, return_exceptions=True)
            unexpected = [result for result in results if not isinstance(result, str | asyncio.CancelledError)]
            assert unexpected == []
            assert results.count("whole") > 50
            await until(lambda: upstream.health()[0].open_connections == 0)
            health = upstream.health()[0]
            assert (health.waiting, health.in_flight) == (0, 0)


# -- the corners that real networks reach too seldom to wait for


class Line(asyncio.Transport):
    """A transport without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:  # noqa: ARG002 - the transport's signature
        self.calls.append("write")

    def is_closing(self) -> bool:
        return "abort" in self.calls

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")

    def abort(self) -> None:
        self.calls.append("abort")


class Shelf:
    """Counts what comes back."""

    back = 0

    def put(self, _: Connection) -> None:
        self.back += 1

    def gone(self, _: Connection) -> None:
        pass


LIMITS = Limits(name="one", first_byte=9, idle=9, total=9, keep_alive=9, max_body=10**6, max_head=65536)


async def dial(pool: Pool) -> Connection:
    connection = Connection(asyncio.get_running_loop(), LIMITS, pool)
    connection.connection_made(Line())
    return connection


def pool(size: int, dialler: Callable[[Pool], Awaitable[Connection]] = dial) -> Pool:
    return Pool("one", dialler, size=size, queue=5, patience=5)


async def test_a_fresh_connection_takes_the_slot_of_the_oldest_idle_one_when_all_are_taken():
    kept = pool(2)
    first, second = await kept.acquire(), await kept.acquire()
    kept.put(first)
    kept.put(second)
    third = await kept.acquire()
    assert third not in {first, second}
    assert not first.usable
    first.connection_lost(None)  # reported late: its slot belongs to the third already
    assert (kept.open, kept.idle) == (2, 1)
    second.connection_lost(None)
    third.connection_lost(None)
    assert kept.open == 0


async def test_an_idle_connection_that_is_closing_is_not_lent():
    kept = pool(2)
    connection = await kept.acquire()
    kept.put(connection)
    connection.abort()
    assert kept.take() is None
    connection.connection_lost(None)


async def test_a_connection_that_dies_on_its_way_to_a_waiting_caller_is_replaced():
    kept = pool(1)
    first = await kept.acquire()
    waiting = asyncio.create_task(kept.acquire())
    await asyncio.sleep(0)
    kept.put(first)  # the waiter has it, but has not run yet
    first.connection_lost(None)
    async with asyncio.timeout(5):
        second = await waiting
    assert second is not first
    assert second.usable
    second.connection_lost(None)
    assert kept.open == 0


async def test_a_slot_handed_to_a_caller_that_was_cancelled_in_the_same_moment_goes_on():
    kept = pool(1)
    first = await kept.acquire()
    leaving, staying = (asyncio.create_task(kept.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    first.connection_lost(None)  # the slot goes to `leaving`
    leaving.cancel()
    async with asyncio.timeout(5):
        second = await staying
    second.connection_lost(None)
    assert leaving.cancelled()
    assert kept.open == 0


async def test_a_connection_handed_to_a_caller_that_was_cancelled_in_the_same_moment_goes_on():
    kept = pool(1)
    first = await kept.acquire()
    leaving, staying = (asyncio.create_task(kept.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    kept.put(first)
    leaving.cancel()
    async with asyncio.timeout(5):
        assert await staying is first
    first.connection_lost(None)


async def test_what_was_still_dialling_or_lent_when_the_pool_closed_is_closed_too():
    go_on = asyncio.Event()

    async def slow(owner: Pool) -> Connection:
        await go_on.wait()
        return await dial(owner)

    kept = pool(2, slow)
    dialling = asyncio.create_task(kept.acquire())
    await asyncio.sleep(0)
    await kept.close()
    go_on.set()
    with pytest.raises(Closing):
        await dialling
    late = await dial(kept)
    kept.put(late)
    assert not late.usable


async def test_an_answer_that_ends_while_reading_is_paused_leaves_the_connection_reading():
    shelf, line = Shelf(), Line()
    connection = Connection(asyncio.get_running_loop(), LIMITS, shelf)
    connection.connection_made(line)
    reply = connection.start(Outgoing(b"GET / HTTP/1.1\r\n\r\n"))
    whole = answer(200, b"x" * 200_000)
    connection.data_received(whole[:150_000])
    connection.data_received(whole[150_000:])  # a TLS transport may hand over what it had decrypted already
    assert line.calls == ["write", "pause", "resume"]
    assert shelf.back == 1
    assert b"".join([piece async for piece in reply]) == b"x" * 200_000
    connection.connection_lost(None)


async def test_a_connection_with_a_half_sent_request_is_not_kept_whatever_the_answer_says():
    shelf, line = Shelf(), Line()
    connection = Connection(asyncio.get_running_loop(), LIMITS, shelf)
    connection.connection_made(line)
    request = Outgoing(b"POST / HTTP/1.1\r\n\r\n", b"x" * (SLICE + 1))
    reply = connection.start(request)
    connection.data_received(answer(200, b"early"))
    await connection.upload(reply, request.body)
    assert [piece async for piece in reply] == [b"early"]
    assert line.calls == ["write", "abort"], "the head went out, the body did not"
    assert shelf.back == 0
    connection.connection_lost(None)


@pytest.mark.parametrize(
    "fields",
    [
        [(b"content-length", b"1"), (b"content-length", b"1")],
        [(b"content-length", b"1_0")],
        [(b"content-length", "\u0661".encode())],
        [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
        [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
        [(b"transfer-encoding", b"\x0bchunked, identity")],
    ],
)
def test_unclear_framing_is_refused_here_too_and_not_only_by_the_parser(fields: list[tuple[bytes, bytes]]):
    with pytest.raises(ValueError, match=r"content-length|transfer-encoding"):
        read_answer_head(fields)


async def test_a_failing_answer_that_breaks_off_is_not_handed_on():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(answer(500, b"half of it")[:-4])

    async with serving(script) as server:
        specs = (spec(server), spec("http://127.0.0.1:1", "two"))
        async with upstreams(*specs, retry=RetrySettings(attempts=1)) as upstream:
            with pytest.raises(UpstreamError, match="two"):
                await fetch(upstream, to=route("one", "two"))
