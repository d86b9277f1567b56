"""Emergency access: local administrators sign in here when every identity provider is down.

GET  POST /auth/break-glass          name, password and a code; or name and password, then a security key
POST      /auth/break-glass/answer   what the security key says
GET  POST /auth/break-glass/key      registering one, from a link that the command line gave

Every use is a critical alert and a security incident in the audit log, durable before the session begins.
"""

from ai_platform.domain.errors import InvalidCall, RateLimited, Unauthenticated
from ai_platform.domain.event import EventType
from ai_platform.entrypoints.http import Handler
from ai_platform.entrypoints.signin.browser import Browser, forged
from ai_platform.entrypoints.signin.record import Recorder
from ai_platform.entrypoints.signin.security_key import key_page
from ai_platform.entrypoints.signin.web import Answer, Page, Visit, form, page_handler, text
from ai_platform.sso import SignOn
from ai_platform.sso.breakglass import BreakGlass
from ai_platform.sso.breakglass.emergency import Attempt
from ai_platform.sso.people import Account

PATH = "/auth/break-glass"
NOTE = (
    '<p class="warn" role="note">For when no identity provider works. Whoever runs this platform is told at once of'
    " every use.</p>"
)


class BreakGlassPages:
    def __init__(self, signon: SignOn, emergency: BreakGlass, browser: Browser, record: Recorder) -> None:
        self._signon = signon
        self._emergency = emergency
        self._browser = browser
        self._record = record

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {
            ("GET", PATH): page_handler(self.show),
            ("POST", PATH): page_handler(self.sign_in),
            ("POST", f"{PATH}/answer"): page_handler(self.answer),
            ("GET", f"{PATH}/key"): page_handler(self.new_key),
            ("POST", f"{PATH}/key"): page_handler(self.register),
        }

    async def show(self, visit: Visit) -> Answer:
        return _enter(visit.query.get("ticket", ""), self._browser.return_to(visit.query))

    async def sign_in(self, visit: Visit) -> Answer:
        if visit.from_elsewhere:
            return forged()
        ticket, return_to = visit.form.get("ticket", ""), self._browser.return_to(visit.form)
        attempt = Attempt(visit.form.get("name", "").strip(), visit.form.get("password", ""), visit.ip, ticket)
        try:
            if visit.form.get("action") == "key":
                challenge = await self._emergency.challenge(attempt)
                return key_page(
                    "Your security key",
                    f"Signing in as {attempt.name}.",
                    action=f"{PATH}/answer",
                    options=challenge.options,
                    fields={"challenge": challenge.value, "return_to": return_to},
                )
            account = await self._emergency.with_code(attempt, visit.form.get("code", ""))
        except Unauthenticated as error:
            return await self._failed(visit, error, ticket, return_to)
        except RateLimited as error:
            wait = str(int(error.retry_after or 60) + 1).encode()
            note = f'<p class="warn" role="alert">{text(str(error))}</p>'
            return _enter(ticket, return_to, note, status=429, headers=[(b"retry-after", wait)])
        return await self._entered(visit, account, return_to, "code")

    async def answer(self, visit: Visit) -> Answer:
        if visit.from_elsewhere:
            return forged()
        return_to = self._browser.return_to(visit.form)
        try:
            account = await self._emergency.with_key(
                visit.form.get("challenge", ""), visit.form.get("answer", ""), ip=visit.ip
            )
        except Unauthenticated as error:
            return await self._failed(visit, error, "", return_to)
        return await self._entered(visit, account, return_to, "security key")

    async def new_key(self, visit: Visit) -> Answer:
        try:
            admin, challenge = await self._emergency.begin_key(visit.query.get("ticket", ""))
        except Unauthenticated as error:
            return Page("This link is over", f"<p>{text(str(error))}</p>", 403)
        return key_page(
            "Register a security key",
            f"For the local administrator {admin.name}.",
            action=f"{PATH}/key",
            options=challenge.options,
            fields={"challenge": challenge.value},
        )

    async def register(self, visit: Visit) -> Answer:
        if visit.from_elsewhere:
            return forged()
        try:
            admin = await self._emergency.finish_key(visit.form.get("challenge", ""), visit.form.get("answer", ""))
        except (Unauthenticated, InvalidCall) as error:
            return Page("The key was not registered", f"<p>{text(str(error))}</p>", 400)
        await self._record("break_glass_key_registered", visit, kind=EventType.ADMIN_ACTION, subject=admin.principal)
        return Page("Registered", f"<p>The security key signs {text(admin.name)} in from now on.</p>")

    async def _failed(self, visit: Visit, error: Unauthenticated, ticket: str, return_to: str) -> Page:
        await self._record("break_glass_sign_in", visit, kind=EventType.SECURITY_INCIDENT, result="refused")
        return _enter(ticket, return_to, f'<p class="warn" role="alert">{text(str(error))}</p>', status=403)

    async def _entered(self, visit: Visit, account: Account, return_to: str, factor: str) -> Answer:
        await self._record(
            "break_glass_sign_in",
            visit,
            kind=EventType.SECURITY_INCIDENT,
            subject=account.id,
            result="signed in",
            name=account.name,
            factor=factor,
            severity="critical",
        )
        done = await self._signon.enter_local(account, return_to, before=self._browser.session_cookie(visit))
        return await self._browser.entered(visit, done, [])


def _enter(
    ticket: str, return_to: str, note: str = "", *, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None
) -> Page:
    inner = (
        '<label for="name">Name</label><input id="name" name="name" required autocomplete="username" maxlength="32">'
        '<label for="password">Password</label><input id="password" name="password" type="password" required'
        ' autocomplete="current-password" maxlength="256">'
        '<label for="code">Code of your authenticator</label><input id="code" name="code" inputmode="numeric"'
        ' autocomplete="one-time-code" maxlength="7" pattern="[0-9 ]*">'
        '<button class="main" name="action" value="code">Sign in</button>'
        '<button name="action" value="key">Use a security key instead of a code</button>'
    )
    fields = {"return_to": return_to} | ({"ticket": ticket} if ticket else {})
    return Page("Emergency access", (note or NOTE) + form(PATH, fields, inner), status, headers or [])
