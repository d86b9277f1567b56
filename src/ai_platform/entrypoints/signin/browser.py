"""Signing in with a browser: choosing a provider, leaving for it, coming back; what other pages ask of a session.

GET /auth/login  GET /auth/callback/NAME
"""

import hmac
import re
from collections.abc import Mapping
from functools import partial
from urllib.parse import urlencode

from ai_platform.domain.call import Headers
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied, RateLimited, UpstreamError
from ai_platform.entrypoints.http import Handler
from ai_platform.entrypoints.signin.chooser import Wish, chooser, for_address, login_link, offered
from ai_platform.entrypoints.signin.record import Recorder
from ai_platform.entrypoints.signin.web import (
    Answer,
    Leave,
    Page,
    Visit,
    onward,
    page_handler,
    set_cookie,
    text,
)
from ai_platform.identity.attempts import network
from ai_platform.sso import SignOn
from ai_platform.sso.idtoken import BadTokenError
from ai_platform.sso.limits import Limiter
from ai_platform.sso.oidc import LOGIN_SECONDS
from ai_platform.sso.sessions import Session
from ai_platform.sso.signon import SignedIn, login_cookie

HOME = "/auth/session"
AGAIN = f'<p><a class="button main" href="{HOME}">Sign in again</a></p>'
_RETURN = re.compile(
    r"/auth/session|/auth/connections|/device(\?user_code=[A-Za-z-]{1,12})?|/oauth/consent\?request=[0-9a-f]{8}"
)
"""Where a sign-in may lead: pages of this door and nothing else, so that no link of ours leads elsewhere."""


