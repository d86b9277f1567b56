"""Retries only when safe and worth it; otherwise the upstream's answer, word for word; then the next target."""

import asyncio
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scripted import (
    OK,
    Pause,
    Wire,
    answer,
    call,
    chunk,
    fetch,
    get,
    read_until_failure,
    replies,
    route,
    sequence,
    serving,
    spec,
    until,
    upstreams,
)

from ai_platform.domain.breaker import BreakerSettings
from ai_platform.domain.call import Operation
from ai_platform.domain.errors import UpstreamBroken, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from ai_platform.testing import FakeClock
from ai_platform.upstream.errors import Attempt
from ai_platform.upstream.retry import retry_after
from ai_platform.upstream.settings import RetrySettings

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UP-3")]

OVERLOADED = answer(
    529, b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', b"request-id: req_529"
)
NOWHERE = "http://127.0.0.1:1"


def batch() -> object:
    return call(operation=Operation.BATCHES_CREATE, path="/v1/messages/batches")


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529])
async def test_a_passing_failure_is_retried_with_jittered_backoff(status: int):
    pause = Pause(FakeClock())
    async with (
        serving(sequence(answer(status, b"no"), answer(status, b"no"), OK)) as server,
        upstreams(spec(server), pause=pause, jitter=0.5) as upstream,
    ):
        got, body = await fetch(upstream)
    assert (got.status, body) == (200, b"{}")
    assert pause.seconds == [0.25, 0.5]
    assert [attempt.status for attempt in got.facts["attempts"]] == [status, status, 200]


async def test_backoff_stops_growing_at_its_cap():
    pause = Pause(FakeClock())
    retry = RetrySettings(attempts=6, base=1, cap=3)
    async with serving(replies(answer(503))) as server, upstreams(spec(server), pause=pause, retry=retry) as upstream:
        await fetch(upstream)
    assert pause.seconds == [1, 2, 3, 3, 3]


@pytest.mark.requirement("CC-4")
async def test_an_exhausted_529_stays_a_529_word_for_word():
    async with serving(replies(OVERLOADED)) as server, upstreams(spec(server)) as upstream:
        got, body = await fetch(upstream)
    assert got.status == 529
    assert b"overloaded_error" in body
    assert got.header(b"request-id") == b"req_529"
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("line", "waits"),
    [
        (b"retry-after: 2", [2.5]),
        (b"retry-after: 0", [0.5]),
        (b"retry-after-ms: 1500", [2.0]),
        (b"retry-after: " + format_datetime(datetime(2026, 11, 22, 12, 0, 4, tzinfo=UTC), usegmt=True).encode(), [4.5]),
        (b"retry-after: Sun, 01 Nov 2020 12:00:00 GMT", [0.5]),
    ],
)
async def test_a_short_retry_after_is_waited_for_and_never_undercut(line: bytes, waits: list[float]):
    clock = FakeClock(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())
    pause = Pause(clock)
    async with (
        serving(sequence(answer(429, b"", line), OK)) as server,
        upstreams(spec(server), clock=clock, pause=pause) as upstream,
    ):
        got, _ = await fetch(upstream)
    assert got.status == 200
    assert pause.seconds == waits


@pytest.mark.parametrize(
    "lines",
    [(), (b"retry-after: 61",), (b"retry-after: soon",), (b"retry-after: 1", b"x-should-retry: false")],
    ids=["no-retry-after", "too-long", "unreadable", "told-not-to"],
)
async def test_a_429_that_is_not_worth_waiting_for_is_the_callers(lines: tuple[bytes, ...]):
    pause = Pause(FakeClock())
    async with (
        serving(replies(answer(429, b"slow down", *lines))) as one,
        serving(replies(OK)) as two,
        upstreams(spec(one), spec(two, "two"), pause=pause) as upstream,
    ):
        got, body = await fetch(upstream, to=route("one", "two"))
    assert (got.status, body) == (429, b"slow down")
    assert pause.seconds == []
    assert (len(one.requests), len(two.requests)) == (1, 0)


async def test_a_429_goes_to_the_next_upstream_when_the_settings_say_so():
    retry = RetrySettings(rate_limit_failover=True)
    async with (
        serving(replies(answer(429, b"", b"retry-after: 3600"))) as one,
        serving(replies(OK)) as two,
        upstreams(spec(one), spec(two, "two"), retry=retry) as upstream,
    ):
        got, _ = await fetch(upstream, to=route("one", "two"))
        assert (got.status, got.facts["target"].name) == (200, "two")
        assert upstream.health()[0].failures == 0


