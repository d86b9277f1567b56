"""The windows budgets are counted in: UTC days, weeks and months as pairs of epoch seconds."""

from datetime import UTC, datetime
from typing import NamedTuple

from ai_platform.budget.settings import Period

DAY = 86_400
_FIRST_MONDAY = 4 * DAY  # 1970-01-05


class Window(NamedTuple):
    """start inclusive, end exclusive."""

    start: int
    end: int


def window_of(period: Period, at: float) -> Window:
    """The window that `at` lies in."""
    if period is Period.DAY:
        start = int(at // DAY) * DAY
        return Window(start, start + DAY)
    if period is Period.WEEK:
        start = int((at - _FIRST_MONDAY) // (7 * DAY)) * 7 * DAY + _FIRST_MONDAY
        return Window(start, start + 7 * DAY)
    moment = datetime.fromtimestamp(at, UTC)
    following = (moment.year + 1, 1) if moment.month == 12 else (moment.year, moment.month + 1)
    return Window(_midnight(moment.year, moment.month), _midnight(*following))


def _midnight(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp())


class Calendar:
    """window_of with a memory: most calls fall into the window of the one before."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: dict[Period, Window] = {}

    def window(self, period: Period, at: float) -> Window:
        last = self._last.get(period)
        if last is None or not last.start <= at < last.end:
            last = self._last[period] = window_of(period, at)
        return last
