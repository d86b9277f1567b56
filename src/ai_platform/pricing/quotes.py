"""Which rows and modifiers of the price files hold for one kind of call on one day, multiplied out to final rates."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from ai_platform.domain.errors import ConfigError
from ai_platform.pricing.match import fits_model, fits_place, fits_time, midnight, specificity
from ai_platform.pricing.names import family
from ai_platform.pricing.price import RATE_DECIMALS, UNITS_PER_MICRO, UNITS_PER_RATE, Rates
from ai_platform.pricing.schema import Modifier, PriceFile, Row

MICRO = 1_000_000


class Layer(NamedTuple):
    """One price file. name: "" for the built-in list, else what its row references begin with."""

    name: str
    file: PriceFile


class Terms(NamedTuple):
    """What holds for every pass of a call. region: a region or a Bedrock profile, "" = global. at: epoch seconds."""

    platform: str
    region: str
    tier: str
    speed: str
    geo: str
    at: float


class Quote(NamedTuple):
    """Everything the price of a pass needs. tiers: highest `over` first. web_search, web_fetch: units per use."""

    tiers: tuple[Rates, ...]
    modifiers: tuple[str, ...]
    unknown: bool
    web_search: int
    web_fetch: int

    def rates(self, prompt_tokens: int) -> Rates:
        for rates in self.tiers:
            if prompt_tokens > rates.over:
                return rates
        return self.tiers[-1]


def make_quote(layers: Sequence[Layer], model: str, terms: Terms) -> Quote:
    """model: a canonical id."""
    rows = _find(layers, model, terms)
    unknown = not rows
    modifiers = _modifiers(layers, model, terms, unknown=unknown)
    times, scale = 1, 1
    for modifier in modifiers:
        top, bottom = modifier.times.as_integer_ratio()
        times, scale = times * top, scale * bottom
    tiers = [_rates(ref, row, times, scale) for ref, row in rows or _maximum(layers, model, terms)]
    return Quote(
        tuple(sorted(tiers, key=lambda rates: -rates.over)),
        tuple(f"x{modifier.times.normalize():f} {modifier.name}" for modifier in modifiers),
        unknown,
        _tool(layers, "web_search", terms),
        _tool(layers, "web_fetch", terms),
    )


def boundaries(layers: Sequence[Layer]) -> list[float]:
    """Every moment at which some price may change; between two of them a quote stays true."""
    days = {
        day
        for layer in layers
        for entry in (*layer.file.rows, *layer.file.modifiers, *layer.file.tools)
        for day in (entry.effective_from, entry.until)
        if day
    }
    return sorted(midnight(day) for day in days)


def row_ref(layer: str, model: str, row: Row) -> str:
    """How the ledger names a row: `claude-haiku-5-5@2026-10-07>100000`; rows of contract.yaml begin `contract:`."""
    day = row.effective_from.isoformat() if row.effective_from else "start"
    tier = f">{row.prompt_over}" if row.prompt_over else ""
    return f"{layer + ':' if layer else ''}{model}@{day}{tier}"


def check_precision(layers: Sequence[Layer]) -> None:
    """Products of modifiers must be whole units, or a price would not be exact.

    Raises:
        ConfigError: the modifiers together have too many decimals.

    """
    finest: dict[str, int] = {}
    for layer in layers:
        for modifier in layer.file.modifiers:
            exponent = modifier.times.normalize().as_tuple().exponent
            decimals = max(0, -exponent) if isinstance(exponent, int) else 0
            finest[modifier.group] = max(finest.get(modifier.group, 0), decimals)
    total = sum(finest.values())
    if total > RATE_DECIMALS:
        raise ConfigError(
            f"The price modifiers of the groups {', '.join(sorted(finest))} have {total} decimals together; a price is"
            f" exact up to {RATE_DECIMALS}. Write their `times` with fewer decimals, or merge two groups into one."
        )


def _find(layers: Sequence[Layer], model: str, terms: Terms) -> list[tuple[str, Row]]:
    """The rows that hold: of the first file that has any, the most specific series, one row per prompt length.

    Before the first day of the built-in list its first row holds: a clock that is wrong must not make a price unknown.
    """
    fitting: list[tuple[str, Row]] = []
    for layer in layers:
        fitting = [
            (row_ref(layer.name, model, row), row)
            for row in layer.file.rows
            if fits_model(row.models, model) and fits_place(row, terms.platform, terms.region)
        ]
        if current := [pair for pair in fitting if fits_time(pair[1], terms.at)]:
            return _best(current, model)
    days = [row.effective_from for _, row in fitting if row.effective_from]
    if not days or midnight(min(days)) <= terms.at:
        return []
    return _best([pair for pair in fitting if pair[1].effective_from == min(days)], model)


def _best(pairs: list[tuple[str, Row]], model: str) -> list[tuple[str, Row]]:
    """One row per prompt length: of the most specific series, the one that began last."""
    best = max(specificity(row, model) for _, row in pairs)
    tiers: dict[int, tuple[str, Row]] = {}
    for pair in pairs:
        row = pair[1]
        held = tiers.get(row.prompt_over)
        if specificity(row, model) == best and (held is None or _start(row) > _start(held[1])):
            tiers[row.prompt_over] = pair
    return list(tiers.values())


def _start(row: Row) -> float:
    return midnight(row.effective_from) if row.effective_from else 0.0


def _maximum(layers: Sequence[Layer], model: str, terms: Terms) -> list[tuple[str, Row]]:
    """The dearest of each price among the family's rows in effect (among all rows when it has none)."""
    everywhere = [
        row
        for layer in layers
        for row in layer.file.rows
        if fits_time(row, terms.at) and fits_place(row, terms.platform, terms.region)
    ]
    kin = family(model)
    relatives = [row for row in everywhere if kin and any(family(name) == kin for name in row.models)]
    rows = relatives or everywhere
    if not rows:
        raise ConfigError(f"The price book has no row in effect on {terms.platform}; keep the built-in list.")
    dearest = Row(
        models=(model or "?",),
        input=max(row.input for row in rows),
        output=max(row.output for row in rows),
        cache_read=max(row.cache_read for row in rows),
        write_5m=max(row.write_5m for row in rows),
        write_1h=max(row.write_1h for row in rows),
        source="the dearest known",
        checked=rows[0].checked,
    )
    return [(f"maximum:{kin if relatives else 'all'}", dearest)]


