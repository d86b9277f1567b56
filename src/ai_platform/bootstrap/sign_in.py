"""Sign-in, when a provider or an issuer is configured: the room, what looks after it, and its metrics."""

import msgspec

from ai_platform.bootstrap.base import Base
from ai_platform.directory.groups import ProvisionedGroups
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.extras import only_missing
from ai_platform.sso import SignOn
from ai_platform.sso.breakglass import BreakGlass, Factors
from ai_platform.sso.health import Health
from ai_platform.sso.saml import Reading
from ai_platform.sso.seal import Seal
from ai_platform.sso.signon import Keys
from ai_platform.telemetry import Meter

try:
    from ai_platform.sso.saml import reading as saml_reading
except ImportError as error:  # without the extra `saml`
    only_missing(error, "onelogin", "xmlsec", "lxml")
    saml_reading = None

try:
    from ai_platform.sso.breakglass import factors as second_factors
except ImportError as error:  # without the extra `mfa`
    only_missing(error, "pyotp", "webauthn")
    second_factors = None


class SigningIn(msgspec.Struct, frozen=True, kw_only=True):
    signon: SignOn
    health: Health


async def signing_in_of(base: Base) -> SigningIn | None:
    """It knows the ended sign-ins before the first call comes. Raises ConfigError."""
    settings, secret = base.settings.sso, base.secret
    if not settings.everyone and not settings.federation and not settings.break_glass.enabled:
        return None
    reading: Reading | None = saml_reading
    keys = Keys(
        pepper=secret.derive("sign-in hashes"),
        seal=secret.derive("sign-in seal"),
        sign=secret.derive("access tokens"),
    )
    signon = SignOn(
        settings,
        base.database,
        keys=keys,
        url=base.url,
        roles=base.policies,
        clock=base.clock,
        environ=base.environ,
        reading=reading,
        emergency=_emergency(base, keys),
        provisioned=ProvisionedGroups(base.database),
    )
    base.stack.push_async_callback(signon.close)
    if settings.saml:
        await signon.saml.keys.ensure()
    await signon.tokens.watch(base.system)
    await base.in_background(signon.run(base.system), "sign-in watch")
    health = Health(signon, base.alerts, base.clock)
    await base.in_background(health.run(), "sign-in health")
    return SigningIn(signon=signon, health=health)


def _emergency(base: Base, keys: Keys) -> BreakGlass | None:
    settings = base.settings.sso.break_glass
    if not settings.enabled:
        return None
    if second_factors is None:
        raise ConfigError('Local administrators (`sso.break_glass`) need an extra: pip install "ai-platform[mfa]".')
    factors: Factors = second_factors
    return BreakGlass(
        settings,
        base.database,
        factors=factors,
        seal=Seal(keys.seal),
        pepper=keys.pepper,
        clock=base.clock,
        alerts=base.alerts,
        url=base.url,
    )


def register_sign_in_gauges(meter: Meter, signing_in: SigningIn | None) -> None:
    if signing_in is None:
        return
    health, emergency = signing_in.health, signing_in.signon.emergency
    if emergency is not None:
        meter.counter(
            "aip_break_glass_total",
            "Sign-ins of local administrators.",
            lambda: {
                ("signed_in",): emergency.opened,
                ("failed",): emergency.failed,
                ("turned_away",): emergency.closed,
            },
            labels=("result",),
        )
    meter.gauge(
        "aip_sign_in_provider_up",
        "1 while nothing is known to be wrong with the identity provider.",
        lambda: {(state.name,): int(not state.problem) for state in health.states},
        labels=("provider",),
    )
    meter.gauge(
        "aip_certificate_expiry_timestamp_seconds",
        "When a certificate that sign-in depends on expires, seconds since the epoch; provider '' = our own.",
        lambda: {
            (each.provider, each.sha256[:16]): each.expires
            for each in (*health.own, *(each for state in health.states for each in state.certificates))
        },
        labels=("provider", "sha256"),
    )
