"""A running platform, put together in the order things start. Above: cli. Below: the other files of this package."""

import importlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from ai_platform.audit.reader import AuditReader
from ai_platform.bootstrap.accounts import accounts_mount, manages_accounts
from ai_platform.bootstrap.approvals import approvals_of, consent_of, register_approval_gauges
from ai_platform.bootstrap.base import Base, base_of
from ai_platform.bootstrap.callers import Callers, callers_of, services_of
from ai_platform.bootstrap.directory import Directory, directory_of
from ai_platform.bootstrap.inspection import guard_of
from ai_platform.bootstrap.serving import checks_of, serving, url_of, write_run_file
from ai_platform.bootstrap.sign_in import register_sign_in_gauges
from ai_platform.bootstrap.spend import spend_of
from ai_platform.bootstrap.upstreams import SIMULATED, router_of, upstreams_of
from ai_platform.budget import Budget, Ledger
from ai_platform.config import Settings
from ai_platform.domain.call import Door
from ai_platform.domain.clock import Clock, SystemClock
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.extras import only_missing
from ai_platform.entrypoints.admin.access import endpoints as access_endpoints
from ai_platform.entrypoints.admin.approvals import endpoints as approval_endpoints
from ai_platform.entrypoints.admin.audit import endpoints as audit_endpoints
from ai_platform.entrypoints.admin.break_glass import endpoints as break_glass_endpoints
from ai_platform.entrypoints.admin.endpoint import Endpoint
from ai_platform.entrypoints.admin.incidents import endpoints as incident_endpoints
from ai_platform.entrypoints.admin.keys import endpoints as key_endpoints
from ai_platform.entrypoints.admin.policy import endpoints as policy_endpoints
from ai_platform.entrypoints.admin.router import AdminRouter
from ai_platform.entrypoints.admin.service_accounts import endpoints as service_account_endpoints
from ai_platform.entrypoints.admin.sign_in import endpoints as sign_in_endpoints
from ai_platform.entrypoints.admin.usage import endpoints as usage_endpoints
from ai_platform.entrypoints.asgi import Application
from ai_platform.entrypoints.errors import shape_of
from ai_platform.entrypoints.gauges import register_door_gauges
from ai_platform.entrypoints.http import Handler
from ai_platform.entrypoints.messages import MessagesDoor
from ai_platform.entrypoints.operations import Operations
from ai_platform.entrypoints.server import Server, bind
from ai_platform.entrypoints.signin import MyAccounts, sign_in_handlers
from ai_platform.entrypoints.signin.claude_code import ClaudeCode
from ai_platform.gateway import Book, Gateway
from ai_platform.gateway.charge import Cashier
from ai_platform.gateway.destinations import Destination, Models
from ai_platform.gateway.gauges import register_gauges
from ai_platform.policy import PolicyStore
from ai_platform.pricing import Estimator, PriceBook, load_price_book
from ai_platform.protection import Incidents
from ai_platform.sso.connections.flow import Flow
from ai_platform.sso.managed import Managed
from ai_platform.telemetry import CallLog, Meter, configure_logging
from ai_platform.upstream.settings import UpstreamSettings

try:
    from ai_platform.bootstrap import fleet, tools
except ImportError as error:  # without the extra `mcp` there is no second door
    only_missing(error, "mcp", "mcp_types", "pydantic")
    fleet = tools = None


class Platform:
    """A running platform, as the command that started it sees it."""

    def __init__(
        self,
        *,
        url: str,
        admin_key: str,
        new_admin_key: bool,
        upstreams: tuple[UpstreamSettings, ...],
        policies: PolicyStore,
        server: Server,
    ) -> None:
        self.url = url
        self.admin_key = admin_key
        self.new_admin_key = admin_key if new_admin_key else None
        self.simulated = any(upstream.name == SIMULATED for upstream in upstreams)
        self._upstreams = upstreams
        self._policies = policies
        self._server = server

    @property
    def upstream_text(self) -> str:
        names = ", ".join(f"{upstream.name} ({upstream.url})" for upstream in self._upstreams)
        return f"[yellow]{names}[/]" if self.simulated else names

    @property
    def policy_text(self) -> str:
        return f"{self._policies.source} (version {self._policies.version})"

    def hurry(self) -> None:
        """Do not wait for calls under way."""
        self._server.force_exit = True


