"""The provisioning door. Imported only where the extra `scim` may be missing."""

from ai_platform.bootstrap.base import Base
from ai_platform.bootstrap.callers import Callers
from ai_platform.entrypoints.http import Handler
from ai_platform.entrypoints.scim import PREFIX, ScimDoor
from ai_platform.sso import SignOn
from ai_platform.telemetry import Meter


class Mapped:
    """Which provisioned groups give something: those that a rule of sign-in names."""

    def __init__(self, signon: SignOn | None) -> None:
        self._signon = signon

    async def mapped(self, group: str, tenant: str) -> bool:
        return self._signon is not None and await self._signon.rules.give(group, tenant)


def scim_door(base: Base, callers: Callers, meter: Meter) -> dict[str, Handler]:
    """Mounts by prefix; none when provisioning is off."""
    settings = base.settings.scim
    if not settings.enabled:
        return {}
    door = ScimDoor(
        settings,
        base.database,
        identity=callers.authenticator,
        trail=base.trail,
        clock=base.clock,
        url=base.url,
        groups=Mapped(callers.signon),
    )
    meter.counter("aip_scim_changes_total", "Users and groups changed by provisioning.", lambda: door.changes)
    meter.counter("aip_scim_refused_total", "Provisioning requests that were turned away.", lambda: door.refused)
    return {PREFIX: door}
