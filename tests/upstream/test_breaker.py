"""The circuit breaker alone, on a clock that moves when told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.domain.breaker import Breaker, BreakerSettings, BreakerState
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.requirement("UP-3")


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.fail(breaker.admit())


def test_it_opens_after_three_consecutive_failures_for_a_minute(clock: FakeClock):
    breaker = Breaker(BreakerSettings(), clock)
    fail(breaker, 2)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker)
    assert breaker.state is BreakerState.OPEN
    assert breaker.admit() == 0
    assert breaker.retry_in() == 60
    clock.advance(59.9)
    assert breaker.admit() == 0
    clock.advance(0.1)
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.retry_in() == 0
    assert breaker.admit() != 0


def test_a_success_between_failures_starts_the_count_again(clock: FakeClock):
    breaker = Breaker(BreakerSettings(), clock)
    for _ in range(5):
        fail(breaker, 2)
        breaker.succeed(breaker.admit())
    assert breaker.state is BreakerState.CLOSED


def test_many_calls_cut_by_one_event_count_once(clock: FakeClock):
    breaker = Breaker(BreakerSettings(), clock)
    for ticket in [breaker.admit() for _ in range(1000)]:
        breaker.fail(ticket)
    assert breaker.state is BreakerState.CLOSED
    fail(breaker, 2)
    assert breaker.state is BreakerState.OPEN


def test_a_failed_probe_opens_it_again_and_a_good_one_closes_it(clock: FakeClock):
    breaker = Breaker(BreakerSettings(failures=1, open_seconds=10), clock)
    fail(breaker)
    clock.advance(10)
    probe = breaker.admit()
    assert breaker.is_probe(probe)
    assert breaker.admit() == 0
    breaker.fail(probe)
    assert breaker.state is BreakerState.OPEN
    assert breaker.opened == 2
    clock.advance(10)
    breaker.succeed(breaker.admit())
    assert breaker.state is BreakerState.CLOSED
    assert breaker.admit()
    assert breaker.admit()


def test_late_news_of_old_calls_neither_opens_nor_closes_it(clock: FakeClock):
    breaker = Breaker(BreakerSettings(failures=1, open_seconds=10), clock)
    old = breaker.admit()
    fail(breaker)
    breaker.succeed(old)
    assert breaker.state is BreakerState.OPEN
    clock.advance(10)
    probe = breaker.admit()
    breaker.fail(old)
    breaker.release(old)
    assert breaker.admit() == 0, "the probe is still under way"
    breaker.succeed(probe)
    assert breaker.state is BreakerState.CLOSED


def test_a_probe_that_never_comes_back_does_not_block_for_ever(clock: FakeClock):
    breaker = Breaker(BreakerSettings(failures=1, open_seconds=10), clock)
    fail(breaker)
    clock.advance(10)
    lost = breaker.admit()
    assert breaker.retry_in() == 10
    clock.advance(10)
    second = breaker.admit()
    assert second not in {0, lost}
    breaker.succeed(lost)
    assert breaker.state is not BreakerState.CLOSED
    breaker.succeed(second)
    assert breaker.state is BreakerState.CLOSED


def test_a_failure_rate_opens_it_once_enough_calls_were_made(clock: FakeClock):
    settings = BreakerSettings(failures=100, failure_rate=0.5, minimum_calls=10, window=30)
    breaker = Breaker(settings, clock)
    for _ in range(4):
        breaker.succeed(breaker.admit())
        fail(breaker)
    assert breaker.state is BreakerState.CLOSED
    breaker.succeed(breaker.admit())
    fail(breaker)
    assert breaker.state is BreakerState.OPEN


def test_the_rate_forgets_what_happened_before_its_window(clock: FakeClock):
    settings = BreakerSettings(failures=100, failure_rate=0.5, minimum_calls=10, window=30)
    breaker = Breaker(settings, clock)
    fail(breaker, 9)
    clock.advance(30)
    fail(breaker, 9)
    assert breaker.state is BreakerState.CLOSED


@given(st.lists(st.sampled_from(["admit", "succeed", "fail", "release", "wait"]), max_size=60))
def test_whatever_happens_it_lets_a_call_through_again_in_the_end(steps: list[str]):
    clock = FakeClock()
    breaker = Breaker(BreakerSettings(failures=2, open_seconds=10), clock)
    tickets: list[int] = []
    for step in steps:
        if step == "admit":
            tickets.append(breaker.admit())
        elif step == "wait":
            clock.advance(5)
        elif tickets and (ticket := tickets.pop(0)):
            getattr(breaker, step)(ticket)
        assert (breaker.retry_in() == 0) == (breaker.state is not BreakerState.OPEN and not _probing(breaker, clock))
    clock.advance(20)
    ticket = breaker.admit()
    assert ticket
    breaker.succeed(ticket)
    assert breaker.state is BreakerState.CLOSED


def _probing(breaker: Breaker, clock: FakeClock) -> bool:
    return breaker.state is BreakerState.HALF_OPEN and bool(breaker._probe) and clock.monotonic() < breaker._probe_until