async def test_a_retry_after_too_long_to_wait_for_sends_a_503_to_the_next_upstream_at_once():
    pause = Pause(FakeClock())
    async with (
        serving(replies(answer(503, b"", b"retry-after: 300"))) as one,
        serving(replies(OK)) as two,
        upstreams(spec(one), spec(two, "two"), pause=pause) as upstream,
    ):
        got, _ = await fetch(upstream, to=route("one", "two"))
    assert (got.status, pause.seconds, len(one.requests)) == (200, [], 1)


async def test_targets_are_tried_in_order_and_the_record_says_what_happened():
    async with serving(replies(OVERLOADED)) as two, serving(replies(OK)) as three:
        specs = (spec(NOWHERE), spec(two, "two"), spec(three, "three", region="eu"))
        async with upstreams(*specs, retry=RetrySettings(attempts=2)) as upstream:
            got, _ = await fetch(upstream, to=route("one", "two", "three"))
    attempts: list[Attempt] = got.facts["attempts"]
    assert [(attempt.target, attempt.status, attempt.error) for attempt in attempts] == [
        ("one", None, "ConnectFailed"),
        ("one", None, "ConnectFailed"),
        ("two", 529, ""),
        ("two", 529, ""),
        ("three", 200, ""),
    ]
    assert got.facts["target"].name == "three"
    assert got.facts["region"] == "eu"
    assert got.facts["first_byte_at"] >= got.facts["sent_at"]
    assert not got.facts["maybe_billed"]


async def test_the_last_answer_that_did_come_beats_a_later_upstream_that_cannot_be_reached():
    async with serving(replies(OVERLOADED)) as one, upstreams(spec(one), spec(NOWHERE, "two")) as upstream:
        got, body = await fetch(upstream, to=route("one", "two"))
    assert (got.status, got.header(b"request-id")) == (529, b"req_529")
    assert b"overloaded_error" in body
    assert got.facts["target"].name == "one"


async def test_a_failing_answer_too_large_to_keep_is_not_handed_on_in_part():
    async with (
        serving(replies(answer(500, b"x" * 100_000))) as one,
        upstreams(spec(one), spec(NOWHERE, "two")) as upstream,
    ):
        with pytest.raises(UpstreamUnreachable):
            await fetch(upstream, to=route("one", "two"))


async def test_every_upstream_unreachable_is_said_with_what_was_tried():
    async with upstreams(spec(NOWHERE), spec(NOWHERE, "two"), retry=RetrySettings(attempts=1)) as upstream:
        with pytest.raises(UpstreamUnreachable, match=r"two.*127\.0\.0\.1:1") as failure:
            await fetch(upstream, to=route("one", "two"))
    assert [attempt.target for attempt in failure.value.attempts] == ["one", "two"]
    assert not failure.value.sent


async def test_an_empty_route_and_an_unknown_upstream_are_errors_not_crashes():
    async with upstreams() as upstream:
        with pytest.raises(UpstreamUnreachable, match="no upstream"):
            await fetch(upstream, to=route("missing"))
        with pytest.raises(UpstreamUnreachable, match="no upstream"):
            await fetch(upstream, to=route().__class__(model=None, targets=()))


async def test_a_call_whose_answer_was_lost_is_repeated_and_marked_as_maybe_billed():
    async with serving(sequence(b"", OK)) as server, upstreams(spec(server)) as upstream:
        got, _ = await fetch(upstream)
        assert got.status == 200
        assert got.facts["maybe_billed"]
        assert [attempt.maybe_billed for attempt in got.facts["attempts"]] == [True, False]


async def test_a_lost_call_is_not_repeated_when_the_settings_forbid_it():
    retry = RetrySettings(retry_sent=False)
    async with (
        serving(sequence(b"", OK)) as one,
        serving(replies(OK)) as two,
        upstreams(spec(one), spec(two, "two"), retry=retry) as upstream,
    ):
        with pytest.raises(UpstreamBroken) as failure:
            await fetch(upstream, to=route("one", "two"))
    assert failure.value.sent
    assert (len(one.requests), len(two.requests)) == (1, 0)


async def test_a_batch_that_may_have_been_created_is_never_created_twice():
    async with (
        serving(sequence(b"", OK)) as one,
        serving(sequence(answer(500), OK)) as two,
        upstreams(spec(one), spec(two, "two")) as upstream,
    ):
        with pytest.raises(UpstreamBroken):
            await fetch(upstream, batch())
        got, _ = await fetch(upstream, batch(), route("two"))
    assert got.status == 500
    assert (len(one.requests), len(two.requests)) == (1, 1)


