"""Counters in memory stay bounded, and forget nothing that still counts."""

import pytest

from ai_platform.budget.counters import Plan, RequestWindow, TooManyRequests, Unit, counter_of, request_key
from ai_platform.budget.memory import SWEEP, MemoryCounters
from ai_platform.budget.settings import Period, Scope
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.anyio


def a_counter(owner: str):
    return counter_of(Unit.MICROS, Scope.USER, owner, Period.DAY)


async def test_cells_of_windows_long_past_are_swept_and_yesterdays_are_kept(clock: FakeClock) -> None:
    counters = MemoryCounters(clock)
    for number in range(SWEEP - 1):
        counters.add(a_counter(f"old-{number}"), 1, at=clock.now())
    clock.advance(86_400)
    counters.add(a_counter("kept"), 7, at=clock.now())
    yesterday = clock.now()
    clock.advance(86_401)
    counters.add(a_counter("new"), 1, at=clock.now())
    assert counters.swept == SWEEP - 1
    assert counters.level(a_counter("kept"), at=yesterday).spent == 7
    assert counters.level(a_counter("new"), at=clock.now()).spent == 1


async def test_a_clock_that_jumps_ahead_makes_nothing_look_old(clock: FakeClock) -> None:
    counters = MemoryCounters(clock)
    now = clock.now()
    counters.add(a_counter("kept"), 7, at=now)
    clock.jump(30 * 86_400)
    for number in range(SWEEP + 1):
        counters.add(a_counter(f"ahead-{number}"), 1, at=clock.now())
    clock.jump(-30 * 86_400)
    assert counters.level(a_counter("kept"), at=now).spent == 7


async def test_a_hold_that_outlives_its_window_still_settles(clock: FakeClock) -> None:
    counters = MemoryCounters(clock)
    plan = Plan((a_counter("x"),), (), ())
    held = await counters.reserve(plan, 5, 0, at=clock.now(), count_request=True)
    clock.advance(3 * 86_400)
    for number in range(SWEEP + 1):
        counters.add(a_counter(f"late-{number}"), 1, at=clock.now())
    assert counters.swept == 1
    assert held.settle(3, 0) == [(0, 3)]


async def test_queues_of_callers_long_gone_are_swept(clock: FakeClock) -> None:
    counters = MemoryCounters(clock)

    async def request(owner: str) -> None:
        window = RequestWindow(request_key(Scope.USER, owner), Scope.USER, owner, 1)
        await counters.reserve(Plan((), (), (window,)), 0, 0, at=clock.now(), count_request=True)

    for number in range(SWEEP):
        await request(f"old-{number}")
    clock.advance(3600)
    await request("recent")
    clock.advance(10)
    await request("one more")
    assert counters.swept >= SWEEP
    with pytest.raises(TooManyRequests):
        await request("recent")


async def test_a_queue_is_never_longer_than_its_limit(clock: FakeClock) -> None:
    counters = MemoryCounters(clock)
    window = RequestWindow("requests:user:x", Scope.USER, "x", 5)
    for _ in range(50):
        clock.advance(1)
        try:
            await counters.reserve(Plan((), (), (window,)), 0, 0, at=clock.now(), count_request=True)
        except TooManyRequests:
            continue
    assert len(counters._requests["requests:user:x"]) == 5
    assert counters.requests(window) == (5, 3600 - 49)
