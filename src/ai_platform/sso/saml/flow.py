"""Signing in by SAML, from the request to the person: asked by this browser, answered once, by the provider, for us.

An answer comes as a POST from the provider's page, on which browsers send none of our cookies (SameSite). So it is
checked first and exchanged for a ticket; then the same browser comes by itself, with ticket and cookie. Who holds only
the one (a page that posts somebody's answer) or only the other (who started a sign-in for somebody else) gets nothing.
Above: signon, doors. Below: the other modules of this package.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.principal import HOME
from ai_platform.sso.idtoken import OLDEST, BadTokenError, refused
from ai_platform.sso.mapping import Person, Said
from ai_platform.sso.oidc import Started
from ai_platform.sso.saml.keys import OwnKeys
from ai_platform.sso.saml.logout import SingleLogout
from ai_platform.sso.saml.messages import Facts, Opened, Reading
from ai_platform.sso.saml.outgoing import LogoutName
from ai_platform.sso.saml.provider import SamlProvider
from ai_platform.sso.saml.requests import REQUEST_SECONDS, Requests
from ai_platform.sso.saml.threads import Threads
from ai_platform.sso.seal import Seal
from ai_platform.sso.settings import IdentityProvider, SsoSettings
from ai_platform.stores.postgres import SystemDatabase

PURPOSE = "saml login"


class Arrived(NamedTuple):
    """cookie: for an answer that nobody asked for, what its browser needs to go on; "" when it has it already."""

    person: Person
    mark: str
    ticket: str
    cookie: str


class AnswerRefusedError(BadTokenError):
    """asked: it answers a request of ours, so that it is worth a record. replayed: it was taken before."""

    def __init__(self, why: str, *, asked: bool = True, replayed: bool = False) -> None:
        super().__init__(why)
        self.asked = asked
        self.replayed = replayed


class _Login(msgspec.Struct, frozen=True):
    request: str
    return_to: str
    until: float


class SamlFlow:
    """person: maps what a provider says to somebody who may be here; raises Denied. keys: ours."""

    def __init__(
        self,
        providers: dict[str, SamlProvider],
        *,
        requests: Requests,
        keys: OwnKeys,
        seal: Seal,
        clock: Clock,
        person: Callable[[IdentityProvider, Said], Awaitable[Person]],
    ) -> None:
        self.providers = providers
        self.keys = keys
        self.logout = SingleLogout(providers, requests=requests, clock=clock)
        self._requests = requests
        self._seal = seal
        self._clock = clock
        self._person = person

    async def close(self) -> None:
        for provider in self.providers.values():
            await provider.close()

    async def begin(self, provider: str, return_to: str) -> Started:
        """Raises UpstreamError: the provider's metadata cannot be had."""
        await self.providers[provider].described()  # first: a provider that is away costs no row
        request = await self._requests.begin(provider)
        return Started(await self.providers[provider].request_url(request), *self._cookie(request, return_to))

    async def arrive(self, provider: str, form_value: str, *, acs: str, return_to: str) -> Arrived:
        """acs: the address that the answer came to. return_to: where one goes that nobody asked for.

        Raises:
            AnswerRefusedError, Denied, UpstreamError, RateLimited.

        """
        one = self.providers[provider]
        try:
            answer = await one.opened(form_value)
        except BadTokenError as error:
            raise AnswerRefusedError(error.why, asked=False) from error
        asked = answer.request is not None
        if not asked and not one.settings.idp_initiated:
            raise AnswerRefusedError("nobody here asked for it. Begin here, not on the provider's page", asked=False)
        if answer.request is not None and not await self._requests.use(answer.request, provider):
            raise AnswerRefusedError("it was used already, or asked for too long ago, or never", asked=False)
        facts = await self._facts(one, answer, acs)
        person = await self._person(one.settings, one.said(facts))
        person = msgspec.structs.replace(person, sid=facts.session, until=facts.until)
        request = answer.request or await self._requests.begin(provider, answered=True)
        mark, cookie = self._cookie(request, return_to)
        name = LogoutName(facts.name_id, facts.name_format_uri, *facts.qualifiers, facts.session)
        return Arrived(person, mark, await self._requests.arrived(request, person, name), "" if asked else cookie)

    async def finish(self, cookie: str | None, ticket: str) -> tuple[Person, str, LogoutName | None]:
        """Who signed in, where they go, what the provider calls them.

        Raises Unauthenticated: not this browser, too late, or twice.
        """
        opened = self._seal.open(cookie, PURPOSE) if cookie else None
        login = msgspec.json.decode(opened, type=_Login) if opened else None
        found = None
        if login is not None and login.until > self._clock.now():
            found = await self._requests.finish(login.request, ticket)
        if login is None or found is None:
            raise refused("this browser did not ask for it, or asked too long ago")
        return found[0], login.return_to, found[1]

    async def sweep(self, system: SystemDatabase) -> None:
        """Forget what is over."""
        await self._requests.sweep(system)

    async def _facts(self, one: SamlProvider, answer: Opened, acs: str) -> Facts:
        try:
            facts = await one.verified(answer, request=answer.request, acs=acs)
        except BadTokenError as error:
            raise AnswerRefusedError(error.why) from error
        # Its age is bounded, so that is how long it could come again.
        until, tenant = self._clock.now() + 3 * OLDEST, one.settings.tenant or HOME
        if not await self._requests.first_time(one.settings.name, facts.assertion, tenant=tenant, until=until):
            raise AnswerRefusedError("its assertion was used already", replayed=True)
        return facts

    def _cookie(self, request: str, return_to: str) -> tuple[str, str]:
        login = _Login(request, return_to, self._clock.now() + REQUEST_SECONDS)
        return request[1:9], self._seal.close(msgspec.json.encode(login), PURPOSE)


def providers_of(
    settings: SsoSettings, reading: Reading | None, keys: OwnKeys, *, clock: Clock, url: str
) -> dict[str, SamlProvider]:
    """The first one has the short addresses, and keeps them when others are added after it.

    Raises ConfigError: the extra is not there.
    """
    if not settings.saml:
        return {}
    if reading is None:
        raise ConfigError('Sign-in by SAML (`sso.saml`) needs an extra: pip install "ai-platform[saml]".')
    threads = Threads()
    return {
        each.name: SamlProvider(
            each,
            reading=reading,
            threads=threads,
            keys=keys,
            clock=clock,
            url=url,
            prefix="/saml" if index == 0 else f"/saml/{each.name}",
            skew=settings.clock_skew_seconds,
            seconds=settings.fetch_seconds,
        )
        for index, each in enumerate(settings.saml)
    }
