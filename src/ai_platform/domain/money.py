"""Money is a whole number of micro-dollars (1 USD = 1,000,000); no float ever holds an amount."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import NewType

Micros = NewType("Micros", int)

MICROS_PER_USD = 1_000_000


def from_usd(amount: str | int | Decimal) -> Micros:
    """Micro-dollars of a decimal dollar amount; a half micro-dollar rounds to even.

    Raises:
        decimal.InvalidOperation: the text is not a number.

    """
    return Micros(int((Decimal(amount) * MICROS_PER_USD).to_integral_value(ROUND_HALF_EVEN)))


def to_usd(amount: int) -> str:
    """Exact decimal dollars with six places: `1.234567`."""
    sign = "-" if amount < 0 else ""
    whole, part = divmod(abs(amount), MICROS_PER_USD)
    return f"{sign}{whole}.{part:06d}"
