"""The page where a person connects their accounts at MCP servers, and an administrator the platform's own.

GET POST /auth/connections            what there is; connect, enter a token, disconnect
GET      /auth/connections/callback/NAME   back from a server's authorisation server
GET      /.well-known/ai-platform-mcp-client/NAME   what this platform says of itself as their client
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from ai_platform.domain.errors import InvalidCall, UpstreamError
from ai_platform.entrypoints.http import Handler
from ai_platform.entrypoints.signin.browser import Browser, forged
from ai_platform.entrypoints.signin.record import Recorder
from ai_platform.entrypoints.signin.web import (
    Answer,
    Data,
    Page,
    Visit,
    form,
    oauth_error,
    oauth_handler,
    onward,
    page_handler,
    set_cookie,
    text,
)
from ai_platform.mcp.settings import NAME
from ai_platform.sso.connections.client import CALLBACK, DOCUMENT
from ai_platform.sso.connections.flow import PENDING_SECONDS, Flow, Recorded, Standing, cookie_name
from ai_platform.sso.connections.store import PLATFORM
from ai_platform.sso.people import Account
from ai_platform.sso.sessions import Session

PAGE = "/auth/connections"
BELOW = (CALLBACK, DOCUMENT)
"""Routes that also answer for what is below them."""

MOST_FORM = 32 * 1024


class MyAccounts(NamedTuple):
    """manages: whether somebody may connect the platform's own."""

    flow: Flow
    manages: Callable[[Account], bool]