@asynccontextmanager
async def running_platform(
    settings: Settings, environ: Mapping[str, str], clock: Clock | None = None
) -> AsyncGenerator[Platform]:
    """Everything started and serving while the block runs.

    Raises:
        ConfigError: a setting, file or folder is wrong; the message says how to mend it.
        StoreUnavailable, AuditUnavailable: PostgreSQL cannot be used.
        OSError: the address cannot be listened on.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        log = configure_logging(settings.logs)
        stack.push_async_callback(log.aclose)
        listener = bind(settings.server.host, settings.server.port)
        stack.callback(listener.close)
        url = settings.server.public_url or url_of(settings.server.host, listener.getsockname()[1])
        base = await base_of(stack, settings, environ, clock, url=url)
        callers = await callers_of(base)
        directory = directory_of(base, callers)
        ledger, budget = await spend_of(base)
        guard = await guard_of(base)
        upstreams, upstream = await upstreams_of(base)

        prices = load_price_book(settings.pricing)
        meter = _meter(base, prices)
        cashier = Cashier(prices, Estimator(), clock)
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
        elif settings.mcp.servers:
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
        door = MessagesDoor(gateway, clock, settings.server)
        reader = AuditReader.open(base.database, base.system, settings.data, settings.audit, clock)
        endpoints = [
            *audit_endpoints(reader),
            *key_endpoints(callers.keys),
            *service_account_endpoints(services_of(base), callers.signon, callers.keys),
            *sign_in_endpoints(callers.signon, callers.signing_in.health if callers.signing_in else None),
            *access_endpoints(directory.people, callers.keys, base.policies, callers.signon),
            *break_glass_endpoints(callers.signon.emergency if callers.signon else None, base.url),
            *directory.endpoints(),
            *policy_endpoints(base.policies),
            *approval_endpoints(approvals, base.policies, names=callers.keys.names),
            *incident_endpoints(Incidents(base.database), clock),
            *usage_endpoints(ledger, budget, clock, names=callers.keys.names),
            *(servers.endpoints if servers else ()),
        ]
        operations = Operations(
            meter,
            checks_of(base.database, base.trail, upstream),
            simulated=upstreams[0].name == SIMULATED,
            url=url,
            is_public=bool(settings.server.public_url),
        )
        signon = callers.signon
        tool_routes = (
            await tools.tools_door(base, gateway, servers.federation, meter, signon=signon) if tools and servers else {}
        )
        app = Application(
            door,
            operations,
            handlers=(
                pages := _sign_in(base, callers, ledger, budget, meter, accounts=servers.accounts if servers else None)
            ),
            mounts={
                "/admin/": _admin(base, callers, directory, endpoints),
                **tool_routes,
                **accounts_mount(pages),
                **_provisioning(base, callers, meter),
            },
        )
        server = Server(app, settings.server)
        register_door_gauges(meter, door.load, server.traffic)
        await serving(stack, server, listener, reader)
        write_run_file(stack, settings.data, url)
        yield Platform(
            url=url,
            admin_key=callers.admin_key,
            new_admin_key=callers.is_new,
            upstreams=upstreams,
            policies=base.policies,
            server=server,
        )


def _provisioning(base: Base, callers: Callers, meter: Meter) -> dict[str, Handler]:
    if not base.settings.scim.enabled:
        return {}
    scim = scim_wiring()
    if scim is None:
        raise ConfigError('scim.enabled needs an extra: pip install "ai-platform[scim]"')
    return scim.scim_door(base, callers, meter)


def scim_wiring() -> Any:
    """`bootstrap.scim`, None without the extra `scim`. Loaded only where it is served: its models cost a start
    0.7 s of CPU.
    """
    try:
        return importlib.import_module("ai_platform.bootstrap.scim")
    except ImportError as error:
        only_missing(error, "scim2_server", "scim2_models", "pydantic")
        return None


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


def _admin(base: Base, callers: Callers, directory: Directory, endpoints: list[Endpoint]) -> AdminRouter:
    return AdminRouter(
        endpoints,
        identity=callers.authenticator,
        trail=base.trail,
        clock=base.clock,
        tenants=directory.tenants,
    )


def _sign_in(
    base: Base, callers: Callers, ledger: Ledger, budget: Budget, meter: Meter, *, accounts: Flow | None
) -> dict[tuple[str, str], Handler]:
    claude_code = ClaudeCode(
        callers.authenticator,
        Managed(base.settings.sso.managed),
        budget=budget,
        ledger=ledger,
        policies=base.policies,
        clock=base.clock,
    )
    register_sign_in_gauges(meter, callers.signing_in)
    mine = MyAccounts(accounts, manages_accounts(base)) if accounts else None
    return sign_in_handlers(callers.signon, claude_code, base.trail, meter, base.clock, accounts=mine)
