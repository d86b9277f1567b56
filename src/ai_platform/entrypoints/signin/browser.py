"""The pages for people: signing in at a provider, coming back, seeing who one is, signing out.

GET /auth/login  GET /auth/callback/NAME  GET /auth/session  POST /auth/logout
"""

import hmac
import re
from functools import partial

from ai_platform.domain.errors import Denied, Unauthenticated
from ai_platform.entrypoints.http import Handler
from ai_platform.entrypoints.signin.record import Recorder
from ai_platform.entrypoints.signin.web import Answer, Leave, Page, Visit, facts, form, page_handler, set_cookie, text
from ai_platform.sso import SignOn
from ai_platform.sso.sessions import Session
from ai_platform.sso.signon import LOGIN_SECONDS, login_cookie

HOME = "/auth/session"
_RETURN = re.compile(r"/auth/session|/device(\?user_code=[A-Za-z-]{1,12})?")
"""Where a sign-in may lead: pages of this door and nothing else, so that no link of ours leads elsewhere."""


class Browser:
    """signed_in, refused: counters. Cookies are `__Host-` ones wherever the platform is reached over https."""

    def __init__(self, signon: SignOn, record: Recorder) -> None:
        self._signon = signon
        self._record = record
        self._secure = signon.url.startswith("https://")
        self._cookie = "__Host-aip-session" if self._secure else "aip-session"
        self.signed_in = 0
        self.refused = 0

    def handlers(self) -> dict[tuple[str, str], Handler]:
        pages = {
            ("GET", "/auth/login"): page_handler(self.login),
            ("GET", HOME): page_handler(self.home),
            ("POST", "/auth/logout"): page_handler(self.logout),
        }
        for name in self._signon.providers:
            pages["GET", f"/auth/callback/{name}"] = page_handler(partial(self.callback, name))
        return pages

    async def session(self, visit: Visit) -> Session | None:
        cookie = visit.cookie(self._cookie)
        return await self._signon.sessions.get(cookie) if cookie else None

    def session_cookie(self, visit: Visit) -> str:
        return visit.cookie(self._cookie) or ""

    def is_own_form(self, visit: Visit, session: Session) -> bool:
        """Whether the form comes from a page of this session."""
        sent = visit.form.get("csrf", "").encode("utf-8", "replace")
        return hmac.compare_digest(session.csrf.encode(), sent) and not visit.from_elsewhere

    def to_login(self, visit: Visit) -> Leave:
        """Sign in, then come back to this page."""
        query = visit.scope["query_string"].decode("latin-1")
        here = visit.scope["path"] + (f"?{query}" if query else "")
        kept = here if _RETURN.fullmatch(here) else visit.scope["path"]
        return Leave(f"/auth/login?return_to={kept.replace('?', '%3F').replace('=', '%3D')}")

    async def login(self, visit: Visit) -> Answer:
        wanted = visit.query.get("return_to", HOME)
        return_to = wanted if _RETURN.fullmatch(wanted) else HOME
        name = visit.query.get("provider", "")
        providers = self._signon.providers
        if len(providers) == 1:
            name = next(iter(providers))
        if name not in providers:
            links = "".join(
                f'<p><a class="button" href="/auth/login?provider={text(key)}&amp;return_to='
                f'{text(return_to.replace("?", "%3F").replace("=", "%3D"))}">{text(one.settings.title or key)}</a></p>'
                for key, one in providers.items()
            )
            return Page("Sign in", f"<p>Sign in with:</p>{links}")
        leaving = await self._signon.leave(name, return_to)
        cookie = set_cookie(leaving.cookie_name, leaving.cookie, secure=self._secure, seconds=int(LOGIN_SECONDS))
        return Leave(leaving.url, [cookie])

    async def callback(self, provider: str, visit: Visit) -> Answer:
        pending = login_cookie(visit.query.get("state", ""))
        spent = set_cookie(pending, "", secure=self._secure, seconds=0)
        try:
            done = await self._signon.arrive(
                provider, visit.query, visit.cookie(pending), before=visit.cookie(self._cookie)
            )
        except Denied as error:
            self.refused += 1
            await self._record("sign_in", visit, provider=provider, result="refused", rule=error.rule)
            return Page("You cannot use this platform yet", f"<p>{text(str(error))}</p>", 403, [spent])
        except Unauthenticated as error:
            self.refused += 1
            again = f'<p><a class="button" href="{HOME}">Sign in again</a></p>'
            return Page("Sign-in failed", f"<p>{text(str(error))}</p>{again}", 400, [spent])
        account = done.account
        await self._record(
            "sign_in",
            visit,
            subject=account.id,
            email=account.email,
            provider=provider,
            result="signed in",
            roles=list(account.roles),
            team=account.team,
            tenant=account.tenant,
        )
        self.signed_in += 1
        seconds = int(self._signon.settings.sessions.absolute_seconds)
        return Leave(
            done.return_to, [set_cookie(self._cookie, done.cookie, secure=self._secure, seconds=seconds), spent]
        )

    async def home(self, visit: Visit) -> Answer:
        session = await self.session(visit)
        if session is None:
            return self.to_login(visit)
        account = session.account
        rows = [
            ("Signed in as", f"{account.name} ({account.email or account.subject})"),
            ("Roles", ", ".join(account.roles)),
            ("Team", account.team or "none"),
        ]
        buttons = (
            '<button name="everywhere" value="">Sign out</button>'
            '<button name="everywhere" value="1">Sign out everywhere, Claude Code included</button>'
        )
        return Page("ai-platform", facts(rows) + form("/auth/logout", {"csrf": session.csrf}, buttons))

    async def logout(self, visit: Visit) -> Answer:
        gone = set_cookie(self._cookie, "", secure=self._secure, seconds=0)
        session = await self.session(visit)
        if session is None:
            return Page("Signed out", "<p>You are signed out.</p>", 200, [gone])
        if not self.is_own_form(visit, session):
            return forged()
        everywhere = bool(visit.form.get("everywhere"))
        account = session.account
        await self._record(
            "sign_out",
            visit,
            subject=account.id,
            email=account.email,
            everywhere=everywhere,
            tenant=account.tenant,
        )
        await self._signon.sessions.end(self.session_cookie(visit))
        if everywhere:
            await self._signon.end_all(account.id, "signed out everywhere", tenant=account.tenant)
        return Page(
            "Signed out",
            "<p>You are signed out here. You may still be signed in at your identity provider.</p>"
            f'<p><a class="button" href="{HOME}">Sign in again</a></p>',
            200,
            [gone],
        )


def forged() -> Page:
    return Page(
        "This form cannot be used",
        "<p>It does not belong to your sign-in: it is too old, or another site sent it. Nothing was done.</p>"
        f'<p><a class="button" href="{HOME}">Go on</a></p>',
        403,
    )
