"""One SAML provider: its metadata kept fresh, requests to it, its answers checked.

Metadata that cannot be read again stays in force for STALE_SECONDS (fail static, the failure is shown and alerted),
then nobody signs in there (fail closed). Above: flow. Below: fetch, outgoing, messages.
"""

import asyncio
import secrets
from pathlib import Path

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import ConfigError, UpstreamBroken, UpstreamError
from ai_platform.sso.fetch import Fetcher
from ai_platform.sso.idtoken import refused
from ai_platform.sso.mapping import Said, said_by_attributes
from ai_platform.sso.saml.keys import OwnKeys
from ai_platform.sso.saml.messages import (
    Certificate,
    Demand,
    Described,
    Facts,
    LogoutAnswered,
    LogoutAsked,
    LogoutDemand,
    Opened,
    Reading,
)
from ai_platform.sso.saml.outgoing import LogoutName, logout_answer_url, logout_url, metadata, request_url
from ai_platform.sso.saml.redirected import redirected
from ai_platform.sso.saml.threads import Threads
from ai_platform.sso.settings import SamlSettings

STALE_SECONDS = 3 * 86400.0
PAUSE_SECONDS = 10.0
MOST_METADATA = 4 * 1024 * 1024


class SamlProvider:
    """Raises of every method: UpstreamUnreachable, UpstreamBroken; Unauthenticated for what does not check out.

    problem: why its metadata could not be read the last time, "" when it could.
    """

    def __init__(
        self,
        settings: SamlSettings,
        *,
        reading: Reading,
        threads: Threads,
        keys: OwnKeys,
        clock: Clock,
        url: str,
        prefix: str,
        skew: float,
        seconds: float,
    ) -> None:
        """url: the platform's. prefix: the path of this provider's addresses. Raises ConfigError."""
        self.settings = settings
        self.prefix = prefix
        self.acs = f"{url}{prefix}/acs"
        self.logout = f"{url}{prefix}/logout"
        self.entity_id = settings.entity_id or f"{url}{prefix}/metadata"
        self.problem = ""
        self._reading = reading
        self._threads = threads
        self._keys = keys
        self._clock = clock
        self._skew = skew
        self._signer = _text(settings.metadata_certificate_file, settings.name)
        self._fetcher = _fetcher(settings, seconds)
        self._described: Described | None = None
        self._read_at = float("-inf")
        self._tried_at = float("-inf")
        self._stamp = (0, 0)
        self._refreshing = asyncio.Lock()

    async def close(self) -> None:
        if self._fetcher is not None:
            await self._fetcher.close()

    async def request_url(self, identifier: str) -> str:
        """Where the browser goes to sign in."""
        described = await self.described()
        own = await self._keys.all()
        signs = self.settings.sign_requests or described.wants_signed
        return request_url(
            described.sso_url,
            identifier=identifier,
            acs=self.acs,
            entity_id=self.entity_id,
            name_id_format=self.settings.name_id_format,
            now=self._clock.now(),
            key=own[0].key if signs else None,
        )

    async def metadata(self) -> bytes:
        """Ours, for this provider."""
        own = await self._keys.all()
        certificates = [key.certificate.pem for key in reversed(own)]
        return metadata(
            entity_id=self.entity_id,
            acs=self.acs,
            logout=self.logout,
            certificates=certificates,
            signs=self.settings.sign_requests,
        )

    async def logout_url(self, identifier: str, name: LogoutName) -> str:
        """Where the browser goes to sign out there; the request is signed, whatever the provider asks for."""
        described = await self.described()
        return logout_url(
            described.logout_url,
            identifier=identifier,
            entity_id=self.entity_id,
            name=name,
            now=self._clock.now(),
            key=(await self._keys.all())[0].key,
        )

    async def logout_answer_url(self, request: str, relay_state: str) -> str:
        """Where the browser goes with our answer to the provider's request to end sign-ins."""
        described = await self.described()
        if not described.logout_answer_url:
            raise refused("the provider's metadata has no address for the answer")
        return logout_answer_url(
            described.logout_answer_url,
            identifier=f"_{secrets.token_urlsafe(24)}",
            entity_id=self.entity_id,
            request=request,
            relay_state=relay_state,
            now=self._clock.now(),
            key=(await self._keys.all())[0].key,
        )

    async def logout_message(self, query: bytes, *, address: str) -> tuple[LogoutAsked | LogoutAnswered, str]:
        """A message about signing out that came to `address`, and its RelayState."""
        message = redirected(query, self._usable(await self.described()))
        demand = LogoutDemand(address=address, issuer=self.settings.issuer, now=self._clock.now(), skew=self._skew)
        read = self._reading.logout_asked if message.is_request else self._reading.logout_answered
        return await self._threads.run(lambda: read(message.document, demand)), message.relay_state

    async def opened(self, form_value: str) -> Opened:
        """An answer, not believed yet."""
        answer = await self._threads.run(
            lambda: self._reading.opened(form_value, now=self._clock.now(), skew=self._skew)
        )
        if answer.issuer and answer.issuer != self.settings.issuer:
            raise refused("another issuer made it")
        return answer

    async def verified(self, answer: Opened, *, request: str | None, acs: str) -> Facts:
        """request: the one that it answers. acs: the address it came to."""
        described = await self.described()
        own = await self._keys.all()
        demand = Demand(
            acs=acs,
            entity_id=self.entity_id,
            issuer=self.settings.issuer,
            certificates=self._usable(described),
            keys=tuple(key.key for key in own),
            request=request,
            signed=self.settings.signed,
            encrypted=self.settings.encrypted,
            now=self._clock.now(),
            skew=self._skew,
        )
        return await self._threads.run(lambda: self._reading.verified(answer, demand))

    def said(self, facts: Facts) -> Said:
        """Raises Unauthenticated: nothing names the person for good."""
        if self.settings.subject:
            subject = next(iter(facts.attributes.get(self.settings.subject, ())), "").strip()
        elif facts.name_format == "transient":
            raise refused(
                "its NameID is another one at every sign-in (transient). Whoever runs this platform should have the"
                " provider send a persistent one, or name an attribute in `subject`"
            )
        else:
            subject = facts.name_id
        if not 0 < len(subject) <= 255 or not subject.isprintable():
            raise refused("it names nobody")
        return said_by_attributes(subject, facts.attributes, self.settings.attributes)

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """Those of its metadata as last read."""
        return self._described.certificates if self._described else ()

    async def look(self) -> str:
        """Why nobody can sign in there now, "" when nothing is known to be wrong; metadata that is old is read."""
        try:
            self._usable(await self.described())
        except UpstreamError as error:
            return str(error)
        return self.problem

    async def described(self) -> Described:
        """Its metadata, read again when it is old or its file has changed."""
        if not self._is_fresh():
            async with self._refreshing:
                if not self._is_fresh() and self._clock.monotonic() - self._tried_at >= PAUSE_SECONDS:
                    self._tried_at = self._clock.monotonic()
                    await self._refresh()
        known, age = self._described, self._clock.monotonic() - self._read_at
        is_stale = not self._is_fresh() and age > max(STALE_SECONDS, self.settings.metadata_seconds)
        if known is None or is_stale or (known.until is not None and known.until <= self._clock.now()):
            why = self.problem or "its metadata has expired"
            message = f"The identity provider '{self.settings.name}' cannot be used now: {why}"
            raise UpstreamBroken(message, target=self.settings.name)
        return known

    async def _refresh(self) -> None:
        try:
            document = await self._document()
            self._described = await self._threads.run(
                lambda: self._reading.described(
                    document, issuer=self.settings.issuer, signer=self._signer, now=self._clock.now()
                )
            )
        except (ConfigError, UpstreamError) as error:
            self.problem = str(error)
        else:
            self._read_at = self._clock.monotonic()
            self.problem = ""

    async def _document(self) -> bytes:
        if self._fetcher is not None:
            return await self._fetcher.get_document(self.settings.metadata_url, most=MOST_METADATA)
        assert self.settings.metadata_file is not None  # one of the two is there, the settings say
        document, self._stamp = await asyncio.to_thread(_read, self.settings.metadata_file)
        return document

    def _is_fresh(self) -> bool:
        if self._described is None:
            return False
        if self.settings.metadata_file is not None:
            return _stamp(self.settings.metadata_file) == self._stamp
        return self._clock.monotonic() - self._read_at < self.settings.metadata_seconds

    def _usable(self, described: Described) -> tuple[str, ...]:
        now = self._clock.now()
        usable = [
            one.pem for one in described.certificates if self.settings.accept_expired_certificate or one.expires > now
        ]
        if not usable:
            message = (
                f"The signing certificate of the identity provider '{self.settings.name}' has expired. Whoever runs"
                " this platform should have it renewed there, or set `accept_expired_certificate` until it is."
            )
            raise UpstreamBroken(message, target=self.settings.name)
        return tuple(usable)


def _fetcher(settings: SamlSettings, seconds: float) -> Fetcher | None:
    if not settings.metadata_url:
        return None
    if not settings.metadata_url.startswith(("https://", "http://")):
        message = f"The metadata_url {settings.metadata_url!r} of sso.saml '{settings.name}' must begin with https://."
        raise ConfigError(message)
    return Fetcher(settings.metadata_url, (), seconds=seconds, name=settings.name, ca_file=settings.ca_file)


def _text(path: Path | None, name: str) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        message = f"The metadata_certificate_file {path} of sso.saml '{name}' cannot be read ({error})."
        raise ConfigError(message) from error


def _read(path: Path) -> tuple[bytes, tuple[int, int]]:
    stamp = _stamp(path)
    try:
        with path.open("rb") as file:
            document = file.read(MOST_METADATA + 1)
    except OSError as error:
        raise ConfigError(f"The metadata cannot be read: {error.strerror}.", where=str(path)) from error
    if len(document) > MOST_METADATA:
        raise ConfigError(f"The metadata is larger than {MOST_METADATA >> 20} MiB.", where=str(path))
    return document, stamp


def _stamp(path: Path) -> tuple[int, int]:
    """(0, 0) when it is gone: then it is read again, which tells."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
