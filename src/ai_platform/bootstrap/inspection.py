"""The guard, knowing the values that were blocked before, and what stands behind the tokens of running sessions."""

import asyncio

import structlog

from ai_platform.bootstrap.base import Base
from ai_platform.domain.errors import StoreUnavailable
from ai_platform.protection import Guard, PostgresSeen, PostgresVault, purge_vault

PURGE_EVERY = 3600.0

_log = structlog.get_logger(__name__)


async def guard_of(base: Base) -> Guard:
    settings = base.settings.protection
    guard = Guard(
        settings,
        base.clock,
        secret=base.secret.derive("protection"),
        seen=PostgresSeen(base.database, settings.seen_values),
        store=PostgresVault(base.database),
    )
    guard.prepare(base.policies.current.plan)
    await base.in_background(_purge(base), "vault purge")
    return guard


async def _purge(base: Base) -> None:
    """Expired entries are of no use to anybody: they are deleted within the hour."""
    while True:
        try:
            deleted = await purge_vault(base.system, base.clock.now())
        except StoreUnavailable as error:
            _log.warning("vault_not_purged", problem=str(error))
        else:
            if deleted:
                _log.info("vault_purged", entries=deleted)
        await asyncio.sleep(PURGE_EVERY)