async def test_a_batch_that_was_refused_undone_is_tried_again():
    async with serving(sequence(answer(529), answer(503), OK)) as server, upstreams(spec(server)) as upstream:
        got, _ = await fetch(upstream, batch())
    assert got.status == 200


async def test_a_lost_read_only_call_is_repeated_and_costs_nothing():
    async with (
        serving(sequence(b"", OK)) as server,
        upstreams(spec(server), retry=RetrySettings(retry_sent=False)) as upstream,
    ):
        got, _ = await fetch(upstream, get())
    assert got.status == 200
    assert not got.facts["maybe_billed"]


async def test_a_proxys_504_on_the_way_is_marked_as_maybe_billed():
    async with serving(sequence(answer(504), OK)) as server, upstreams(spec(server)) as upstream:
        got, _ = await fetch(upstream)
    assert [attempt.maybe_billed for attempt in got.facts["attempts"]] == [True, False]


async def test_nothing_is_retried_once_the_answer_has_begun():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b"begun"))

    async with serving(script) as one, serving(replies(OK)) as two, upstreams(spec(one), spec(two, "two")) as upstream:
        got, failure = await read_until_failure(upstream)
    assert got == b"begun"
    assert isinstance(failure, UpstreamBroken)
    assert (len(one.requests), len(two.requests)) == (1, 0)


async def test_a_first_byte_deadline_is_not_waited_for_twice_at_the_same_upstream():
    async def silent(wire: Wire) -> None:
        await wire.request()
        await wire.hung_up()

    async with (
        asyncio.timeout(10),
        serving(silent) as one,
        serving(replies(OK)) as two,
        upstreams(spec(one, first_byte_timeout=0.05), spec(two, "two")) as upstream,
    ):
        got, _ = await fetch(upstream, to=route("one", "two"))
        with pytest.raises(UpstreamTimeout):
            await fetch(upstream)
    assert got.facts["target"].name == "two"
    assert len(one.requests) == 2