class ConnectionsPage:
    """manages: whether somebody may connect the platform's own accounts. connected, disconnected, refused: counters."""

    def __init__(
        self, flow: Flow, browser: Browser, record: Recorder, *, manages: Callable[[Account], bool], secure: bool
    ) -> None:
        self._flow = flow
        self._browser = browser
        self._record = record
        self._manages = manages
        self._secure = secure
        self.connected = 0
        self.disconnected = 0
        self.refused = 0

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {
            ("GET", PAGE): page_handler(self.show),
            ("POST", PAGE): page_handler(self.post, most=MOST_FORM),
            ("GET", CALLBACK): page_handler(self.callback),
            ("GET", DOCUMENT): oauth_handler(self.document),
        }

    async def document(self, visit: Visit) -> Answer:
        """The same for every name of the right form: who asks does not learn which servers there are."""
        name = _name_below(DOCUMENT, visit)
        if not NAME.fullmatch(name):
            return oauth_error("invalid_request", f"Clients here are {DOCUMENT}/NAME.", status=404)
        return Data(self._flow.client.document(name))

    async def show(self, visit: Visit) -> Answer:
        session = await self._browser.session(visit)
        if session is None:
            return self._browser.to_login(visit)
        return await self._page(session)

    async def post(self, visit: Visit) -> Answer:
        session = await self._browser.session(visit)
        if session is None:
            return Page(
                "Sign in again", f'<p>Your sign-in has ended.</p><p><a class="button" href="{PAGE}">Go on</a></p>'
            )
        if not self._browser.is_own_form(visit, session):
            return forged()
        account, name, action = session.account, visit.form.get("server", ""), visit.form.get("action", "")
        try:
            if action == "connect":
                return await self._leave(name, account)
            if action == "enter":
                token = visit.form.get("token", "")
                await self._flow.enter(name, account, token, self._noting(visit, session, "token entered"))
                self.connected += 1
            elif action == "disconnect":
                await self._disconnect(visit, session, name)
        except (InvalidCall, UpstreamError) as error:
            self.refused += 1
            return await self._page(session, str(error))
        return await self._page(session)

    async def callback(self, visit: Visit) -> Answer:
        session = await self._browser.session(visit)
        pending = cookie_name(visit.query.get("state", ""))
        spent = set_cookie(pending, "", secure=self._secure, seconds=0)
        if session is None:
            begin = f'<p>Your sign-in here has ended.</p><p><a class="button" href="{PAGE}">Begin again</a></p>'
            return Page("Not connected", begin, 400, [spent])
        try:
            at, noted = _name_below(CALLBACK, visit), self._noting(visit, session, "connected")
            name = await self._flow.arrive(at, visit.query, visit.cookie(pending), session.account, noted)
        except (InvalidCall, UpstreamError) as error:
            self.refused += 1
            await self._note(visit, session, "", "refused")
            again = f'<p>{text(str(error))}</p><p><a class="button" href="{PAGE}">Begin again</a></p>'
            return Page("Not connected", again, 400, [spent])
        self.connected += 1
        back = f'<p>Your account at {text(name)} is connected.</p><p><a class="button" href="{PAGE}">Go on</a></p>'
        return Page("Connected", back, 200, [spent])

    async def _leave(self, name: str, account: Account) -> Answer:
        leaving = await self._flow.leave(name, account, manages=self._manages(account))
        cookie = set_cookie(leaving.cookie_name, leaving.cookie, secure=self._secure, seconds=int(PENDING_SECONDS))
        return onward(
            leaving.url, "On to the server", f"You are led to where {name} asks for your agreement.", [cookie]
        )

    async def _disconnect(self, visit: Visit, session: Session, name: str) -> None:
        account = session.account
        standing = await self._flow.standing(account, manages=self._manages(account))
        found = next((one for one in standing if one.server.name == name and one.row is not None), None)
        if found is not None:
            await self._note(visit, session, name, "disconnected")
            await self._flow.disconnect(name, found.owner)
            self.disconnected += 1

    def _noting(self, visit: Visit, session: Session, result: str) -> Recorded:
        """What is durable before an account is kept: none is used here that the log does not know."""
        return lambda name: self._note(visit, session, name, result)

    async def _note(self, visit: Visit, session: Session, name: str, result: str) -> None:
        account = session.account
        await self._record(
            "server_account",
            visit,
            subject=account.id,
            email=account.email,
            tenant=account.tenant,
            server=name or None,
            result=result,
        )

    async def _page(self, session: Session, problem: str = "") -> Page:
        account = session.account
        standing = await self._flow.standing(account, manages=self._manages(account))
        note = f'<p class="warn" role="alert">{text(problem)}</p>' if problem else ""
        body = "".join(_server(one, session) for one in standing)
        empty = "<p>No MCP server here needs an account of yours.</p>"
        words = "<p>Tools of these servers are called with your own account there. It is kept encrypted.</p>"
        return Page("Accounts at MCP servers", note + (words + body if body else empty), 400 if problem else 200)


def _name_below(path: str, visit: Visit) -> str:
    return str(visit.scope["path"]).removeprefix(path).removeprefix("/")


def _server(one: Standing, session: Session) -> str:
    server, row = one.server, one.row
    whose = " (the platform's own account)" if one.owner == PLATFORM else ""
    head = f"<h2>{text(server.title or server.name)}{whose}</h2><p>{text(_state(row))}</p>"
    fields = {"csrf": session.csrf, "server": server.name}
    if server.oauth is not None:
        word = "Connect" if row is None else "Connect again"
        inner = f'<button name="action" value="connect">{word}</button>'
    else:
        inner = (
            '<p><input type="password" name="token" autocomplete="off" required aria-label="Token"'
            ' style="text-transform:none;letter-spacing:0"></p>'
            '<button name="action" value="enter">Keep this token</button>'
        )
    forms = form(PAGE, fields, inner)
    if row is not None:
        forms += form(PAGE, fields, '<button name="action" value="disconnect">Disconnect</button>')
    return head + forms


def _state(row: Any) -> str:
    if row is None:
        return "Not connected."
    since = f"Connected since {row['connected_at']:%Y-%m-%d}"
    if row["problem"]:
        return f"{since}, but {row['problem']}: connect it again."
    more = ", ".join(row["wanted"])
    return f"{since}, but a tool needs more ({more}): connect it again to agree to that." if more else f"{since}."
