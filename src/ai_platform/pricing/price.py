"""The price of one call, with the arithmetic a reader can repeat."""

from decimal import Decimal
from typing import NamedTuple

import msgspec

from ai_platform.domain.money import Micros
from ai_platform.domain.usage import Usage

RATE_DECIMALS = 9
UNITS_PER_RATE = 10**RATE_DECIMALS
"""Rates are whole units of 1e-9 micro-dollars per million tokens: room for three modifiers of three decimals."""

UNITS_PER_MICRO = 10**6 * UNITS_PER_RATE
"""tokens x rate is a cost in units; this many are one micro-dollar."""


class Line(NamedTuple):
    """what: `input`, `output`, `cache_read`, `write_5m`, `write_1h`, `web_search` or `web_fetch`; of a further pass
    `compaction: input` and so on. number: tokens, or uses of the tool. rate: micro-dollars per million of them, all
    modifiers included.
    """

    what: str
    number: int
    rate: Decimal


class Rates(NamedTuple):
    """Final rates of one row in units, for prompts of more than `over` tokens (-1 = any prompt)."""

    ref: str
    over: int
    input: int
    output: int
    cache_read: int
    write_5m: int
    write_1h: int


class Pass(NamedTuple):
    """One model pass of a call: what it used and the rates that hold for it. label: "" for the answer itself."""

    label: str
    rates: Rates
    usage: Usage

    def units(self) -> int:
        rates, usage = self.rates, self.usage
        return (
            usage.input_tokens * rates.input
            + usage.output_tokens * rates.output
            + usage.cache_read_tokens * rates.cache_read
            + usage.cache_write_5m_tokens * rates.write_5m
            + usage.cache_write_1h_tokens * rates.write_1h
        )

    def lines(self) -> list[Line]:
        rates, usage = self.rates, self.usage
        counts = (
            ("input", usage.input_tokens, rates.input),
            ("output", usage.output_tokens, rates.output),
            ("cache_read", usage.cache_read_tokens, rates.cache_read),
            ("write_5m", usage.cache_write_5m_tokens, rates.write_5m),
            ("write_1h", usage.cache_write_1h_tokens, rates.write_1h),
        )
        prefix = f"{self.label}: " if self.label else ""
        return [Line(prefix + what, count, decimal_rate(rate)) for what, count, rate in counts if count]


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """micros: what the call costs, rounded once (half to even). rows: the price rows and modifiers used.

    unknown: a model had no price and was priced at a maximum; somebody must be told.
    """

    micros: Micros
    rows: tuple[str, ...]
    unknown: bool = False
    passes: tuple[Pass, ...] = ()
    tools: tuple[Line, ...] = ()

    @property
    def lines(self) -> tuple[Line, ...]:
        """Every part of the price: sum(number x rate) / 1,000,000, rounded once, is `micros`."""
        return (*(line for one in self.passes for line in one.lines()), *self.tools)


def decimal_rate(units: int) -> Decimal:
    """Micro-dollars per million, without trailing zeros."""
    rate = Decimal(units) / UNITS_PER_RATE
    return rate.quantize(Decimal(1)) if rate == rate.to_integral_value() else rate.normalize()


def round_units(units: int) -> Micros:
    """Whole micro-dollars; exactly half goes to the even neighbour."""
    whole, rest = divmod(units, UNITS_PER_MICRO)
    if rest * 2 > UNITS_PER_MICRO or (rest * 2 == UNITS_PER_MICRO and whole & 1):
        whole += 1
    return Micros(whole)
