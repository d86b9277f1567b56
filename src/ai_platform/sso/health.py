"""Looks after what sign-in depends on: metadata that is read again, certificates that run out, providers that are away.

Tells of certificates SOON_SECONDS before they expire and of providers that cannot be used.
Above: bootstrap, admin API. Below: signon, telemetry.
"""

import asyncio
from typing import NoReturn, Protocol

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import PlatformError
from ai_platform.sso.saml.messages import Certificate
from ai_platform.sso.settings import ProviderSettings, SamlSettings
from ai_platform.sso.signon import SignOn
from ai_platform.telemetry import Alert

LOOK_SECONDS = 300.0
DAY = 86400.0
SOON_SECONDS = 30 * DAY
URGENT_SECONDS = 3 * DAY


class Sends(Protocol):
    def send(self, alert: Alert) -> bool: ...


class CertificateState(msgspec.Struct, frozen=True, kw_only=True):
    """provider: "" for our own. use: `signs answers`, `ours`, `ours, next`. expires: epoch seconds.

    days_left: negative when it has expired. state: `ok`, `soon`, `expired`.
    """

    provider: str
    use: str
    sha256: str
    expires: float
    days_left: int
    state: str


class ProviderState(msgspec.Struct, frozen=True, kw_only=True):
    """kind: `OpenID` or `SAML`. problem: why nobody can sign in there, "" = nothing is known to be wrong.

    callback: where the provider sends people back to. entity_id: ours there, "" for OpenID.
    """

    name: str
    title: str
    kind: str
    issuer: str
    tenant: str
    callback: str
    entity_id: str
    problem: str
    certificates: tuple[CertificateState, ...]


class Health:
    """states, own: providers and our certificates as last looked at. failures: looks that did not work out."""

    def __init__(self, signon: SignOn, alerts: Sends, clock: Clock) -> None:
        self._signon = signon
        self._alerts = alerts
        self._clock = clock
        self.states: tuple[ProviderState, ...] = ()
        self.own: tuple[CertificateState, ...] = ()
        self.failures = 0

    async def run(self) -> NoReturn:
        """Look every few minutes, until cancelled."""
        while True:
            try:
                await self.look()
            except PlatformError:
                self.failures += 1
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Read what is old anew, and tell what people should know. Raises StoreUnavailable."""
        if self._signon.saml.providers:
            own = await self._signon.saml.keys.all()
            uses = {"current": "ours", "next": "ours, next"}
            self.own = tuple(self._certificate("", uses[key.state], key.certificate) for key in own)
        found: list[ProviderState] = []
        for name, provider in self._signon.oidc.providers.items():
            callback = self._signon.oidc.redirect_uri(name)
            found.append(self._state(provider.settings, await provider.look(), callback=callback))
        for one in self._signon.saml.providers.values():
            state = self._state(one.settings, await one.look(), callback=one.acs, entity_id=one.entity_id)
            certificates = tuple(self._certificate(state.name, "signs answers", each) for each in one.certificates)
            found.append(msgspec.structs.replace(state, certificates=certificates))
        self.states = tuple(found)
        self._tell()

    def _state(
        self, settings: ProviderSettings | SamlSettings, problem: str, *, callback: str, entity_id: str = ""
    ) -> ProviderState:
        return ProviderState(
            name=settings.name,
            title=settings.shown,
            kind="SAML" if isinstance(settings, SamlSettings) else "OpenID",
            issuer=settings.issuer,
            tenant=settings.tenant,
            callback=callback,
            entity_id=entity_id,
            problem=problem,
            certificates=(),
        )

    def _certificate(self, provider: str, use: str, certificate: Certificate) -> CertificateState:
        left = certificate.expires - self._clock.now()
        return CertificateState(
            provider=provider,
            use=use,
            sha256=certificate.sha256,
            expires=certificate.expires,
            days_left=int(left // DAY),
            state="expired" if left <= 0 else "soon" if left < SOON_SECONDS else "ok",
        )

    def _tell(self) -> None:
        for state in self.states:
            if state.problem:
                self._alerts.send(
                    Alert(
                        kind="sign_in_provider_down",
                        severity="warning",
                        title=f"Nobody can sign in at {state.title}",
                        facts={"provider": state.name, "problem": state.problem},
                        dedupe=state.name,
                    )
                )
        for each in (*self.own, *(each for state in self.states for each in state.certificates)):
            if each.state != "ok":
                self._alerts.send(_expiry(each))


def _expiry(each: CertificateState) -> Alert:
    whose = f"of the identity provider {each.provider}" if each.provider else "that signs our SAML requests"
    when = "has expired" if each.state == "expired" else f"expires in {each.days_left} days"
    return Alert(
        kind="certificate_expires",
        severity="critical" if each.days_left * DAY < URGENT_SECONDS else "warning",
        title=f"The certificate {whose} {when}",
        facts={"provider": each.provider, "sha256": each.sha256, "days_left": each.days_left, "use": each.use},
        dedupe=f"{each.sha256}:{each.days_left}",
    )