async def test_a_caller_who_leaves_while_waiting_for_a_retry_stops_it():
    waiting = asyncio.Event()

    async def pause(_: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    async with (
        asyncio.timeout(10),
        serving(replies(answer(503))) as server,
        upstreams(spec(server), pause=pause) as upstream,
    ):
        task = asyncio.create_task(fetch(upstream))
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(server.requests) == 1
        assert upstream.health()[0].in_flight == 0


# -- the breaker, as a caller sees it


async def test_three_failed_calls_open_the_circuit_and_the_next_is_refused_without_asking():
    clock = FakeClock()
    async with serving(replies(answer(500))) as server:
        retry = RetrySettings(attempts=1)
        async with upstreams(spec(server), clock=clock, retry=retry) as upstream:
            for _ in range(3):
                got, _ = await fetch(upstream)
                assert got.status == 500
            clock.advance(20)
            with pytest.raises(UpstreamUnreachable, match="left alone") as failure:
                await fetch(upstream)
            (health,) = upstream.health()
    assert failure.value.retry_after == pytest.approx(40)
    assert not failure.value.sent
    assert (health.breaker, health.opened, health.refused) == ("open", 1, 1)
    assert health.last_error
    assert len(server.requests) == 3


async def test_the_soonest_circuit_to_close_says_when_to_come_back():
    clock = FakeClock()
    one = BreakerSettings(failures=1)
    specs = (spec(NOWHERE), spec(NOWHERE, "two"))
    async with upstreams(*specs, clock=clock, breaker=one, retry=RetrySettings(attempts=1)) as upstream:
        for name in ("one", "two"):
            with pytest.raises(UpstreamUnreachable):
                await fetch(upstream, to=route(name))
            clock.advance(10)
        with pytest.raises(UpstreamUnreachable) as failure:
            await fetch(upstream, to=route("one", "two"))
    assert failure.value.retry_after == pytest.approx(40)


async def test_an_open_circuit_sends_calls_to_the_next_upstream_and_a_probe_brings_it_back():
    clock = FakeClock()
    async with serving(sequence(answer(500), answer(500), answer(500), OK)) as one, serving(replies(OK)) as two:
        specs = (spec(one), spec(two, "two"))
        async with upstreams(*specs, clock=clock, retry=RetrySettings(attempts=1)) as upstream:
            served = []
            for _ in range(5):
                got, _ = await fetch(upstream, to=route("one", "two"))
                served.append(got.facts["target"].name)
            clock.advance(60)
            got, _ = await fetch(upstream, to=route("one", "two"))
            served.append(got.facts["target"].name)
            assert served == ["two"] * 5 + ["one"]
            assert len(one.requests) == 4
            assert upstream.health()[0].breaker == "closed"


async def test_only_one_probe_goes_through_at_a_time_and_a_hang_up_lets_the_next_one_try():
    clock = FakeClock()

    async def script(wire: Wire) -> None:
        await wire.request()
        if len(wire.server.requests) == 1:
            await wire.send(answer(500))
        elif len(wire.server.requests) == 2:
            await wire.hung_up()
        else:
            await wire.send(OK)

    async with asyncio.timeout(10), serving(script) as server:
        breaker = BreakerSettings(failures=1)
        async with upstreams(spec(server), clock=clock, breaker=breaker, retry=RetrySettings(attempts=1)) as upstream:
            await fetch(upstream)
            clock.advance(60)
            probe = asyncio.create_task(fetch(upstream))
            await until(lambda: len(server.requests) == 2)
            with pytest.raises(UpstreamUnreachable, match="left alone"):
                await fetch(upstream)
            probe.cancel()
            with pytest.raises(asyncio.CancelledError):
                await probe
            got, _ = await fetch(upstream)
            assert got.status == 200
            assert upstream.health()[0].breaker == "closed"


async def test_a_probe_that_streams_for_long_closes_the_circuit_at_its_head():
    clock = FakeClock()
    go_on = asyncio.Event()

    async def script(wire: Wire) -> None:
        await wire.request()
        if len(wire.server.requests) == 1:
            return
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsl")
        await go_on.wait()
        await wire.send(b"ow")

    async with asyncio.timeout(10), serving(script) as server:
        breaker = BreakerSettings(failures=1)
        async with upstreams(spec(server), clock=clock, breaker=breaker, retry=RetrySettings(attempts=1)) as upstream:
            with pytest.raises(UpstreamError):
                await fetch(upstream)
            clock.advance(60)
            async with upstream.open(route(), call()):
                assert upstream.health()[0].breaker == "closed"
                other = asyncio.create_task(fetch(upstream))
                await until(lambda: len(server.requests) == 3)
                go_on.set()
                assert (await other)[1] == b"slow"


async def test_429_and_other_4xx_never_open_the_circuit():
    async with (
        serving(sequence(*[answer(status) for status in (429, 400, 429, 404, 429, 401)])) as server,
        upstreams(spec(server), breaker=BreakerSettings(failures=1)) as upstream,
    ):
        for _ in range(6):
            await fetch(upstream)
        assert upstream.health()[0].breaker == "closed"


async def test_answers_that_break_off_open_the_circuit_and_callers_that_leave_do_not():
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n12")
        if len(wire.server.requests) <= 3:
            await wire.hung_up()

    async with serving(script) as server, upstreams(spec(server)) as upstream:
        for _ in range(3):
            async with asyncio.timeout(5), upstream.open(route(), call()):
                pass
        assert upstream.health()[0].breaker == "closed"
        for _ in range(3):
            await read_until_failure(upstream)
        assert upstream.health()[0].breaker == "open"


async def test_a_single_504_that_is_handed_on_is_marked_too():
    async with (
        serving(replies(answer(504))) as server,
        upstreams(spec(server), retry=RetrySettings(attempts=1)) as upstream,
    ):
        got, _ = await fetch(upstream)
    assert (got.status, got.facts["maybe_billed"]) == (504, True)


@given(name=st.sampled_from([b"retry-after", b"retry-after-ms"]), text=st.binary(max_size=40))
@example(name=b"retry-after", text=b"Sun, 22 Nov 99999999 12:00:00 GMT")
@example(name=b"retry-after", text=b"22 Nov 2026 12:00:00 +9999999999")
def test_no_retry_after_can_do_harm(name: bytes, text: bytes):
    seconds = retry_after([(name, text)], 1_795_348_800.0)
    assert seconds is None or seconds >= 0


DATES = st.from_regex(
    r"(?:[A-Z][a-z]{2},? ?)?-?\d{0,3} [A-Za-z]{0,4} \d{0,6} \d{0,3}:?\d{0,3}:?\d{0,3} ?[A-Z+-]?\d{0,6}"
)


@given(DATES)
def test_no_date_however_odd_can_do_harm(text: str):
    seconds = retry_after([(b"retry-after", text.encode("utf-8"))], 1_795_348_800.0)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"5", 5.0), (b"0.5", 0.5), (b"-1", None), (b"nan", None), (b"inf", None), (b"", None), (b"\xff", None)],
)
def test_retry_after_is_read_strictly(text: bytes, seconds: float | None):
    assert retry_after([(b"retry-after", text)], 0.0) == seconds
