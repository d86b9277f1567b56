"""The verification page of the device flow (RFC 8628, section 3.3), behind sign-in.

A link can carry the code, but only a person approves: two steps, a form each, and the second says who asks and what
it means. Wrong codes are counted by person and by address (section 5.1).
"""

from ai_platform.domain.clock import Clock
from ai_platform.entrypoints.http import Handler
from ai_platform.entrypoints.signin.browser import Browser, again, forged
from ai_platform.entrypoints.signin.record import Recorder
from ai_platform.entrypoints.signin.web import Answer, Page, Visit, facts, form, page_handler, text
from ai_platform.identity.attempts import network
from ai_platform.sso import SignOn
from ai_platform.sso.devices import Request, plain
from ai_platform.sso.limits import Limiter
from ai_platform.sso.sessions import Session

WRONG_SECONDS = 600.0
SURFACES = {"claude_code": "Claude Code", "ai_platform": "the ai-platform command line"}


class DevicePage:
    """approved, denied, wrong: counters."""

    def __init__(self, signon: SignOn, browser: Browser, record: Recorder, clock: Clock) -> None:
        self._signon = signon
        self._browser = browser
        self._record = record
        self._wrong = Limiter(clock, limit=signon.settings.code_failures, seconds=WRONG_SECONDS)
        self.approved = 0
        self.denied = 0
        self.wrong = 0

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {("GET", "/device"): page_handler(self.show), ("POST", "/device"): page_handler(self.post)}

    async def show(self, visit: Visit) -> Answer:
        session = await self._browser.session(visit)
        if session is None or session.spent:
            return self._browser.to_login(visit)
        return _enter(session, visit.query.get("user_code", ""))

    async def post(self, visit: Visit) -> Answer:
        session = await self._browser.session(visit)
        if session is None:
            return Page(
                "Sign in again",
                '<p>Your sign-in has ended.</p><p><a class="button main" href="/device">Sign in</a></p>',
            )
        if not self._browser.is_own_form(visit, session):
            return forged()
        wait = max(self._wrong.wait(session.account.id), self._wrong.wait(network(visit.ip)))
        if wait:
            message = f"<p>Too many wrong codes. Try again in {int(wait // 60) + 1} minutes.</p>"
            return Page("Too many wrong codes", message, 429, [(b"retry-after", str(int(wait) + 1).encode())])
        code, action = plain(visit.form.get("user_code", "")), visit.form.get("action", "")
        if action == "approve" and session.spent:
            return again(f"/device?user_code={code}")
        if action in {"approve", "deny"}:
            return await self._decide(visit, session, code, approve=action == "approve")
        request = await self._signon.devices.look(code)
        if request is None:
            return self._unknown(visit, session)
        return _confirm(session, code, request, visit.ip)

    async def _decide(self, visit: Visit, session: Session, code: str, *, approve: bool) -> Answer:
        account = session.account
        asks = await self._signon.devices.look(code)
        if asks is None:
            return self._unknown(visit, session)
        await self._record(
            "device_sign_in",
            visit,
            subject=account.id,
            email=account.email,
            personal={"program_ip_address": asks.ip, "program_user_agent": asks.user_agent},
            program=asks.surface,
            provider=account.provider,
            result="approved" if approve else "denied",
            tenant=account.tenant,
        )
        cookie = self._browser.session_cookie(visit)
        provider_token = await self._signon.sessions.take_provider_token(cookie) if approve else None
        request = await self._signon.devices.decide(code, account, approve=approve, provider_token=provider_token)
        if request is None:
            return self._unknown(visit, session)
        if not approve:
            self.denied += 1
            return Page("Not approved", "<p>The program gets no access. You can close this page.</p>")
        self.approved += 1
        return Page(
            "Approved", f"<p>{text(_name(request))} is signed in as {text(_who(session))}. You can close this page.</p>"
        )

    def _unknown(self, visit: Visit, session: Session) -> Answer:
        self.wrong += 1
        self._wrong.count(session.account.id)
        self._wrong.count(network(visit.ip))
        note = '<p class="warn" role="alert">No sign-in waits under this code. It may have expired: begin again.</p>'
        return _enter(session, "", note)


def _enter(session: Session, code: str, note: str = "") -> Page:
    shown = plain(code)
    shown = f"{shown[:4]}-{shown[4:]}" if shown else ""
    inner = (
        '<label for="code">Code on the other screen</label><input id="code" class="code" name="user_code" required'
        f' autocomplete="off" maxlength="12" value="{text(shown)}">'
        '<button class="main" name="action" value="look">Continue</button>'
    )
    who = f"<p>You are signed in as {text(_who(session))}.</p>"
    return Page("Connect a program", note + who + form("/device", {"csrf": session.csrf}, inner))


def _confirm(session: Session, code: str, request: Request, ip: str) -> Page:
    rows = [
        ("Program", _name(request)),
        ("It says it is", request.user_agent or "nothing"),
        ("It asks from", request.ip or "an unknown address"),
        ("It will act as", _who(session)),
    ]
    warning = (
        '<p class="warn" role="note"><strong>Did you start this yourself, just now?</strong> Approve only if your own'
        f" screen shows <code>{text(code[:4])}-{text(code[4:])}</code>. If somebody sent you this code or a link,"
        " choose Deny: they would use the platform as you.</p>"
    )
    if request.ip != ip:
        warning += (
            '<p class="warn" role="alert"><strong>It asks from another network address than yours</strong>'
            f" ({text(ip)}). That is right for a remote machine that you work on, and wrong for anything else.</p>"
        )
    buttons = (
        '<button class="main" name="action" value="approve">Approve</button>'
        '<button name="action" value="deny">Deny</button>'
    )
    return Page(
        "Approve this sign-in?",
        facts(rows) + warning + form("/device", {"csrf": session.csrf, "user_code": code}, buttons),
    )


def _name(request: Request) -> str:
    return SURFACES.get(request.surface, "A program that did not say what it is")


def _who(session: Session) -> str:
    return session.account.email or session.account.name
