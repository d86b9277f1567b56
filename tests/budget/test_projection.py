"""Where the month is heading, and how sure that is."""

from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from ai_platform.budget.projection import project


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


NOON_OF_THE_15TH = at("2026-11-15T12:00:00Z")  # 14.5 of 30 days


def test_the_projection_is_the_months_pace_carried_on() -> None:
    assert project(14_500_000, (), NOON_OF_THE_15TH).expected == 30_000_000
    assert project(10_000_000, (), at("2026-11-11T00:00:00Z")).expected == 30_000_000


def test_the_first_day_is_taken_for_a_whole_one() -> None:
    projection = project(1_000_000, (), at("2026-11-01T00:10:00Z"))
    assert (projection.expected, projection.days_elapsed) == (30_000_000, 1.0)


def test_a_steady_spender_has_no_spread() -> None:
    projection = project(14_500_000, [1_000_000] * 14, NOON_OF_THE_15TH)
    assert (projection.low, projection.expected, projection.high) == (30_000_000, 30_000_000, 30_000_000)


def test_the_interval_of_days_that_vary_is_the_one_computed_by_hand() -> None:
    # mean 1.0, s^2 = 4 x 0.01 / 3, n = 4, r = 10 days: variance 10 s^2 + 100 s^2 / 4 = 35 s^2 = 0.4667
    # spread 1.645 x sqrt(0.4667) = 1.1238; month 20 + 10 x 1.0 -+ 1.1238
    days = [900_000, 1_100_000, 900_000, 1_100_000]
    projection = project(20_000_000, days, at("2026-11-21T00:00:00Z"))
    assert projection.expected == 30_000_000
    assert abs(projection.low - 28_876_200) < 1000
    assert projection.high is not None
    assert abs(projection.high - 31_123_800) < 1000


def test_too_little_history_gives_no_upper_bound() -> None:
    projection = project(500, [100, 200], NOON_OF_THE_15TH)
    assert (projection.low, projection.high, projection.basis_days) == (500, None, 2)


def test_a_month_that_is_over_is_what_was_spent() -> None:
    projection = project(7_000_000, [1, 2, 3], at("2026-11-30T23:59:59.999Z"))
    assert abs(projection.expected - 7_000_000) < 200


@given(
    st.integers(0, 10**12),
    st.lists(st.integers(0, 10**11), max_size=28),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),  # noqa: DTZ001 - any moment will do
)
def test_the_interval_always_holds_the_projection(month: int, days: list[int], moment: datetime) -> None:
    projection = project(month, days, moment.timestamp())
    assert 0 <= projection.low <= projection.expected
    assert projection.high is None or projection.expected <= projection.high
