"""The guard, knowing the values that were blocked before, and what stands behind the tokens of running sessions."""

import asyncio

import structlog

from ai_platform.bootstrap.base import Base
from ai_platform.domain.errors import StoreUnavailable
from ai_platform.protection import Guard, PostgresSeen, PostgresVault, purge_vault
from ai_platform.protection.language import load_model
from ai_platform.protection.people import People

PURGE_EVERY = 3600.0

_log = structlog.get_logger(__name__)


async def guard_of(base: Base) -> Guard:
    """Raises ConfigError when the model for names of people cannot be used."""
    settings = base.settings.protection
    guard = Guard(
        settings,
        base.clock,
        secret=base.secret.derive("protection"),
        seen=PostgresSeen(base.database, settings.seen_values),
        store=PostgresVault(base.database),
        people=await _people(base),
    )
    guard.prepare(base.policies.current.plan)
    await base.in_background(_purge(base), "vault purge")
    return guard


async def _people(base: Base) -> People | None:
    settings = base.settings.protection
    if settings.names.model is None:
        return None
    people = People(
        await asyncio.to_thread(load_model, settings.names.model, what="protection.names.model"),
        base.clock,
        most_characters=settings.names.most_characters,
        remembered=settings.memo_entries,
        secret=base.secret.derive("protection"),
    )
    base.stack.callback(people.close)
    return people


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
