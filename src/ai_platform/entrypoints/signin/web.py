"""What the sign-in doors share: cookies, forms, pages, redirects, and the headers that keep a browser safe."""

import base64
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from ai_platform.domain.call import Headers
from ai_platform.domain.errors import (
    AuditUnavailable,
    InvalidCall,
    PlatformError,
    RateLimited,
    StoreUnavailable,
    UpstreamError,
)
from ai_platform.entrypoints.http import ClientGoneError, Handler, Receive, Scope, Send, read_body, send_whole
from ai_platform.entrypoints.signin.style import PAGE, STYLE

MAX_FORM = 16 * 1024
FORM_SECONDS = 15.0
MOST_FIELDS = 50

SAFE: tuple[tuple[bytes, bytes], ...] = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
POLICY = b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


class Page(msgspec.Struct, frozen=True):
    """title, body and head are HTML already (see `text`). script: runs on this page and no other, "" = none.

    framed_by: the site that may show it in a frame, "" = nobody.
    """

    title: str
    body: str
    status: int = 200
    headers: Headers = []
    head: str = ""
    script: str = ""
    framed_by: str = ""


class Leave(msgspec.Struct, frozen=True):
    """Go on there (303)."""

    url: str
    headers: Headers = []


class Data(msgspec.Struct, frozen=True):
    """A JSON answer; body None = no body."""

    body: Any
    status: int = 200
    headers: Headers = []


class Download(msgspec.Struct, frozen=True):
    """A document as it is. kind: its media type."""

    content: bytes
    kind: str


Answer = Page | Leave | Data | Download
Answering = Callable[["Visit"], Awaitable[Answer]]


class Visit:
    """One request. query, form: the first value of each field; what is not known is ignored. repeated: fields of the
    query that came more than once. headers: go with the answer, before its own.
    """

    def __init__(self, scope: Scope, body: bytes) -> None:
        self.scope = scope
        pairs = _pairs(scope["query_string"])
        names = [name for name, _ in pairs]
        self.query = dict(reversed(pairs))  # the first of a name counts
        self.repeated = frozenset(name for name in names if names.count(name) > 1)
        self.form = dict(reversed(_pairs(body)))
        self.body = body
        self.headers: Headers = []
        address = scope.get("client")
        self.ip: str = address[0] if address else ""

    def header(self, name: bytes) -> str:
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key == name), "")

    def cookie(self, name: str) -> str | None:
        for field in self.header(b"cookie").split(";"):
            key, found, value = field.strip().partition("=")
            if found and key == name:
                return value
        return None

    @property
    def from_elsewhere(self) -> bool:
        """A browser says that another site had this request sent (W3C, "Fetch Metadata Request Headers")."""
        return self.header(b"sec-fetch-site") in {"cross-site", "same-site"}


def page_handler(answering: Answering, *, most: int = MAX_FORM) -> Handler:
    """For browsers: failures become pages. most: bytes of a form."""

    def failed(error: PlatformError) -> Answer:
        away = isinstance(error, StoreUnavailable | AuditUnavailable)
        busy = isinstance(error, RateLimited)
        return Page(
            "Try again in a minute" if away or busy else "Sign-in is not possible",
            f'<p>{text(str(error))}</p><p><a class="button main" href="/auth/session">Sign in again</a></p>',
            503 if away else 429 if busy else 502 if isinstance(error, UpstreamError) else 403,
            [(b"retry-after", b"5")] if away or busy else [],
        )

    return _handler(answering, failed, most)


def oauth_handler(answering: Answering) -> Handler:
    """For programs: failures become the JSON errors of RFC 6749."""

    def failed(error: PlatformError) -> Answer:
        if isinstance(error, InvalidCall):
            return oauth_error("invalid_request", str(error))
        return oauth_error("temporarily_unavailable", str(error), status=503, headers=[(b"retry-after", b"5")])

    return _handler(answering, failed, MAX_FORM)


def _handler(answering: Answering, failed: Callable[[PlatformError], Answer], most: int) -> Handler:
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        more: Headers = []
        try:
            visit = Visit(scope, await read_body(scope, receive, limit=most, timeout=FORM_SECONDS))
            more = visit.headers
            answer = await answering(visit)
        except ClientGoneError:
            return
        except PlatformError as error:
            answer = failed(error)
        await _send(answer, send, more)

    return handle


async def _send(answer: Answer, send: Send, more: Headers) -> None:
    if isinstance(answer, Page):
        content, own = _html(answer)
        status = answer.status
    elif isinstance(answer, Leave):
        content, own, status = b"", [(b"location", answer.url.encode())], 303
    elif isinstance(answer, Download):
        content, own, status = answer.content, [(b"content-type", answer.kind.encode())], 200
    else:
        content = b"" if answer.body is None else msgspec.json.encode(answer.body)
        own = [(b"content-type", b"application/json")] if content else []
        status = answer.status
    extra = [] if isinstance(answer, Download) else answer.headers
    framed = isinstance(answer, Page) and answer.framed_by
    safe = [field for field in SAFE if not (framed and field[0] == b"x-frame-options")]
    headers = [*own, *safe, (b"content-length", str(len(content)).encode()), *more, *extra]
    await send_whole(send, status, headers, content)


def _html(page: Page) -> tuple[bytes, Headers]:
    policy, body = POLICY, page.body
    if page.script:
        digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest())
        policy += b"; script-src 'sha256-" + digest + b"'"
        body += f"<script>{page.script}</script>"
    if page.framed_by:
        policy = policy.replace(b"frame-ancestors 'none'", b"frame-ancestors " + page.framed_by.encode())
    content = PAGE.format(title=page.title, body=body, head=page.head, style=STYLE).encode()
    return content, [(b"content-type", b"text/html; charset=utf-8"), (b"content-security-policy", policy)]


def onward(url: str, title: str, text_before: str, headers: Headers | None = None) -> Page:
    """A page that leads to another site by itself, and by a link for whom it does not.

    Not a redirect: browsers let a form lead nowhere but where `form-action` says, redirects included.
    """
    head = f'<meta http-equiv="refresh" content="0;url={text(url)}">'
    link = f'<p><a class="button main" href="{text(url)}">Continue</a></p>'
    return Page(title, f"<p>{text(text_before)}</p>{link}", 200, headers or [], head)


def oauth_error(code: str, description: str = "", *, status: int = 400, headers: Headers | None = None) -> Data:
    body = {"error": code} | ({"error_description": description} if description else {})
    return Data(body, status, headers or [])


def set_cookie(name: str, value: str, *, secure: bool, seconds: int) -> tuple[bytes, bytes]:
    """HttpOnly, SameSite=Lax (the way back from the provider is a top-level GET); seconds 0 deletes it."""
    flags = "; Secure" if secure else ""
    return (b"set-cookie", f"{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{flags}".encode())


def text(value: str) -> str:
    return escape(value, quote=True)


def facts(rows: Sequence[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in rows) + "</dl>"


def form(action: str, fields: Mapping[str, str], inner: str) -> str:
    hidden = "".join(
        f'<input type="hidden" name="{text(name)}" value="{text(value)}">' for name, value in fields.items()
    )
    return f'<form method="post" action="{text(action)}">{hidden}{inner}</form>'


def form_get(action: str, fields: Mapping[str, str], inner: str) -> str:
    return form(action, fields, inner).replace('method="post"', 'method="get"', 1)


def _pairs(content: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(content.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        return []