def _modifiers(layers: Sequence[Layer], model: str, terms: Terms, *, unknown: bool) -> list[Modifier]:
    chosen: dict[str, Modifier] = {}
    for layer in layers:
        for modifier in layer.file.modifiers:
            if modifier.group in chosen or not _applies(modifier, terms):
                continue
            named = fits_model(modifier.models or ("*",), model) and not fits_model(modifier.except_models, model)
            # An unknown model gets every surcharge: its name cannot rule one out.
            if named or (unknown and modifier.times > 1):
                chosen[modifier.group] = modifier
    return [modifier for modifier in chosen.values() if modifier.times != 1]


def _applies(modifier: Modifier, terms: Terms) -> bool:
    return (
        fits_time(modifier, terms.at)
        and fits_place(modifier, terms.platform, terms.region)
        and (not modifier.tiers or terms.tier in modifier.tiers)
        and (not modifier.speeds or terms.speed in modifier.speeds)
        and (not modifier.geos or terms.geo in modifier.geos)
    )


def _rates(ref: str, row: Row, times: int, scale: int) -> Rates:
    prices = (row.input, row.output, row.cache_read, row.write_5m, row.write_1h)
    over = row.prompt_over or -1
    return Rates(ref, over, *(int(price * MICRO) * UNITS_PER_RATE * times // scale for price in prices))


def _tool(layers: Sequence[Layer], tool: str, terms: Terms) -> int:
    """Units per use. The built-in list prices both tools on every platform, so there is always one."""
    for layer in layers:
        for price in layer.file.tools:
            on_platform = not price.platforms or any(fnmatchcase(terms.platform, glob) for glob in price.platforms)
            if price.tool == tool and on_platform and fits_time(price, terms.at):
                return int(price.per_thousand * MICRO) * (UNITS_PER_MICRO // 1000)
    return 0
