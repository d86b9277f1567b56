"""The flow, and what every call of it uses: prices, ledger, budgets, inspection, consent, records, destinations."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ai_platform.approvals import Approvals
from ai_platform.bootstrap.approvals import approvals_of, consent_of, register_approval_gauges
from ai_platform.bootstrap.base import Base
from ai_platform.bootstrap.callers import Callers
from ai_platform.bootstrap.inspection import guard_of
from ai_platform.bootstrap.spend import spend_of
from ai_platform.bootstrap.upstreams import router_of, upstreams_of
from ai_platform.budget import Budget, Ledger
from ai_platform.domain.call import Door
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.extras import only_missing
from ai_platform.entrypoints.errors import shape_of
from ai_platform.gateway import Book, Gateway
from ai_platform.gateway.charge import Cashier
from ai_platform.gateway.destinations import Destination, Models
from ai_platform.gateway.gauges import register_gauges
from ai_platform.pricing import Estimator, PriceBook, load_price_book
from ai_platform.telemetry import CallLog, Meter
from ai_platform.upstream import Upstream
from ai_platform.upstream.settings import UpstreamSettings

if TYPE_CHECKING:
    from ai_platform.bootstrap.fleet import Fleet

try:
    from ai_platform.bootstrap import fleet
except ImportError as error:  # without the extra `mcp` there are no tools
    only_missing(error, "mcp", "mcp_types", "pydantic")
    fleet = None


@dataclass(frozen=True, kw_only=True)
class Core:
    """servers: those of MCP, None without the extra `mcp`."""

    gateway: Gateway
    meter: Meter
    ledger: Ledger
    budget: Budget
    approvals: Approvals
    upstreams: tuple[UpstreamSettings, ...]
    upstream: Upstream
    servers: "Fleet | None"


async def core_of(base: Base, callers: Callers, log: CallLog) -> Core:
    """Everything between the doors and the upstreams, started.

    Raises:
        ConfigError: a price, an upstream or a server is set wrongly, or needs an extra that is not installed.
        StoreUnavailable: PostgreSQL cannot be used.
    """
    ledger, budget = await spend_of(base)
    guard = await guard_of(base)
    upstreams, upstream = await upstreams_of(base)
    prices = load_price_book(base.settings.pricing)
    meter = _meter(base, prices)
    cashier = Cashier(prices, Estimator(), base.clock)
    book = _book(base, cashier, ledger, meter, log)
    register_gauges(
        meter,
        trail=base.trail,
        book=book,
        upstream=upstream,
        policies=base.policies,
        alerts=base.alerts,
        guard=guard,
    )
    destinations: dict[Door, Destination] = {Door.MESSAGES: Models(router_of(upstreams), upstream)}
    servers = await fleet.fleet_of(base, meter) if fleet else None
    if servers is not None:
        destinations[Door.MCP] = servers.federation
    elif base.settings.mcp.servers:
        raise ConfigError('MCP servers need the MCP SDK: pip install "ai-platform[mcp]"')
    approvals = await approvals_of(base, callers)
    register_approval_gauges(meter, approvals)
    gateway = Gateway(
        identity=callers.authenticator,
        policies=base.policies,
        protection=guard,
        destinations=destinations,
        consent=consent_of(base, callers, guard, approvals),
        cashier=cashier,
        budget=budget,
        book=book,
    )
    return Core(
        gateway=gateway,
        meter=meter,
        ledger=ledger,
        budget=budget,
        approvals=approvals,
        upstreams=upstreams,
        upstream=upstream,
        servers=servers,
    )


def _meter(base: Base, prices: PriceBook) -> Meter:
    return Meter(
        base.settings.metrics,
        clock=base.clock,
        known_model=lambda model: prices.knows(model, at=base.clock.now()),
        user_key=base.secret.derive("metrics user buckets"),
    )


def _book(base: Base, cashier: Cashier, ledger: Ledger, meter: Meter, log: CallLog) -> Book:
    book = Book(
        trail=base.trail,
        cashier=cashier,
        ledger=ledger,
        meter=meter,
        alerts=base.alerts,
        log=log,
        clock=base.clock,
        status_of=lambda error: shape_of(error).status,
    )
    base.stack.push_async_callback(book.close)
    return book
