"""Who may call: platform keys, the admin key of the data folder, sign-in when a provider is configured."""

import os
from pathlib import Path

import msgspec

from ai_platform.bootstrap.base import Base
from ai_platform.bootstrap.sign_in import SigningIn, signing_in_of
from ai_platform.identity import Authenticator, Keys
from ai_platform.sso import SignOn
from ai_platform.sso.services import Services

PEPPER = "platform keys"


class Callers(msgspec.Struct, frozen=True, kw_only=True):
    """signing_in: None when nobody can sign in. admin_key: "" when it was made elsewhere; is_new: made just now."""

    authenticator: Authenticator
    keys: Keys
    signing_in: SigningIn | None
    admin_key: str
    is_new: bool

    @property
    def signon(self) -> SignOn | None:
        return self.signing_in.signon if self.signing_in else None


async def callers_of(base: Base) -> Callers:
    pepper = base.secret.derive(PEPPER)
    signing_in = await signing_in_of(base)
    authenticator = Authenticator(
        base.database,
        pepper=pepper,
        roles=base.policies,
        clock=base.clock,
        settings=base.settings.identity,
        tokens=signing_in.signon.tokens if signing_in else None,
    )
    await base.in_background(authenticator.run(base.system), "key watch")
    keys = Keys(base.database, pepper=pepper, roles=base.policies, clock=base.clock, forget=authenticator.forget)
    admin_key, is_new = await _admin_key(keys, base.settings.data)
    return Callers(authenticator=authenticator, keys=keys, signing_in=signing_in, admin_key=admin_key, is_new=is_new)


def services_of(base: Base) -> Services:
    return Services(base.database, base.clock, base.settings.sso.federation)


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
