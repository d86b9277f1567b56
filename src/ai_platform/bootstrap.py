"""The only place where objects meet: settings in, a running platform out.

Reads top to bottom in the order things start; they stop in the opposite order. Above: cli.
"""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from ai_platform.audit.reader import AuditReader
from ai_platform.audit.trail import PostgresTrail, open_trail
from ai_platform.budget import Budget, Ledger
from ai_platform.budget.spending import Interrupted
from ai_platform.config import Settings
from ai_platform.domain.clock import Clock, SystemClock
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.identifiers import new_id
from ai_platform.entrypoints.admin.audit import endpoints as audit_endpoints
from ai_platform.entrypoints.admin.keys import endpoints as key_endpoints
from ai_platform.entrypoints.admin.policy import endpoints as policy_endpoints
from ai_platform.entrypoints.admin.router import AdminRouter
from ai_platform.entrypoints.admin.usage import endpoints as usage_endpoints
from ai_platform.entrypoints.asgi import Application
from ai_platform.entrypoints.errors import shape_of
from ai_platform.entrypoints.gauges import register_door_gauges
from ai_platform.entrypoints.messages import MessagesDoor
from ai_platform.entrypoints.operations import Check, Operations
from ai_platform.entrypoints.server import Server, bind
from ai_platform.entrypoints.signin import sign_in_handlers
from ai_platform.entrypoints.signin.claude_code import ClaudeCode
from ai_platform.gateway import Book, Gateway
from ai_platform.gateway.charge import Cashier
from ai_platform.gateway.gauges import register_gauges
from ai_platform.gateway.happenings import Happenings
from ai_platform.identity import Authenticator, Keys
from ai_platform.policy import PolicyStore
from ai_platform.policy.plan import Catalogue
from ai_platform.pricing import Estimator, load_price_book
from ai_platform.protection import Guard
from ai_platform.protection.incidents import PostgresSeen
from ai_platform.protection.rules import ALL
from ai_platform.routing import Router
from ai_platform.routing.router import Choice
from ai_platform.secret import Secret, load_secret
from ai_platform.simulator import serve
from ai_platform.sso import SignOn
from ai_platform.sso.managed import Managed
from ai_platform.sso.signon import Keys as SignOnKeys
from ai_platform.stores.embedded import embedded_postgres
from ai_platform.stores.migrate import migrate
from ai_platform.stores.postgres import Database, connect
from ai_platform.telemetry import Alerts, Meter, configure_logging
from ai_platform.upstream import Upstream, UpstreamsSettings
from ai_platform.upstream.breaker import BreakerState
from ai_platform.upstream.settings import UpstreamSettings

SIMULATED = "simulated"
SIMULATOR_KEY = "SIMULATOR_KEY"
PEPPER = "platform keys"


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
        secret = _secret(settings.data)
        database = await _database(stack, settings)
        trail = await open_trail(database, settings.data, settings.audit, clock)
        stack.push_async_callback(trail.close)
        alerts = await stack.enter_async_context(Alerts(settings.alerts, clock=clock))
        happenings = Happenings(trail, alerts, clock)
        stack.push_async_callback(happenings.close)

        policies = PolicyStore(
            settings.policy,
            settings.data,
            clock=clock,
            catalogue=Catalogue(types=frozenset(rule.type for rule in ALL), rules=frozenset(rule.id for rule in ALL)),
            on_change=happenings.policy_changed,
        )
        await _in_background(stack, policies.run(), "policy watch")
        url = settings.server.public_url or _url(settings.server.host, listener.getsockname()[1])
        signon = await _signon(
            stack, settings, environ, secret=secret, database=database, policies=policies, clock=clock, url=url
        )
        authenticator = Authenticator(
            database,
            pepper=secret.derive(PEPPER),
            roles=policies,
            clock=clock,
            settings=settings.identity,
            tokens=signon.tokens if signon else None,
        )
        await _in_background(stack, authenticator.run(), "key watch")
        keys = Keys(database, pepper=secret.derive(PEPPER), roles=policies, clock=clock, forget=authenticator.forget)
        admin_key, is_new = await _admin_key(keys, settings.data)
        ledger, budget = await _spend(stack, settings, database, happenings, clock)
        guard = await _protection(settings, secret, database, policies, clock)
        upstreams, upstream = await _upstreams(stack, settings, environ, clock)

        prices = load_price_book(settings.pricing)
        meter = Meter(
            settings.metrics,
            clock=clock,
            known_model=lambda model: prices.knows(model, at=clock.now()),
            user_key=secret.derive("metrics user buckets"),
        )
        cashier = Cashier(prices, Estimator(), clock)
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
        register_gauges(meter, trail=trail, book=book, upstream=upstream, policies=policies, alerts=alerts)
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
        reader = AuditReader.open(database, settings.data, settings.audit, clock)
        door = MessagesDoor(gateway, clock, settings.server)
        app = Application(
            door,
            AdminRouter(
                [
                    *audit_endpoints(reader),
                    *key_endpoints(keys),
                    *policy_endpoints(policies),
                    *usage_endpoints(ledger, budget, clock, names=keys.names),
                ],
                identity=authenticator,
                trail=trail,
                clock=clock,
            ),
            Operations(
                meter,
                _checks(database, trail, upstream),
                simulated=upstreams[0].name == SIMULATED,
                url=url,
                is_public=bool(settings.server.public_url),
            ),
            sign_in_handlers(
                signon,
                ClaudeCode(
                    authenticator,
                    Managed(settings.sso.managed),
                    budget=budget,
                    ledger=ledger,
                    policies=policies,
                    clock=clock,
                ),
                trail,
                meter,
                clock,
            ),
        )
        server = Server(app, settings.server)
        register_door_gauges(meter, door.load, server.traffic)
        await _serving(stack, server, listener, reader)
        _write_run_file(stack, settings.data, url)
        yield Platform(
            url=url, admin_key=admin_key, new_admin_key=is_new, upstreams=upstreams, policies=policies, server=server
        )


