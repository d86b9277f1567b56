"""Days, weeks and months in UTC, at their borders."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.budget.settings import Period
from ai_platform.budget.windows import Calendar, window_of


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("period", "moment", "start", "end"),
    [
        (Period.DAY, "2026-11-22T23:59:59.999Z", "2026-11-22T00:00Z", "2026-11-23T00:00Z"),
        (Period.DAY, "2026-11-23T00:00:00Z", "2026-11-23T00:00Z", "2026-11-24T00:00Z"),
        (Period.WEEK, "2026-11-22T12:00:00Z", "2026-11-16T00:00Z", "2026-11-23T00:00Z"),
        (Period.WEEK, "2026-11-23T00:00:00Z", "2026-11-23T00:00Z", "2026-11-30T00:00Z"),
        (Period.WEEK, "2027-01-01T00:00:00Z", "2026-12-28T00:00Z", "2027-01-04T00:00Z"),
        (Period.MONTH, "2026-11-30T23:59:59Z", "2026-11-01T00:00Z", "2026-12-01T00:00Z"),
        (Period.MONTH, "2026-12-01T00:00:00Z", "2026-12-01T00:00Z", "2027-01-01T00:00Z"),
        (Period.MONTH, "2028-02-29T12:00:00Z", "2028-02-01T00:00Z", "2028-03-01T00:00Z"),
    ],
)
def test_a_window_begins_and_ends_at_midnight_utc(period: Period, moment: str, start: str, end: str) -> None:
    window = window_of(period, at(moment))
    assert (window.start, window.end) == (at(start), at(end))


@given(st.sampled_from(Period), st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001 - made UTC below
def test_every_moment_lies_in_one_window_and_the_windows_touch(period: Period, moment: datetime) -> None:
    now = moment.replace(tzinfo=UTC).timestamp()
    window = window_of(period, now)
    assert window.start <= now < window.end
    assert window_of(period, window.end).start == window.end
    assert window_of(period, window.start - 1).end == window.start
    if period is Period.WEEK:
        assert datetime.fromtimestamp(window.start, UTC).weekday() == 0
        assert window.end - window.start == timedelta(days=7).total_seconds()


@given(st.lists(st.integers(0, 4_000_000_000), max_size=20))
def test_the_calendar_remembers_nothing_that_is_wrong(moments: list[int]) -> None:
    calendar = Calendar()
    for moment in moments:
        for period in Period:
            assert calendar.window(period, moment) == window_of(period, moment)
