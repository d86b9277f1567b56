"""What a price file says (YAML): rows of base prices, modifiers that multiply them, prices of server tools.

All prices are US dollars as decimals; nothing becomes a float. How they are applied: book.py.
"""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ai_platform import documents
from ai_platform.documents import Document

PRICE_DECIMALS = 6
TIMES_DECIMALS = 4

Place = tuple[str | int, ...]
Names = tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=100)], ...]


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base prices in USD per million tokens.

    models: canonical ids or globs. platforms: `anthropic`, `bedrock`, `vertex`, `foundry` or globs; empty = all.
    regions: `global`, `regional` (any region that is not global) or globs over region names; empty = all.
    prompt_over: the row holds for prompts (uncached + cache reads + cache writes) of more tokens than this.
    effective_from, until: whole UTC days, until exclusive; absent = always was, has no end.
    source, checked: where the price is published, and when that was last read.
    """

    models: Names
    input: Decimal
    output: Decimal
    cache_read: Decimal
    write_5m: Decimal
    write_1h: Decimal
    platforms: Names = ()
    regions: Names = ()
    prompt_over: Annotated[int, msgspec.Meta(ge=0)] = 0
    effective_from: dt.date | None = None
    until: dt.date | None = None
    source: str
    checked: dt.date


class Modifier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Multiplies every token price by `times`. Of one group the first that fits holds; groups stack.

    models, except_models, platforms, regions: as in Row. tiers, speeds, geos: the values the answer reports.
    """

    name: str
    group: str
    times: Decimal
    models: Names = ()
    except_models: Names = ()
    platforms: Names = ()
    regions: Names = ()
    tiers: Names = ()
    speeds: Names = ()
    geos: Names = ()
    effective_from: dt.date | None = None
    until: dt.date | None = None
    source: str
    checked: dt.date


class ToolPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a server tool costs beside its tokens, in USD per thousand uses; no modifier touches it."""

    tool: Literal["web_search", "web_fetch"]
    per_thousand: Decimal
    platforms: Names = ()
    effective_from: dt.date | None = None
    until: dt.date | None = None
    source: str
    checked: dt.date


class PriceFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rows: tuple[Row, ...] = ()
    modifiers: tuple[Modifier, ...] = ()
    tools: tuple[ToolPrice, ...] = ()


def read_prices(source: Path | str, *, name: str = "") -> Document[PriceFile]:
    """A price file, checked.

    Raises:
        ConfigError: the file cannot be read, or is not a price file; with line, column and remedy.

    """
    document = documents.read(source, PriceFile, name=name)
    for kind in ("rows", "modifiers", "tools"):
        for index, entry in enumerate(getattr(document.value, kind)):
            _check_period(document, (kind, index), entry)
            for field in ("input", "output", "cache_read", "write_5m", "write_1h", "per_thousand"):
                _check_amount(document, (kind, index, field), getattr(entry, field, Decimal(0)), PRICE_DECIMALS)
            _check_amount(document, (kind, index, "times"), getattr(entry, "times", Decimal(1)), TIMES_DECIMALS)
    return document


def _check_period(
    document: Document[PriceFile], path: tuple[str | int, ...], entry: Row | Modifier | ToolPrice
) -> None:
    if entry.effective_from and entry.until and entry.until <= entry.effective_from:
        raise document.error("'until' must be a later day than 'effective_from'.", *path, "until")


def _check_amount(document: Document[PriceFile], path: Place, amount: Decimal, decimals: int) -> None:
    if amount < 0 or amount > 1_000_000:
        raise document.error(f"'{path[-1]}' must be from 0 to 1000000.", *path)
    if amount != round(amount, decimals):
        raise document.error(f"'{path[-1]}' has more than {decimals} decimals.", *path)
