"""The guard, knowing the values that were blocked before: they are redacted from now on."""

from ai_platform.bootstrap.base import Base
from ai_platform.protection import Guard
from ai_platform.protection.incidents import PostgresSeen


async def guard_of(base: Base) -> Guard:
    settings = base.settings.protection
    seen = PostgresSeen(settings.seen_values)
    await seen.load(base.system)
    guard = Guard(settings, base.clock, secret=base.secret.derive("protection"), seen=seen)
    guard.prepare(base.policies.current.plan)
    return guard
