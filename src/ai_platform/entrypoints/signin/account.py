"""The page that shows who one is and what goes on in one's name, and the ways out.

GET /auth/session            who, and what is signed in as them
POST /auth/logout            out here; here and at the provider; everywhere
GET /auth/signed-out         where a provider leads back to after that
POST /auth/backchannel/NAME  a provider says that somebody signed out there (server to server)
GET /auth/frontchannel/NAME  the same, in a frame of the provider's page
"""

import datetime as dt
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import Unauthenticated
from ai_platform.entrypoints.http import Handler
from ai_platform.entrypoints.signin.browser import AGAIN, HOME, Browser, forged
from ai_platform.entrypoints.signin.device import SURFACES
from ai_platform.entrypoints.signin.record import Recorder
from ai_platform.entrypoints.signin.web import (
    Answer,
    Data,
    Page,
    Visit,
    facts,
    form,
    oauth_error,
    oauth_handler,
    onward,
    page_handler,
    text,
)
from ai_platform.sso import SignOn
from ai_platform.sso.sessions import Session
from ai_platform.sso.signon import SIGNED_OUT

SHOWN = 20


class AccountPage:
    """ended, refused: sessions and programs that providers ended, and words of theirs that were not taken; counters."""

    def __init__(self, signon: SignOn, browser: Browser, record: Recorder, clock: Clock) -> None:
        self._signon = signon
        self._browser = browser
        self._record = record
        self._clock = clock
        self.ended = 0
        self.refused = 0

    def handlers(self) -> dict[tuple[str, str], Handler]:
        pages: dict[tuple[str, str], Handler] = {
            ("GET", HOME): page_handler(self.home),
            ("POST", "/auth/logout"): page_handler(self.logout),
            ("GET", SIGNED_OUT): page_handler(self.signed_out),
        }
        for name in self._signon.oidc.providers:
            pages["POST", f"/auth/backchannel/{name}"] = oauth_handler(partial(self.back_channel, name))
            pages["GET", f"/auth/frontchannel/{name}"] = page_handler(partial(self.front_channel, name))
        return pages

    async def home(self, visit: Visit) -> Answer:
        session = await self._browser.session(visit)
        if session is None:
            return self._browser.to_login(visit)
        account = session.account
        rows = [
            ("Signed in as", f"{account.name} ({account.email or account.subject})"),
            ("Roles", ", ".join(account.roles)),
            ("Team", account.team or "none"),
        ]
        if account.until is not None:
            rows.append(("Ends at", f"{dt.datetime.fromtimestamp(account.until, dt.UTC):%Y-%m-%d %H:%M} UTC"))
        sessions = await self._signon.sessions.open_of(account.id, tenant=account.tenant)
        programs = await self._signon.grants.open_of(account.id, tenant=account.tenant)
        body = facts(rows) + self._going_on(len(sessions), programs) + self._ways_out(session)
        return Page("You are signed in", body)

    async def logout(self, visit: Visit) -> Answer:
        gone = self._browser.gone()
        session = await self._browser.session(visit)
        if session is None:
            return Page("Signed out", "<p>You are signed out.</p>", 200, [gone])
        if not self._browser.is_own_form(visit, session):
            return forged()
        account, cookie = session.account, self._browser.session_cookie(visit)
        way = visit.form.get("way", "")
        await self._record(
            "sign_out",
            visit,
            subject=account.id,
            email=account.email,
            everywhere=way == "everywhere",
            tenant=account.tenant,
        )
        url = await self._signon.sign_out_url(account.provider, cookie) if way == "provider" else None
        await self._signon.sessions.end(cookie)
        if way == "everywhere":
            await self._signon.end_all(account.id, "signed out everywhere", tenant=account.tenant)
        if url is not None:
            return onward(url, "Signed out here", "You are led to your identity provider to sign out there.", [gone])
        note = {
            "everywhere": "You are signed out everywhere, programs included. Platform keys of yours still work.",
            "provider": "You are signed out here. Your identity provider offers no way: sign out there yourself.",
        }.get(way, "You are signed out here. You may still be signed in at your identity provider.")
        return Page("Signed out", f"<p>{note}</p>{AGAIN}", 200, [gone])

    async def signed_out(self, visit: Visit) -> Answer:
        del visit
        return signed_out_there()

    async def back_channel(self, provider: str, visit: Visit) -> Answer:
        try:
            ended = await self._signon.logouts.back_channel(provider, visit.form.get("logout_token", ""))
        except Unauthenticated as error:
            self.refused += 1
            return oauth_error("invalid_request", str(error))
        self.ended += ended
        await self._record("sign_out", visit, provider=provider, result="ended by the provider", ended=ended)
        return Data(None)

    async def front_channel(self, provider: str, visit: Visit) -> Answer:
        """The name of the sign-in is all that says who it is: cookies do not come along in a frame of another site."""
        issuer = self._signon.oidc.providers[provider].settings.issuer
        try:
            ended = await self._signon.logouts.front_channel(
                provider, visit.query.get("iss", ""), visit.query.get("sid", "")
            )
        except Unauthenticated as error:
            self.refused += 1
            return Page("Not signed out", f"<p>{text(str(error))}</p>", 400)
        self.ended += ended
        if ended:
            await self._record("sign_out", visit, provider=provider, result="ended by the provider", ended=ended)
        parts = urlsplit(issuer)
        return Page("Signed out", "<p>You are signed out.</p>", framed_by=f"{parts.scheme}://{parts.netloc}")

    def _going_on(self, sessions: int, programs: Sequence[Any]) -> str:
        browsers = "This browser" if sessions <= 1 else f"{sessions} browsers, this one among them"
        lines = "".join(f"<li>{text(self._program(row))}</li>" for row in programs[:SHOWN])
        more = f"<li>and {len(programs) - SHOWN} more</li>" if len(programs) > SHOWN else ""
        return f"<h2>What is signed in as you</h2><ul><li>{browsers}</li>{lines}{more}</ul>"

    def _program(self, row: Any) -> str:
        request = row["request"]
        name = SURFACES.get(request.get("surface", ""), "A program")
        since = row["created_at"].astimezone(dt.UTC)
        place = f" from {request['ip']}" if request.get("ip") else ""
        return f"{name}{place}, since {since:%Y-%m-%d %H:%M} UTC"

    def _ways_out(self, session: Session) -> str:
        providers = self._signon.settings.everyone
        provider = next((one for one in providers if one.name == session.account.provider and one.sign_out), None)
        there = (
            f'<button name="way" value="provider">Sign out here and at {text(provider.shown)}</button>'
            if provider is not None
            else ""
        )
        buttons = (
            '<button class="main" name="way" value="here">Sign out</button>'
            f'{there}<button name="way" value="everywhere">Sign out everywhere, Claude Code included</button>'
        )
        return form("/auth/logout", {"csrf": session.csrf}, buttons)


def signed_out_there() -> Page:
    return Page("Signed out", f"<p>You are signed out here and at your identity provider.</p>{AGAIN}")
