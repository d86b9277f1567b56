"""Who may call: platform keys, the admin key of the data folder, sign-in when a provider is configured."""

import os
from pathlib import Path

import msgspec

from ai_platform.bootstrap.base import Base
from ai_platform.identity import Authenticator, Keys
from ai_platform.sso import SignOn
from ai_platform.sso.services import Services
from ai_platform.sso.signon import Keys as SignOnKeys

PEPPER = "platform keys"


class Callers(msgspec.Struct, frozen=True, kw_only=True):
    """signon: None when nobody can sign in. admin_key: "" when it was made elsewhere; is_new: it was made just now."""

    authenticator: Authenticator
    keys: Keys
    signon: SignOn | None
    admin_key: str
    is_new: bool


async def callers_of(base: Base) -> Callers:
    pepper = base.secret.derive(PEPPER)
    signon = await _signon(base)
    authenticator = Authenticator(
        base.database,
        pepper=pepper,
        roles=base.policies,
        clock=base.clock,
        settings=base.settings.identity,
        tokens=signon.tokens if signon else None,
    )
    await base.in_background(authenticator.run(base.system), "key watch")
    keys = Keys(base.database, pepper=pepper, roles=base.policies, clock=base.clock, forget=authenticator.forget)
    admin_key, is_new = await _admin_key(keys, base.settings.data)
    return Callers(authenticator=authenticator, keys=keys, signon=signon, admin_key=admin_key, is_new=is_new)


async def _signon(base: Base) -> SignOn | None:
    """Sign-in, when a provider or an issuer is configured; it knows the ended grants before the first call comes."""
    settings, secret = base.settings.sso, base.secret
    if not settings.providers and not settings.federation:
        return None
    keys = SignOnKeys(
        pepper=secret.derive("sign-in hashes"), seal=secret.derive("sign-in seal"), sign=secret.derive("access tokens")
    )
    signon = SignOn(
        settings,
        base.database,
        keys=keys,
        url=base.url,
        roles=base.policies,
        clock=base.clock,
        environ=base.environ,
    )
    base.stack.push_async_callback(signon.close)
    await signon.tokens.watch(base.system)
    await base.in_background(signon.run(base.system), "sign-in watch")
    return signon


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
