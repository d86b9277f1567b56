"""The price book: what the usage of a call costs. Exact integers, rounded once.

Fails closed on money: a model without a price is never free. It is priced at a maximum and flagged, or refused
before the call (settings). Not the ledger, which keeps the result; not the estimate of a call that has not run.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied
from ai_platform.domain.usage import Usage
from ai_platform.pricing.match import fits_time
from ai_platform.pricing.names import canonical
from ai_platform.pricing.price import Line, Pass, Price, decimal_rate, round_units
from ai_platform.pricing.quotes import Layer, Quote, Terms, boundaries, check_precision, make_quote, row_ref
from ai_platform.pricing.schema import Modifier, Row, ToolPrice
from ai_platform.pricing.settings import UnknownModel

MEMO = 4096


class PriceBook:
    """layers: the organisation's files first (the last one loaded wins), the built-in list last.

    version: changes with every price. unknown_priced: passes priced at a maximum because their model has no row.
    """

    def __init__(self, layers: Sequence[Layer], *, unknown_model: UnknownModel = UnknownModel.MAXIMUM) -> None:
        check_precision(layers)
        self._layers = tuple(layers)
        self._unknown_model = unknown_model
        self._boundaries = boundaries(self._layers)
        self._quotes: dict[tuple[str, Terms], Quote] = {}
        self.unknown_priced = 0
        self.version = hashlib.sha256(repr(self._layers).encode()).hexdigest()[:12]

    def price(
        self,
        model: str | None,
        usage: Usage,
        *,
        platform: str = "anthropic",
        region: str = "",
        at: float,
        asked: str | None = None,
    ) -> Price:
        """What `usage` costs.

        model: the model that answered (message.model); iterations name their own.
        region: where the endpoint is; "" and `global` are global. A Bedrock profile (`global.`, `eu.`) in `model`, or
        in `asked` (the id that was sent upstream), says it more exactly and wins.
        at: seconds since the epoch, UTC; the day decides which row holds. Before the first row, the first row holds.
        """
        name = canonical(model or "")
        region = name.profile or (canonical(asked).profile if asked else "") or region
        terms = Terms(platform, region, usage.tier, usage.speed, usage.geo, at)
        quote = self._quote(name.id, terms)
        first = Pass("", quote.rates(usage.prompt_tokens), usage)
        if usage.iterations or usage.web_search_requests or usage.web_fetch_requests:
            return self._price_parts(name.id, first, quote, terms)
        self.unknown_priced += quote.unknown
        return Price(
            micros=round_units(first.units()),
            rows=(first.rates.ref, *quote.modifiers),
            unknown=quote.unknown,
            passes=(first,),
        )

    def _price_parts(self, model: str, first: Pass, quote: Quote, terms: Terms) -> Price:
        usage = first.usage
        passes, quotes = [first], [quote]
        for extra in usage.iterations:
            other = self._quote(canonical(extra.model).id if extra.model else model, terms)
            passes.append(Pass(extra.kind, other.rates(extra.usage.prompt_tokens), extra.usage))
            quotes.append(other)
        uses = (
            ("web_search", usage.web_search_requests, quote.web_search),
            ("web_fetch", usage.web_fetch_requests, quote.web_fetch),
        )
        units = sum(one.units() for one in passes) + sum(count * rate for _, count, rate in uses)
        refs = [ref for one, its in zip(passes, quotes, strict=True) for ref in (one.rates.ref, *its.modifiers)]
        unknown = sum(its.unknown for its in quotes)
        self.unknown_priced += unknown
        return Price(
            micros=round_units(units),
            rows=tuple(dict.fromkeys(refs)),
            unknown=unknown > 0,
            passes=tuple(passes),
            tools=tuple(Line(what, count, decimal_rate(rate)) for what, count, rate in uses if count),
        )

    def knows(self, model: str | None, *, platform: str = "anthropic", region: str = "", at: float) -> bool:
        name = canonical(model or "")
        terms = Terms(platform, name.profile or region, "standard", "standard", "", at)
        return not self._quote(name.id, terms).unknown

    def check(self, model: str | None, *, platform: str = "anthropic", region: str = "", at: float) -> None:
        """To be asked before the call is made.

        Raises:
            Denied: the model has no price and the settings refuse such models.

        """
        if self._unknown_model is UnknownModel.MAXIMUM or self.knows(model, platform=platform, region=region, at=at):
            return
        raise Denied(
            Refusal.MODEL_UNKNOWN,
            f"The model {(model or '')[:100]!r} has no price on {platform}, and this gateway refuses what it cannot"
            " price. Choose another model, or ask whoever runs this gateway to add a row for it to a price file"
            " (`ai-platform prices` lists what is known).",
            rule="pricing.unknown_model",
        )

    def rows(self, at: float | None = None) -> list[tuple[str, Row]]:
        """(reference, row), the files that win first. at: only rows in effect then."""
        return [
            (row_ref(layer.name, model, row), row)
            for layer in self._layers
            for row in layer.file.rows
            if at is None or fits_time(row, at)
            for model in row.models
        ]

    def modifiers(self, at: float | None = None) -> list[Modifier]:
        entries = [modifier for layer in self._layers for modifier in layer.file.modifiers]
        return [modifier for modifier in entries if at is None or fits_time(modifier, at)]

    def tools(self, at: float | None = None) -> list[ToolPrice]:
        entries = [tool for layer in self._layers for tool in layer.file.tools]
        return [tool for tool in entries if at is None or fits_time(tool, at)]

    def _quote(self, model: str, terms: Terms) -> Quote:
        era = bisect_right(self._boundaries, terms.at)
        key = (model, terms._replace(at=era))
        quote = self._quotes.get(key)
        if quote is None:
            if len(self._quotes) >= MEMO:  # ids come from callers: bounded, and cheap to fill again
                self._quotes.clear()
            quote = self._quotes[key] = make_quote(self._layers, model, terms)
        return quote
