"""The provisioning door. Imported only where the extra `scim` may be missing."""

from ai_platform.bootstrap.base import Base
from ai_platform.bootstrap.callers import Callers
from ai_platform.entrypoints.http import Handler
from ai_platform.entrypoints.scim import PREFIX, ScimDoor
from ai_platform.identity import Keys
from ai_platform.sso import SignOn
from ai_platform.telemetry import Meter
from ai_platform.telemetry.alerts import Alert, Alerts


class Mapped:
    """Which provisioned groups give something: those that a rule of sign-in names."""

    def __init__(self, signon: SignOn | None) -> None:
        self._signon = signon

    async def mapped(self, group: str, tenant: str) -> bool:
        return self._signon is not None and await self._signon.rules.give(group, tenant)


class LastAdmin:
    """The directory's word holds for administrators too: refusing it would keep in who was dismissed.

    So people are told when it leaves nobody a key that may do everything.
    """

    def __init__(self, keys: Keys, alerts: Alerts) -> None:
        self._keys = keys
        self._alerts = alerts

    async def ended(self, principal: str, tenant: str) -> None:
        if not await self._keys.took_last_admin(principal, tenant=tenant):
            return
        self._alerts.send(
            Alert(
                kind="last_admin_key_ended",
                severity="critical",
                title=f"Provisioning ended the last key that may do everything in '{tenant}'",
                facts={"tenant": tenant},
                person=principal,
            )
        )


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
        admins=LastAdmin(callers.keys, base.alerts),
    )
    meter.counter("aip_scim_changes_total", "Users and groups changed by provisioning.", lambda: door.changes)
    meter.counter("aip_scim_refused_total", "Provisioning requests that were turned away.", lambda: door.refused)
    meter.counter(
        "aip_scim_unwatched_total",
        "Ends by provisioning after which nobody could see whether an admin key was left.",
        lambda: door.unwatched,
    )
    return {PREFIX: door}