async def _signon(
    stack: AsyncExitStack,
    settings: Settings,
    environ: Mapping[str, str],
    *,
    secret: Secret,
    database: Database,
    policies: PolicyStore,
    clock: Clock,
    url: str,
) -> SignOn | None:
    """Sign-in, when a provider is configured; it knows the ended grants before the first call comes."""
    if not settings.sso.providers:
        return None
    keys = SignOnKeys(
        pepper=secret.derive("sign-in hashes"), seal=secret.derive("sign-in seal"), sign=secret.derive("access tokens")
    )
    signon = SignOn(settings.sso, database, keys=keys, url=url, roles=policies, clock=clock, environ=environ)
    stack.push_async_callback(signon.close)
    await signon.tokens.watch()
    await _in_background(stack, signon.run(), "sign-in watch")
    return signon


async def _admin_key(keys: Keys, data: Path) -> tuple[str, bool]:
    """The admin key of this data folder, and whether it was made just now."""
    path = data / "admin.key"
    made = await keys.ensure_admin_key()
    if made is None and not path.exists():
        return "", False  # made elsewhere (another replica, an older data folder): AI_PLATFORM_ADMIN_KEY has it
    if made is None:
        return path.read_text(encoding="ascii").strip(), False
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(made + "\n")
    return made, True


async def _spend(
    stack: AsyncExitStack, settings: Settings, database: Database, happenings: Happenings, clock: Clock
) -> tuple[Ledger, Budget]:
    """The ledger, with the calls that a crash left open settled, and counters that know what was spent."""
    process = new_id("run", clock.now())
    slot = f"{socket.gethostname()}:{settings.data}"
    ledger = Ledger(database, settings.budget, process=process, slot=slot)
    budget = Budget(settings.budget, clock, alerts=happenings)
    await budget.load(database)

    def found(calls: Sequence[Interrupted]) -> None:
        for call in calls:
            budget.charge(call)
        happenings.interrupted(calls)

    found(await ledger.recover())
    stack.push_async_callback(ledger.lease.release)
    await _in_background(stack, ledger.lease.keep(found), "process lease")
    return ledger, budget


async def _protection(
    settings: Settings, secret: Secret, database: Database, policies: PolicyStore, clock: Clock
) -> Guard:
    """The guard, knowing the values that were blocked before: they are redacted from now on."""
    seen = PostgresSeen(settings.protection.seen_values)
    await seen.load(database)
    guard = Guard(settings.protection, clock, secret=secret.derive("protection"), seen=seen)
    guard.prepare(policies.current.plan)
    return guard


def _checks(database: Database, trail: PostgresTrail, upstream: Upstream) -> dict[str, Check]:
    """What /readyz depends on."""

    def breakers() -> str | None:
        is_open = all(one.breaker is BreakerState.OPEN for one in upstream.health())
        return "every upstream's circuit breaker is open" if is_open else None

    return {
        "postgresql": lambda: None if database.healthy else "PostgreSQL does not answer",
        "audit": lambda: trail.writer.unavailable or None,
        "upstreams": breakers,
    }


def _secret(data: Path) -> Secret:
    """The secret of the data folder, which is made when it is missing."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The data folder {data} cannot be made ({error.strerror}). Choose another with --data."
        ) from error
    return load_secret(data)


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


async def _in_background(stack: AsyncExitStack, work: Coroutine[Any, Any, None], name: str) -> None:
    task = asyncio.create_task(work, name=name)

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(stop)


async def _upstreams(
    stack: AsyncExitStack, settings: Settings, environ: Mapping[str, str], clock: Clock
) -> tuple[tuple[UpstreamSettings, ...], Upstream]:
    """The configured upstreams; without any, the simulator, embedded in this process."""
    chosen = settings.upstreams
    if not chosen:
        simulator = await stack.enter_async_context(serve(settings.simulator))
        chosen = (UpstreamSettings(name=SIMULATED, url=simulator.url, api_key_env=SIMULATOR_KEY, proxy="direct"),)
        environ = {**environ, SIMULATOR_KEY: "simulated"}
    upstream = Upstream(
        UpstreamsSettings(upstreams=chosen, retry=settings.retry, breaker=settings.breaker), clock, environ=environ
    )
    stack.push_async_callback(upstream.close)
    return chosen, upstream


def _choice(settings: UpstreamSettings) -> Choice:
    return Choice(
        name=settings.name,
        platform=settings.kind,
        region=settings.region,
        models=settings.models or ("*",),
        rename=settings.rename,
    )


async def _serving(stack: AsyncExitStack, server: Server, listener: socket.socket, reader: AuditReader) -> None:
    task = asyncio.create_task(server.serve(sockets=[listener]), name="server")
    await asyncio.wait({task, asyncio.create_task(server.ready.wait())}, return_when=asyncio.FIRST_COMPLETED)

    async def stop() -> None:
        reader.stop_following()  # the server waits for answers under way, and these would never end
        server.should_exit = True
        await task

    stack.push_async_callback(stop)
    if task.done():
        await task


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


def _write_run_file(stack: AsyncExitStack, data: Path, url: str) -> None:
    """Tells commands where the platform is, for as long as it runs."""
    path = data / "run.json"
    temporary = data / f".run.json.{os.getpid()}"
    temporary.write_bytes(msgspec.json.encode({"url": url, "pid": os.getpid()}))
    temporary.replace(path)
    stack.callback(path.unlink, missing_ok=True)
