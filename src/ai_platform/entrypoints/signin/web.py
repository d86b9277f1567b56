"""What the sign-in doors share: cookies, forms, pages, redirects, and the headers that keep a browser safe."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from html import escape
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from ai_platform.domain.call import Headers
from ai_platform.domain.errors import AuditUnavailable, InvalidCall, PlatformError, StoreUnavailable, UpstreamError
from ai_platform.entrypoints.http import ClientGoneError, Handler, Receive, Scope, Send, read_body, send_whole

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

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><style>
:root{{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}}
body{{max-width:34rem;margin:3rem auto;padding:0 1rem}}
button,.button,input{{font:inherit;padding:.5rem 1rem;border-radius:.4rem;border:1px solid #888}}
button,.button{{margin:.2rem .4rem .2rem 0}}
.button{{display:inline-block;text-decoration:none}}input{{letter-spacing:.15em;text-transform:uppercase;width:11rem}}
.warn{{border:2px solid #c60;border-radius:.5rem;padding:.6rem 1rem}}dt{{font-weight:600}}dd{{margin:0 0 .5rem}}
code{{font-size:1.2em;letter-spacing:.1em}}</style></head><body><h1>{title}</h1>{body}</body></html>"""


class Page(msgspec.Struct, frozen=True):
    """title and body are HTML already (see `text`)."""

    title: str
    body: str
    status: int = 200
    headers: Headers = []


class Leave(msgspec.Struct, frozen=True):
    """Go on there (303)."""

    url: str
    headers: Headers = []


class Data(msgspec.Struct, frozen=True):
    """A JSON answer; body None = no body."""

    body: Any
    status: int = 200
    headers: Headers = []


Answer = Page | Leave | Data
Answering = Callable[["Visit"], Awaitable[Answer]]


class Visit:
    """One request. query, form: the first value of each field; what is not known is ignored."""

    def __init__(self, scope: Scope, body: bytes) -> None:
        self.scope = scope
        self.query = _fields(scope["query_string"])
        self.form = _fields(body)
        self.body = body
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


def page_handler(answering: Answering) -> Handler:
    """For browsers: failures become pages."""

    def failed(error: PlatformError) -> Answer:
        away = isinstance(error, StoreUnavailable | AuditUnavailable)
        return Page(
            "Sign-in is not possible" if not away else "Try again in a minute",
            f'<p>{text(str(error))}</p><p><a class="button" href="/auth/session">Sign in again</a></p>',
            503 if away else 502 if isinstance(error, UpstreamError) else 403,
        )

    return _handler(answering, failed)


def oauth_handler(answering: Answering) -> Handler:
    """For programs: failures become the JSON errors of RFC 6749."""

    def failed(error: PlatformError) -> Answer:
        if isinstance(error, InvalidCall):
            return oauth_error("invalid_request", str(error))
        return oauth_error("temporarily_unavailable", str(error), status=503, headers=[(b"retry-after", b"5")])

    return _handler(answering, failed)


def _handler(answering: Answering, failed: Callable[[PlatformError], Answer]) -> Handler:
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(scope, receive, limit=MAX_FORM, timeout=FORM_SECONDS)
            answer = await answering(Visit(scope, body))
        except ClientGoneError:
            return
        except PlatformError as error:
            answer = failed(error)
        await _send(answer, send)

    return handle


async def _send(answer: Answer, send: Send) -> None:
    if isinstance(answer, Page):
        content = _PAGE.format(title=answer.title, body=answer.body).encode()
        own = [(b"content-type", b"text/html; charset=utf-8"), (b"content-security-policy", POLICY)]
        status = answer.status
    elif isinstance(answer, Leave):
        content, own, status = b"", [(b"location", answer.url.encode())], 303
    else:
        content = b"" if answer.body is None else msgspec.json.encode(answer.body)
        own = [(b"content-type", b"application/json")] if content else []
        status = answer.status
    headers = [*own, *SAFE, (b"content-length", str(len(content)).encode()), *answer.headers]
    await send_whole(send, status, headers, content)


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


def _fields(content: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(content.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        return {}
    return dict(reversed(pairs))  # the first of a name counts
