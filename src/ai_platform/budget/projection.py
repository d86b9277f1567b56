"""Where a month's spending is heading: month to date / days elapsed x days in the month, with an interval."""

from collections.abc import Sequence
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from ai_platform.budget.settings import Period
from ai_platform.budget.windows import DAY, window_of

Z90 = Decimal("1.645")
ENOUGH_DAYS = 3


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """Micro-dollars for the whole month. low, high: 90 % of months like the last four weeks end between them.

    high None: fewer than three complete days are known, too few to say. basis_days: how many were used.
    """

    expected: int
    low: int
    high: int | None
    basis_days: int
    days_elapsed: float
    days_in_month: int


def project(month: int, days: Sequence[int], now: float) -> Projection:
    """month: spent this month so far. days: spending of complete days before today.

    The interval is that of a sum of future days which vary as the known ones do and whose mean is itself uncertain:
    variance r s^2 + r^2 s^2 / n for r days to come and n known ones. It always holds the expected value.
    """
    window = window_of(Period.MONTH, now)
    length = (window.end - window.start) // DAY
    elapsed = max(Decimal(1), Decimal(int(now) - window.start) / DAY)  # the first day alone says too little
    expected = int(month * length / elapsed)
    known = len(days)
    heading = Projection(
        expected=expected,
        low=month,
        high=None,
        basis_days=known,
        days_elapsed=round(float(elapsed), 2),
        days_in_month=length,
    )
    if known < ENOUGH_DAYS:
        return heading
    rest = max(Decimal(0), length - elapsed)
    mean = Decimal(sum(days)) / known
    variance = sum(((day - mean) ** 2 for day in days), Decimal(0)) / (known - 1)
    spread = Z90 * (variance * (rest + rest * rest / known)).sqrt()
    low = month + max(Decimal(0), rest * mean - spread)
    high = month + rest * mean + spread
    return replace(heading, low=min(expected, int(low)), high=max(expected, int(high)))
