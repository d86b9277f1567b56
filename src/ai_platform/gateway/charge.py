"""What a call is expected to cost before it runs, and what it did cost after: pricing applied to a record's facts.

An answer without final counts (a client that left, a stream that broke) is settled by estimate and marked so. An
upstream that answered with an error, or not at all, costs nothing.
"""

import msgspec

from ai_platform.budget import Estimate
from ai_platform.domain.call import Call, Operation
from ai_platform.domain.clock import Clock
from ai_platform.domain.money import Micros
from ai_platform.domain.principal import Principal
from ai_platform.domain.route import Route, Target
from ai_platform.domain.usage import Usage
from ai_platform.pricing import Estimator, Price, PriceBook, UsageMeter, total_usage

PRICED = frozenset({Operation.MESSAGES_CREATE, Operation.BATCHES_CREATE})


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What a call is charged. tokens: those that count against token limits, i.e. all but cache reads.

    model: the model that answered. rows: the price rows used. unknown: no price was known, a maximum was taken.
    """

    micros: Micros = Micros(0)
    tokens: int = 0
    usage: Usage = Usage()
    model: str | None = None
    rows: tuple[str, ...] = ()
    unknown: bool = False

    @property
    def total(self) -> Usage:
        """The usage of all passes together (compaction and fallback are passes of their own)."""
        return total_usage(self.usage)


class Consumption(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call that ended: the meter, bytes in and out, and whether it was the upstream's own end."""

    meter: UsageMeter
    status: int
    streamed: bool
    streamed_bytes: int


class Cashier:
    """Prices calls; learns from each what the next will use."""

    def __init__(self, prices: PriceBook, estimator: Estimator, clock: Clock) -> None:
        self._prices = prices
        self._estimator = estimator
        self._clock = clock

    def estimate(self, caller: Principal, call: Call, route: Route) -> Estimate:
        """What to hold, at the price of the dearest target that may serve the call.

        Raises:
            Denied: the model has no price and the settings refuse such models.
        """
        if call.operation not in PRICED:
            return Estimate(micros=max(target.price for target in route.targets), tokens=0)
        now = self._clock.now()
        usage = self._estimator.estimate(call.head, len(call.body), who=caller.id)
        if call.operation is Operation.BATCHES_CREATE:
            usage = msgspec.structs.replace(usage, tier="batch", output_tokens=call.head.max_tokens or 0)
        prices: list[Price] = []
        for target in route.targets:
            model = target.model or call.head.model
            self._prices.check(model, platform=target.platform, region=target.region, at=now)
            prices.append(self._prices.price(model, usage, platform=target.platform, region=target.region, at=now))
        dearest = max(prices, key=lambda price: price.micros)
        return Estimate(
            micros=dearest.micros,
            tokens=_limited_tokens(usage),
            usage=usage,
            price_rows=dearest.rows,
            unknown=dearest.unknown,
        )

    def charge(self, caller: Principal, call: Call, target: Target | None, used: Consumption) -> Charge:
        """The price of what was used, at the prices of the moment the call came in."""
        if target is None or not 200 <= used.status < 300:
            return Charge()
        if call.operation not in PRICED:
            return Charge(micros=target.price)
        model = used.meter.model or target.model or call.head.model
        usage = self._usage(caller, call, model, used)
        price = self._prices.price(
            model,
            usage,
            platform=target.platform,
            region=target.region,
            at=call.received_at,
            asked=target.model or call.head.model,
        )
        return Charge(
            micros=price.micros,
            tokens=_limited_tokens(usage),
            usage=usage,
            model=model,
            rows=price.rows,
            unknown=price.unknown,
        )

    def _usage(self, caller: Principal, call: Call, model: str | None, used: Consumption) -> Usage:
        size = len(call.body)
        if call.operation is Operation.BATCHES_CREATE:  # the answer comes hours later: charged by estimate
            usage = self._estimator.estimate(call.head, size, who=caller.id)
            return msgspec.structs.replace(usage, tier="batch", output_tokens=call.head.max_tokens or 0)
        if used.meter.final:
            usage = used.meter.usage
            self._estimator.observe(model, size, usage, streamed_bytes=used.streamed_bytes, who=caller.id)
            return usage
        return self._estimator.settle_estimate(
            used.meter.usage,
            started=used.meter.started,
            model=model,
            body_bytes=size,
            streamed_bytes=used.streamed_bytes,
            max_tokens=call.head.max_tokens,
        )


def _limited_tokens(usage: Usage) -> int:
    """Tokens that count against a limit: cache reads are free there, as they are in the API's own rate limits."""
    total = total_usage(usage)
    return total.total_tokens - total.cache_read_tokens
