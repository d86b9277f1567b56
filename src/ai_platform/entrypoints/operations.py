"""What operators and probes ask: /healthz (the process lives), /readyz (it can serve), /metrics, and the front page.

None needs a credential; none shows personal data, keys or content. The metrics carry bounded labels only.
"""

import re
from collections.abc import Callable, Mapping
from html import escape

import msgspec

from ai_platform import __version__
from ai_platform.entrypoints.http import Handler, Receive, Scope, Send, origin_of, send_whole
from ai_platform.telemetry import Meter

Check = Callable[[], str | None]
"""None when all is well, else a sentence that says what is wrong."""

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>ai-platform</title>
<meta name="viewport" content="width=device-width"><style>
:root{{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}}
body{{max-width:46rem;margin:3rem auto;padding:0 1rem}}
code,pre{{font-size:.9rem}}pre{{padding:1rem;border:1px solid #8886;border-radius:.5rem;overflow-x:auto}}
.warn{{border:2px solid #c60;border-radius:.5rem;padding:.6rem 1rem}}dt{{font-weight:600}}dd{{margin:0 0 .5rem}}</style>
<h1>ai-platform {version}</h1><p>A governed gateway for Claude and Claude Code.</p>{notice}
<h2>Point Claude Code at it</h2><pre>export ANTHROPIC_BASE_URL={url}
export ANTHROPIC_AUTH_TOKEN=&lt;your platform key&gt;</pre>
<p>No key yet? Whoever runs this gateway creates one with <code>ai-platform keys create NAME</code>.</p>
<h2>State</h2><dl>{checks}</dl><p><a href="/readyz">/readyz</a> · <a href="/metrics">/metrics</a></p></html>"""

_NUMBER = re.compile(r"https?://(?:localhost|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")

SIMULATED = (
    '<p class="warn" role="note"><strong>Simulated upstream.</strong> No model answers here: every answer is made up by'
    " the built-in simulator. Name a real upstream (ANTHROPIC_API_KEY or a configuration file) to change that.</p>"
)


class Operations:
    """checks: what readiness depends on, by name. simulated: answers are made up, and the front page says so.

    url: where clients reach this gateway. is_public: it was set, so it is right for everybody.
    """

    def __init__(
        self, meter: Meter, checks: Mapping[str, Check], *, simulated: bool, url: str, is_public: bool
    ) -> None:
        self._url = url
        self._is_public = is_public
        self._meter = meter
        self._checks = dict(checks)
        self._simulated = simulated

    def handlers(self) -> dict[tuple[str, str], Handler]:
        pages: dict[str, Handler] = {
            "/healthz": self.healthz,
            "/readyz": self.readyz,
            "/metrics": self.metrics,
            "/api/hello": self.hello,
        }
        return {
            **{(method, path): page for path, page in pages.items() for method in ("GET", "HEAD")},
            ("GET", "/"): self.front_page,
            ("HEAD", "/"): self.hello,
        }

    async def healthz(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        await _send_json(send, 200, {"status": "ok", "version": __version__})

    async def readyz(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        results = self._results()
        ready = not any(results.values())
        body = {
            "status": "ready" if ready else "not ready",
            "simulated": self._simulated,
            "checks": {name: problem or "ok" for name, problem in results.items()},
        }
        await _send_json(send, 200 if ready else 503, body)

    async def metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        content, kind = self._meter.exposition()
        headers = [(b"content-type", kind.encode()), (b"content-length", str(len(content)).encode())]
        await send_whole(send, 200, headers, content)

    async def hello(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Claude Code warms its connection up with this."""
        del scope, receive
        await send_whole(send, 200, [(b"content-length", b"0")], b"")

    async def front_page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Says how to use this gateway, at an address that whoever made a link here did not choose."""
        del receive
        rows = "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(problem or 'ok')}</dd>" for name, problem in self._results().items()
        )
        page = _PAGE.format(
            version=__version__,
            notice=SIMULATED if self._simulated else "",
            url=escape(self._shown(scope)),
            checks=rows,
        ).encode()
        headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-length", str(len(page)).encode()),
            (
                b"content-security-policy",
                b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'",
            ),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]
        await send_whole(send, 200, headers, page)

    def _shown(self, scope: Scope) -> str:
        """A name in the Host field may lead elsewhere tomorrow, and keys would follow; a number stays what it is."""
        origin = origin_of(scope)
        return origin if not self._is_public and _NUMBER.fullmatch(origin) else self._url

    def _results(self) -> dict[str, str | None]:
        return {name: check() for name, check in self._checks.items()}


async def _send_json(send: Send, status: int, value: object) -> None:
    body = msgspec.json.encode(value)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send_whole(send, status, headers, body)
