"""What every area stands on: the data folder's secret, PostgreSQL, the audit trail, alerts and the policy."""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from ai_platform.audit.trail import PostgresTrail, open_trail
from ai_platform.bootstrap.detectors import catalogue
from ai_platform.config import Settings
from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import ConfigError
from ai_platform.gateway.happenings import Happenings
from ai_platform.policy import PolicyStore
from ai_platform.secret import Secret, load_secret
from ai_platform.stores.embedded import embedded_postgres
from ai_platform.stores.migrate import migrate
from ai_platform.stores.postgres import Database, SystemDatabase, connect, connect_system
from ai_platform.telemetry import Alerts


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """The common ground of all areas. url: where clients reach this platform, without a slash at its end.

    database: for what answers requests, one tenant at a time. system: for background work over all tenants.
    stack: what is entered here is left when the platform stops, last first.
    """

    stack: AsyncExitStack
    settings: Settings
    environ: Mapping[str, str]
    clock: Clock
    url: str
    secret: Secret
    database: Database
    system: SystemDatabase
    trail: PostgresTrail
    alerts: Alerts
    happenings: Happenings
    policies: PolicyStore

    async def in_background(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run `work` until the platform stops."""
        await in_background(self.stack, work, name)


async def base_of(
    stack: AsyncExitStack, settings: Settings, environ: Mapping[str, str], clock: Clock, *, url: str
) -> Base:
    """Raises ConfigError, StoreUnavailable, AuditUnavailable."""
    secret = _secret(settings.data)
    database, system = await _databases(stack, settings)
    trail = await open_trail(system, settings.data, settings.audit, clock)
    stack.push_async_callback(trail.close)
    alerts = await stack.enter_async_context(Alerts(settings.alerts, clock=clock))
    happenings = Happenings(trail, alerts, clock)
    stack.push_async_callback(happenings.close)
    policies = PolicyStore(
        settings.policy,
        settings.data,
        clock=clock,
        catalogue=catalogue(names=settings.protection.names.model is not None),
        on_change=happenings.policy_changed,
    )
    await in_background(stack, policies.run(), "policy watch")
    return Base(
        stack=stack,
        settings=settings,
        environ=environ,
        clock=clock,
        url=url,
        secret=secret,
        database=database,
        system=system,
        trail=trail,
        alerts=alerts,
        happenings=happenings,
        policies=policies,
    )


async def in_background(stack: AsyncExitStack, work: Coroutine[Any, Any, None], name: str) -> None:
    task = asyncio.create_task(work, name=name)

    async def stop() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(stop)


def _secret(data: Path) -> Secret:
    """The secret of the data folder, which is made when it is missing."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The data folder {data} cannot be made ({error.strerror}). Choose another with --data."
        ) from error
    return load_secret(data)


async def _databases(stack: AsyncExitStack, settings: Settings) -> tuple[Database, SystemDatabase]:
    stores = settings.stores
    owner, gateway = stores.owner_dsn, stores.gateway_dsn
    if not owner and not gateway:
        embedded = await stack.enter_async_context(embedded_postgres(settings.data, stores))
        owner, gateway = embedded.owner_dsn, embedded.gateway_dsn
    if owner:
        await migrate(owner, gateway, stores)
    database = await connect(gateway, stores)
    stack.push_async_callback(database.close)
    system = await connect_system(stores.system_of(gateway), stores)
    stack.push_async_callback(system.close)
    return database, system