class Browser:
    """signed_in, refused: counters. Cookies are `__Host-` ones wherever the platform is reached over https."""

    def __init__(self, signon: SignOn, record: Recorder, clock: Clock) -> None:
        self._signon = signon
        self._record = record
        self._secure = signon.url.startswith("https://")
        self._cookie = "__Host-aip-session" if self._secure else "aip-session"
        self._begun = Limiter(clock, limit=signon.settings.sign_ins_per_minute, seconds=60.0)
        self._providers = signon.settings.everyone
        self.home_path = HOME
        self.signed_in = 0
        self.refused = 0

    def handlers(self) -> dict[tuple[str, str], Handler]:
        pages = {
            ("GET", "/auth/login"): page_handler(self.login),
        }
        for name in self._signon.oidc.providers:
            pages["GET", f"/auth/callback/{name}"] = page_handler(partial(self.callback, name))
        return pages

    async def session(self, visit: Visit) -> Session | None:
        """Theirs; a page that is looked at renews the session's id when it is time, a form that is sent does not."""
        cookie = visit.cookie(self._cookie)
        if not cookie:
            return None
        session = await self._signon.sessions.get(cookie, renew=visit.scope["method"] == "GET")
        if session is not None and session.renewed:
            visit.headers.append(self.cookie(self._cookie, session.renewed, max(1, int(session.left))))
        return session

    def session_cookie(self, visit: Visit) -> str:
        return visit.cookie(self._cookie) or ""

    def gone(self) -> tuple[bytes, bytes]:
        """Takes the session's cookie from the browser."""
        return self.cookie(self._cookie, "", 0)

    def cookie(self, name: str, value: str, seconds: int) -> tuple[bytes, bytes]:
        """seconds: 0 deletes it."""
        return set_cookie(name, value, secure=self._secure, seconds=seconds)

    def pending(self, mark: str) -> str:
        """The name of the cookie of a sign-in under way; over https no sibling host can put another one in its place,
        which would end in the account of whoever made that one.
        """
        return f"__Host-{login_cookie(mark)}" if self._secure else login_cookie(mark)

    def is_own_form(self, visit: Visit, session: Session) -> bool:
        """Whether the form comes from a page of this session."""
        sent = visit.form.get("csrf", "").encode("utf-8", "replace")
        return hmac.compare_digest(session.csrf.encode(), sent) and not visit.from_elsewhere

    def to_login(self, visit: Visit) -> Leave:
        """Sign in, then come back to this page."""
        query = visit.scope["query_string"].decode("latin-1")
        here = visit.scope["path"] + (f"?{query}" if query else "")
        return Leave(login_link({"return_to": here if _RETURN.fullmatch(here) else visit.scope["path"]}))

    async def login(self, visit: Visit) -> Answer:
        wish = self._wish(visit)
        shown = offered(self._providers, wish)
        name = visit.query.get("provider", "")
        if not name and len(self._providers) == 1:
            name = self._providers[0].name
        if any(one.name == name for one in self._providers):
            return await self.begin(name, visit)
        if not wish.email:
            return chooser(shown, wish, emergency=self._emergency(wish))
        fitting = for_address(shown, wish.email)
        if len(fitting) == 1:
            begun = await self.begin(fitting[0].name, visit)
            if not isinstance(begun, Leave):
                return begun
            return onward(begun.url, fitting[0].shown, f"You are led to {fitting[0].shown}.", begun.headers)
        sentence = f"Nobody here signs in with {wish.email}. Choose below. {self._signon.settings.contact}"
        note = f'<p class="warn" role="alert">{text(sentence)}</p>'
        return chooser(fitting or shown, wish, emergency=self._emergency(wish), note="" if fitting else note)

    async def begin(self, name: str, visit: Visit) -> Answer:
        """To this provider, or to a page that says that it is down and what else there is."""
        wish = self._wish(visit)
        if wait := self._begun.wait(network(visit.ip)):
            message = "Too many sign-ins were begun from your network address. Try again in a minute."
            raise RateLimited(Refusal.RATE_LIMIT, message, retry_after=wait)
        self._begun.count(network(visit.ip))
        try:
            started = await self._signon.begin(name, wish.return_to, hint=wish.email)
        except UpstreamError as error:
            return self._down(name, wish, error)
        return Leave(started.url, [self.cookie(self.pending(started.mark), started.cookie, int(LOGIN_SECONDS))])

    async def callback(self, provider: str, visit: Visit) -> Answer:
        pending = self.pending(visit.query.get("state", ""))
        spent = self.cookie(pending, "", 0)
        try:
            done = await self._signon.arrive(
                provider, visit.query, visit.cookie(pending), before=visit.cookie(self._cookie)
            )
        except Denied as error:
            return await self.denied(provider, visit, error, [spent])
        except BadTokenError as error:
            return self.failed(error, [spent])
        return await self.entered(visit, done, [spent])

    async def denied(self, provider: str, visit: Visit, error: Denied, headers: Headers) -> Page:
        """They are known at the provider and may not be here; the message says whom to ask."""
        self.refused += 1
        await self._record("sign_in", visit, provider=provider, result="refused", rule=error.rule)
        other = f'<p><a class="button" href="{HOME}">Use another account</a></p>'
        return Page("You cannot use this platform yet", f"<p>{text(str(error))}</p>{other}", 403, headers)

    def failed(self, error: BadTokenError, headers: Headers) -> Page:
        self.refused += 1
        return Page("Sign-in failed", f"<p>{text(str(error))}</p>{AGAIN}", 400, headers)

    async def entered(self, visit: Visit, done: SignedIn, headers: Headers) -> Leave:
        """Recorded first; then the browser gets its session."""
        account = done.account
        await self._record(
            "sign_in",
            visit,
            subject=account.id,
            email=account.email,
            provider=account.provider,
            result="signed in",
            roles=list(account.roles),
            team=account.team,
            tenant=account.tenant,
        )
        self.signed_in += 1
        seconds = int(self._signon.settings.sessions.absolute_seconds)
        return Leave(done.return_to, [self.cookie(self._cookie, done.cookie, seconds), *headers])

    def return_to(self, fields: Mapping[str, str]) -> str:
        """Where a sign-in leads: what the address or the form says, if it is one of our pages."""
        wanted = fields.get("return_to", HOME)
        return wanted if _RETURN.fullmatch(wanted) else HOME

    def _wish(self, visit: Visit) -> Wish:
        return Wish(
            return_to=self.return_to(visit.query),
            tenant=visit.query.get("tenant", "")[:64],
            email=visit.query.get("email", "").strip()[:254],
        )

    def _emergency(self, wish: Wish) -> str:
        """The address of the break-glass page, "" when it is switched off."""
        if self._signon.emergency is None:
            return ""
        return f"/auth/break-glass?{urlencode({'return_to': wish.return_to})}"

    def _down(self, name: str, wish: Wish, error: UpstreamError) -> Page:
        others = [one for one in offered(self._providers, wish) if one.name != name]
        shown = next(one.shown for one in self._providers if one.name == name)
        sentence = f"{shown} does not work at this moment. {error} {'Others do:' if others else ''}"
        again = login_link({"provider": name, "return_to": wish.return_to})
        note = f'<p class="warn" role="alert">{text(sentence.strip())}</p>'
        retry = f'<a class="button main" href="{text(again)}">Try {text(shown)} again</a>'
        page = chooser(others, wish, emergency=self._emergency(wish), note=note + retry, status=502)
        return Page(f"{text(shown)} is down", page.body, page.status)


def again(address: str) -> Page:
    """One sign-in is good for one program. address: of the page that asks for the next sign-in."""
    return Page(
        "Sign in again",
        "<p>This sign-in has been used for a program already, so the next one needs another.</p>"
        f'<p><a class="button main" href="{text(address)}">Sign in</a></p>',
        403,
    )


def forged() -> Page:
    return Page(
        "This form cannot be used",
        "<p>It does not belong to your sign-in: it is too old, or another site sent it. Nothing was done.</p>"
        f'<p><a class="button" href="{HOME}">Go on</a></p>',
        403,
    )
