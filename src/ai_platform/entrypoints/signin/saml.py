"""Sign-in by SAML: our addresses at the providers.

GET  /saml[/NAME]/login      to the provider
POST /saml[/NAME]/acs        the provider's answer, by way of the browser
GET  /saml/finish            the same browser by itself, with the cookie that the POST could not carry
GET  /saml[/NAME]/logout     the provider ends sign-ins, or says that it did so there
GET  /saml[/NAME]/metadata   ours, for whoever sets the provider up

The first provider has the short addresses beside those with its name.
"""

import asyncio
from functools import partial
from urllib.parse import urlencode

from ai_platform.domain.errors import Denied
from ai_platform.domain.event import EventType
from ai_platform.entrypoints.http import Handler, Receive, Scope, Send, is_small
from ai_platform.entrypoints.signin.account import signed_out_there
from ai_platform.entrypoints.signin.browser import AGAIN, Browser
from ai_platform.entrypoints.signin.record import Recorder
from ai_platform.entrypoints.signin.web import Answer, Download, Leave, Page, Visit, page_handler, text
from ai_platform.sso import SignOn
from ai_platform.sso.idtoken import BadTokenError
from ai_platform.sso.saml.flow import AnswerRefusedError, Arrived
from ai_platform.sso.saml.messages import LogoutAnswered
from ai_platform.sso.saml.provider import SamlProvider
from ai_platform.sso.saml.requests import TICKET_SECONDS

MAX_ANSWER = 400 * 1024
LARGE_AT_ONCE = 32
FINISH = "/saml/finish"


class SamlDoor:
    """refused, replayed: answers. ended, logout_refused: what providers ended, and what was not taken; counters."""

    def __init__(self, signon: SignOn, browser: Browser, record: Recorder) -> None:
        self._signon = signon
        self._browser = browser
        self._record = record
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self.refused = 0
        self.replayed = 0
        self.ended = 0
        self.logout_refused = 0

    def handlers(self) -> dict[tuple[str, str], Handler]:
        handlers: dict[tuple[str, str], Handler] = {}
        for name, provider in self._signon.saml.providers.items():
            for prefix in dict.fromkeys((provider.prefix, f"/saml/{name}")):
                acs, out = (f"{self._signon.url}{prefix}/{what}" for what in ("acs", "logout"))
                handlers["GET", f"{prefix}/logout"] = page_handler(partial(self.logout, name, out))
                handlers["GET", f"{prefix}/login"] = page_handler(partial(self._browser.begin, name))
                handlers["GET", f"{prefix}/metadata"] = page_handler(partial(self.metadata, provider))
                handlers["POST", f"{prefix}/acs"] = self._bounded(
                    page_handler(partial(self.answer, name, acs), most=MAX_ANSWER)
                )
        return handlers | ({("GET", FINISH): page_handler(self.finish)} if handlers else {})

    async def metadata(self, provider: SamlProvider, visit: Visit) -> Answer:
        del visit
        return Download(await provider.metadata(), "application/samlmetadata+xml")

    async def answer(self, name: str, acs: str, visit: Visit) -> Answer:
        """RelayState is not looked at: where a sign-in leads stands in our own cookie."""
        try:
            arrived = await self._signon.saml.arrive(
                name, visit.form.get("SAMLResponse", ""), acs=acs, return_to=self._browser.home_path
            )
        except Denied as error:
            return await self._browser.denied(name, visit, error, [])
        except BadTokenError as error:
            self.refused += 1
            if isinstance(error, AnswerRefusedError) and error.replayed:
                self.replayed += 1
                await self._record(
                    "saml_assertion_replayed", visit, kind=EventType.SECURITY_INCIDENT, provider=name, result="refused"
                )
            elif not isinstance(error, AnswerRefusedError) or error.asked:
                await self._record("sign_in", visit, provider=name, result="refused", reason=error.why[:200])
            return self._browser.failed(error, [])
        onward = f"{FINISH}?{urlencode({'login': arrived.mark, 'ticket': arrived.ticket})}"
        return self._unasked(name, arrived, onward) if arrived.cookie else Leave(onward)

    async def logout(self, name: str, address: str, visit: Visit) -> Answer:
        """No cookie is looked at: browsers do not send ours in a frame, and the provider's signature says enough."""
        try:
            heard = await self._signon.saml.logout.heard(name, visit.scope["query_string"], address=address)
        except BadTokenError as error:
            self.logout_refused += 1
            return Page(
                "Not signed out", f"<p>The identity provider's message cannot be used: {text(error.why)}.</p>", 400
            )
        if isinstance(heard, LogoutAnswered):
            if heard.succeeded:
                return signed_out_there()
            note = "You are signed out here. Your identity provider says that it did not end everything there."
            return Page("Signed out", f"<p>{note}</p>{AGAIN}")
        ended = await self._signon.logouts.by_name(name, heard.sessions, heard.subject)
        self.ended += ended
        if ended:
            await self._record("sign_out", visit, provider=name, result="ended by the provider", ended=ended)
        return Leave(heard.onward)

    async def finish(self, visit: Visit) -> Answer:
        pending = self._browser.pending(visit.query.get("login", ""))
        spent = self._browser.cookie(pending, "", 0)
        try:
            done = await self._signon.finish_saml(
                visit.cookie(pending), visit.query.get("ticket", ""), before=self._browser.session_cookie(visit)
            )
        except Denied as error:
            return await self._browser.denied("saml", visit, error, [spent])
        except BadTokenError as error:
            self.refused += 1
            return self._browser.failed(error, [spent])
        return await self._browser.entered(visit, done, [spent])

    def _unasked(self, name: str, arrived: Arrived, onward: str) -> Page:
        """Nobody here asked, so a page of somebody else may have sent it: the person decides whether it is them."""
        provider = self._signon.saml.providers[name].settings
        who = arrived.person.email or arrived.person.name
        body = (
            f"<p>{text(provider.shown)} says that you are <strong>{text(who)}</strong>.</p>"
            f'<p><a class="button main" href="{text(onward)}">Go on as {text(who)}</a></p>'
            f'<p class="soft">If that is not you, close this page: another site may have sent you here to use the'
            " platform under its own name.</p>"
        )
        cookie = self._browser.cookie(self._browser.pending(arrived.mark), arrived.cookie, int(TICKET_SECONDS))
        return Page("Is this you?", body, 200, [cookie])

    def _bounded(self, handler: Handler) -> Handler:
        """Whoever has no credential may send large bodies only a few at a time, or they could fill this process."""

        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            if is_small(scope):
                await handler(scope, receive, send)
                return
            async with self._large:
                await handler(scope, receive, send)

        return handle
