"""Where an MCP client's browser window arrives: who asks is checked, the person signs in, is asked, and goes back.

GET /oauth/authorize        RFC 6749 section 4.1.1, with PKCE S256 (RFC 7636), resource (RFC 8707) and iss (RFC 9207)
GET POST /oauth/consent     the question, every time; nothing is remembered and nothing submits itself

What is asked waits in a cookie of this browser, so that nobody can have another browser decide about it.
"""

import re
import secrets
from urllib.parse import urlencode

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import InvalidCall
from ai_platform.entrypoints.http import Handler
from ai_platform.entrypoints.signin.browser import Browser, again, forged
from ai_platform.entrypoints.signin.record import Recorder
from ai_platform.entrypoints.signin.web import (
    Answer,
    Leave,
    Page,
    Visit,
    facts,
    form,
    onward,
    page_handler,
    set_cookie,
    text,
)
from ai_platform.identity.attempts import network
from ai_platform.sso import SignOn
from ai_platform.sso.limits import Limiter
from ai_platform.sso.oauth.asked import Asked, AskedWrongly
from ai_platform.sso.oauth.clients import Source
from ai_platform.sso.oauth.redirects import place_of
from ai_platform.sso.oauth.server import ASKED_SECONDS
from ai_platform.sso.sessions import Session

CONSENT = "/oauth/consent"
NAMES = {"mcp:tools": "call tools", "mcp:resources": "read resources", "mcp:prompts": "use prompts"}
KNOWN_BY = {
    Source.LISTED: "the settings of this platform",
    Source.DOCUMENT: "a document at {host}, which nobody here has checked",
    Source.REGISTERED: "nothing but its own word",
}

_NAME = re.compile(r"[0-9a-f]{8}")


class Authorize:
    """asked, approved, denied, refused: counters."""

    def __init__(self, signon: SignOn, browser: Browser, record: Recorder, clock: Clock) -> None:
        self._signon = signon
        self._server = signon.oauth
        self._browser = browser
        self._record = record
        self._secure = signon.url.startswith("https://")
        self._often = Limiter(clock, limit=signon.settings.oauth.authorizations_per_minute, seconds=60.0)
        self.asked = 0
        self.approved = 0
        self.denied = 0
        self.refused = 0

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {
            ("GET", "/oauth/authorize"): page_handler(self.begin),
            ("GET", CONSENT): page_handler(self.show),
            ("POST", CONSENT): page_handler(self.decide),
        }

    async def begin(self, visit: Visit) -> Answer:
        if wait := self._often.wait(network(visit.ip)):
            message = "<p>Too many programs asked for access from your network address. Try again in a minute.</p>"
            return Page("Try again in a minute", message, 429, [(b"retry-after", str(int(wait) + 1).encode())])
        self._often.count(network(visit.ip))
        try:
            asked = await self._server.asked(visit.query, visit.repeated)
        except AskedWrongly as error:
            self.refused += 1
            answer = {"error": error.error, "error_description": str(error)}
            return Leave(self._address(error.redirect_uri, error.state, answer))
        except InvalidCall as error:
            # Nothing leads back: where to is what cannot be trusted.
            self.refused += 1
            return Page("This program cannot be given access", f"<p>{text(str(error))}</p>", 400)
        self.asked += 1
        name = secrets.token_hex(4)
        cookie = set_cookie(
            self._cookie(name), self._server.carried(asked), secure=self._secure, seconds=int(ASKED_SECONDS)
        )
        return Leave(f"{CONSENT}?request={name}", [cookie])

    async def show(self, visit: Visit) -> Answer:
        name = visit.query.get("request", "")
        asked = self._opened(visit, name)
        if asked is None:
            return _nothing()
        session = await self._browser.session(visit)
        if session is None or session.spent:
            return self._browser.to_login(visit)
        return _question(asked, session, name, self._signon.url)

    async def decide(self, visit: Visit) -> Answer:
        name = visit.form.get("request", "")
        asked = self._opened(visit, name)
        session = await self._browser.session(visit)
        if asked is None or session is None:
            return _nothing()
        if not self._browser.is_own_form(visit, session):
            return forged()
        allow = visit.form.get("action") == "allow"
        if allow and session.spent:  # by another question of this browser, since this one was shown
            return again(f"{CONSENT}?request={name}")
        gone = set_cookie(self._cookie(name), "", secure=self._secure, seconds=0)
        account = session.account
        await self._record(
            "client_access",
            visit,
            subject=account.id,
            email=account.email,
            provider=account.provider,
            tenant=account.tenant,
            client=asked.client_name,
            client_id=asked.client_id[:200],
            sent_to=place_of(asked.redirect_uri),
            resource=asked.resource,
            scopes=list(asked.scopes),
            result="approved" if allow else "denied",
        )
        if not allow:
            self.denied += 1
            answer = {"error": "access_denied", "error_description": "The person said no."}
            return self._back(asked.redirect_uri, asked.state, answer, gone)
        provider_token = await self._signon.sessions.take_provider_token(self._browser.session_cookie(visit))
        code = await self._server.approve(asked, account, provider_token)
        self.approved += 1
        return self._back(asked.redirect_uri, asked.state, {"code": code}, gone)

    def _back(self, uri: str, state: str | None, answer: dict[str, str], gone: tuple[bytes, bytes]) -> Answer:
        address = self._address(uri, state, answer)
        return onward(address, "Back to the program", "You can close this page when the program goes on.", [gone])

    def _address(self, uri: str, state: str | None, answer: dict[str, str]) -> str:
        """Of the client. iss says whose answer it is, so that a client of several servers cannot be confused."""
        fields = answer | ({} if state is None else {"state": state}) | {"iss": self._server.url}
        return f"{uri}{'&' if '?' in uri else '?'}{urlencode(fields)}"

    def _opened(self, visit: Visit, name: str) -> Asked | None:
        return self._server.opened(visit.cookie(self._cookie(name))) if _NAME.fullmatch(name) else None

    def _cookie(self, name: str) -> str:
        return f"__Host-aip-asked-{name}" if self._secure else f"aip-asked-{name}"


def _question(asked: Asked, session: Session, name: str, url: str) -> Page:
    server = asked.resource.removeprefix("/mcp").strip("/")
    host = asked.client_id.split("/")[2] if "://" in asked.client_id else ""
    rows = [
        ("It calls itself", asked.client_name),
        ("It is known by", KNOWN_BY[asked.source].format(host=host)),
        ("The answer goes to", place_of(asked.redirect_uri)),
        ("It wants to", ", ".join(NAMES[scope] for scope in asked.scopes)),
        ("Of", f"the MCP server {server}" if server else f"all MCP servers at {url}/mcp that you may use"),
        ("It will act as", session.account.email or session.account.name),
    ]
    warning = (
        '<p class="warn" role="note"><strong>Did you start this yourself, just now?</strong> If a link or somebody else'
        " brought you here, choose Deny: the program would use tools as you.</p>"
    )
    buttons = '<button name="action" value="allow">Allow</button><button name="action" value="deny">Deny</button>'
    return Page(
        "Give this program access?",
        facts(rows) + warning + form(CONSENT, {"csrf": session.csrf, "request": name}, buttons),
    )


def _nothing() -> Page:
    return Page(
        "Nothing waits for an answer",
        "<p>No program asked for access in this browser, or it was too long ago. Begin again in the program.</p>",
        400,
    )
