"""The only place where objects meet: settings in, a running platform out.

Reads top to bottom in the order things start; they stop in the opposite order. Above: cli.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from ai_platform.audit.reader import AuditReader
from ai_platform.audit.trail import PostgresTrail, open_trail
from ai_platform.budget import Budget, Ledger
from ai_platform.config import Settings
from ai_platform.domain.clock import Clock, SystemClock
from ai_platform.domain.errors import ConfigError
from ai_platform.entrypoints.admin import Endpoint
from ai_platform.entrypoints.admin.audit import endpoints as audit_endpoints
from ai_platform.entrypoints.admin.keys import endpoints as key_endpoints
from ai_platform.entrypoints.admin.policy import endpoints as policy_endpoints
from ai_platform.entrypoints.admin.router import AdminRouter
from ai_platform.entrypoints.admin.usage import endpoints as usage_endpoints
from ai_platform.entrypoints.asgi import Application
from ai_platform.entrypoints.errors import shape_of
from ai_platform.entrypoints.messages import MessagesDoor
from ai_platform.entrypoints.operations import Operations
from ai_platform.entrypoints.server import Server, bind
from ai_platform.gateway import Book, Gateway
from ai_platform.gateway.charge import Cashier
from ai_platform.gateway.happenings import Happenings
from ai_platform.identity import Authenticator, Keys
from ai_platform.policy import PolicyStore
from ai_platform.pricing import Estimator, PriceBook, load_price_book
from ai_platform.protection import Guard
from ai_platform.routing import Router
from ai_platform.routing.router import Choice
from ai_platform.secret import Secret, load_secret
from ai_platform.simulator import serve
from ai_platform.stores.embedded import embedded_postgres
from ai_platform.stores.migrate import migrate
from ai_platform.stores.postgres import Database, connect
from ai_platform.telemetry import Alerts, Meter, configure_logging
from ai_platform.upstream import Upstream, UpstreamsSettings
from ai_platform.upstream.settings import Auth, UpstreamSettings

SIMULATED = "simulated"
SIMULATOR_KEY = "SIMULATOR_KEY"


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
        _make_folder(settings.data)
        secret = load_secret(settings.data)
        database = await _database(stack, settings)
        trail = await open_trail(database, settings.data, settings.audit, clock)
        stack.push_async_callback(trail.close)
        alerts = await stack.enter_async_context(Alerts(settings.alerts, clock=clock))
        happenings = Happenings(trail, alerts, clock)
        stack.push_async_callback(happenings.close)

        policies = PolicyStore(settings.policy, settings.data, clock=clock, on_change=happenings.policy_changed)
        await _in_background(stack, policies.run(), "policy watch")
        keys, authenticator = await _identity(stack, settings, secret, database, policies, clock)
        admin_key, is_new = await _admin_key(keys, settings.data)

        prices = load_price_book(settings.pricing)
        cashier = Cashier(prices, Estimator(), clock)
        ledger, budget = await _spend(stack, settings, database, trail, happenings, clock)
        guard = await _protection(settings, secret, database, clock)
        upstreams, environ = await _upstreams(stack, settings, environ)
        upstream = Upstream(
            UpstreamsSettings(upstreams=upstreams, retry=settings.retry, breaker=settings.breaker),
            clock,
            environ=environ,
        )
        stack.push_async_callback(upstream.close)

        meter = Meter(
            settings.metrics,
            clock=clock,
            known_model=lambda model: prices.knows(model, at=clock.now()),
            user_key=secret.derive("metrics user buckets"),
        )
        book = Book(
            trail=trail,
            cashier=cashier,
            ledger=ledger,
            meter=meter,
            alerts=alerts,
            log=log,
            clock=clock,
            status_of=lambda error: shape_of(error).status,
        )
        stack.push_async_callback(book.close)
        gateway = Gateway(
            identity=authenticator,
            policies=policies,
            protection=guard,
            routing=Router([_choice(one) for one in upstreams]),
            cashier=cashier,
            budget=budget,
            upstream=upstream,
            book=book,
        )
        door = MessagesDoor(
            gateway,
            clock,
            max_body_bytes=settings.server.max_body_bytes,
            body_timeout=settings.server.body_timeout,
        )
        reader = AuditReader(database, trail)
        endpoints: list[Endpoint] = [
            *audit_endpoints(reader),
            *key_endpoints(keys),
            *policy_endpoints(policies),
            *usage_endpoints(ledger, budget),
        ]
        admin = AdminRouter(endpoints, identity=authenticator, trail=trail, clock=clock)
        simulated = any(one.name == SIMULATED for one in upstreams)
        operations = Operations(meter, _checks(database, trail, upstream), simulated=simulated)
        server = Server(Application(door, admin, operations), shutdown_seconds=settings.server.shutdown_seconds)
        await _serving(stack, server, listener)
        url = settings.server.public_url or _url(settings.server.host, listener.getsockname()[1])
        _write_run_file(settings.data, url)
        stack.callback((settings.data / "run.json").unlink, missing_ok=True)
        yield Platform(
            url=url, admin_key=admin_key, new_admin_key=is_new, upstreams=upstreams, policies=policies, server=server
        )


def _make_folder(data: Path) -> None:
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"The data folder {data} cannot be made ({error.strerror}). Choose another with --data.") from error


async def _database(stack: AsyncExitStack, settings: Settings) -> Database:
    stores = settings.stores
    owner, gateway = stores.owner_dsn, stores.gateway_dsn
    if not owner and not gateway:
        embedded = await stack.enter_async_context(embedded_postgres(settings.data, stores))
        owner, gateway = embedded.owner_dsn, embedded.gateway_dsn
    if owner:
        await migrate(owner, gateway, stores)
    database = await connect(gateway, stores)
    stack.push_async_callback(database.close)
    return database


async def _in_background(stack: AsyncExitStack, work: object, name: str) -> None:
    task = asyncio.ensure_future(work)  # type: ignore[arg-type]
    task.set_name(name)

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(stop)


async def _upstreams(
    stack: AsyncExitStack, settings: Settings, environ: Mapping[str, str]
) -> tuple[tuple[UpstreamSettings, ...], Mapping[str, str]]:
    """The configured upstreams; without any, the simulator, embedded in this process."""
    if settings.upstreams:
        return settings.upstreams, environ
    simulator = await stack.enter_async_context(serve(settings.simulator))
    one = UpstreamSettings(
        name=SIMULATED, url=simulator.url, auth=Auth.X_API_KEY, api_key_env=SIMULATOR_KEY, proxy="direct"
    )
    return (one,), {**environ, SIMULATOR_KEY: "simulated"}


def _choice(settings: UpstreamSettings) -> Choice:
    return Choice(
        name=settings.name,
        platform=settings.kind,
        region=settings.region,
        models=settings.models or ("*",),
        rename=settings.rename,
    )


async def _serving(stack: AsyncExitStack, server: Server, listener: object) -> None:
    task = asyncio.create_task(server.serve(sockets=[listener]), name="server")  # type: ignore[list-item]
    while not server.started and not task.done():
        await asyncio.sleep(0.005)

    async def stop() -> None:
        server.should_exit = True
        await task

    stack.push_async_callback(stop)
    if task.done():
        await task


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


def _write_run_file(data: Path, url: str) -> None:
    temporary = data / f".run.json.{os.getpid()}"
    temporary.write_bytes(msgspec.json.encode({"url": url, "pid": os.getpid()}))
    temporary.replace(data / "run.json")
