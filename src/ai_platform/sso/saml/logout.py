"""Single logout: the provider wants sign-ins ended, or answers our wish that it end its own (SAML 2.0 profiles, 4.4).

Messages come and go in the address of the person's browser, signed. It ends nothing itself: `sso.logout` does.
Above: signon, doors. Below: provider, requests.
"""

from typing import NamedTuple

from ai_platform.domain.clock import Clock
from ai_platform.domain.principal import HOME
from ai_platform.sso.idtoken import OLDEST, refused
from ai_platform.sso.saml.messages import LogoutAnswered
from ai_platform.sso.saml.outgoing import LogoutName
from ai_platform.sso.saml.provider import SamlProvider
from ai_platform.sso.saml.requests import Requests


class Ending(NamedTuple):
    """What the provider wants ended. subject: whose, None = it names only sign-ins. sessions: none = all of them.

    onward: where the browser goes with our answer, once that is done.
    """

    subject: str | None
    sessions: tuple[str, ...]
    onward: str


class SingleLogout:
    def __init__(self, providers: dict[str, SamlProvider], *, requests: Requests, clock: Clock) -> None:
        self._providers = providers
        self._requests = requests
        self._clock = clock

    async def begin(self, provider: str, name: LogoutName) -> str | None:
        """Where the browser goes to sign out there. None: it has no such address. Raises UpstreamError."""
        one = self._providers[provider]
        if not (await one.described()).logout_url:
            return None
        return await one.logout_url(await self._requests.begin(_asked_of(provider)), name)

    async def heard(self, provider: str, query: bytes, *, address: str) -> Ending | LogoutAnswered:
        """query: as it came to `address`. Raises Unauthenticated: not signed by the provider, not for us, again."""
        one = self._providers[provider]
        message, relay_state = await one.logout_message(query, address=address)
        if isinstance(message, LogoutAnswered):
            if not await self._requests.use(message.request, _asked_of(provider)):
                raise refused("nobody here asked for it, or too long ago")
            return message
        subject = None if one.settings.subject else message.name_id or None
        if subject is None and not message.sessions:
            raise refused("it names no sign-in, and the person in a way that is not known here")
        until, tenant = self._clock.now() + 3 * OLDEST, one.settings.tenant or HOME
        if not await self._requests.first_time(provider, f"logout\n{message.id}", tenant=tenant, until=until):
            raise refused("it was used already")
        onward = await one.logout_answer_url(message.id, relay_state)
        return Ending(subject, message.sessions, onward)


def _asked_of(provider: str) -> str:
    """Apart from its sign-ins: an answer of the one kind spends no request of the other."""
    return f"{provider} logout"
