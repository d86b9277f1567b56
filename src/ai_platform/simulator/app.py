"""The ASGI application of the simulated upstream: one table of routes, one way through for every request.

read the body -> journal -> authenticate -> fault -> endpoint -> write the answer. Endpoints decide, only this module
and the player write.
"""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl

from ai_platform.domain.clock import Clock, SystemClock
from ai_platform.simulator import models
from ai_platform.simulator.answers import Answer, Payload, Stream, json_payload
from ai_platform.simulator.asgi import SIMULATED, Headers, Outlet, Receive, Request, Scope, Send, read_body
from ai_platform.simulator.batches import BatchesApi, rfc3339
from ai_platform.simulator.cache import PromptCache
from ai_platform.simulator.control import PREFIX, Control
from ai_platform.simulator.errors import (
    DEFAULT_MESSAGES,
    ApiError,
    ClientGone,
    envelope,
    error_type,
    invalid,
    not_found,
)
from ai_platform.simulator.faults import HEADER, Fault, FaultKind, Faults
from ai_platform.simulator.files import FilesApi
from ai_platform.simulator.journal import Entry, Journal
from ai_platform.simulator.ledger import Ledger, Outcome, key_label
from ai_platform.simulator.messages import MessagesApi
from ai_platform.simulator.pacer import Pacer
from ai_platform.simulator.player import Player
from ai_platform.simulator.settings import SimulatorSettings
from ai_platform.simulator.thinking import Signer

_BANNER = "Simulated Claude upstream of ai-platform: the answers are scripted, no model is behind this address.\n"
_HTML = b"<!doctype html><html><head><title>Bad gateway (simulated)</title></head><body><h1>502</h1></body></html>"
_LIMITS = (("requests", 4_000), ("input-tokens", 2_000_000), ("output-tokens", 400_000), ("tokens", 2_400_000))
_MAX_LABELS = 10_000

Handler = Callable[[Request, Mapping[str, str]], Answer]


class Simulator:
    """All state of one simulated upstream; an ASGI 3 application (http only)."""

    def __init__(self, settings: SimulatorSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self.faults = Faults()
        self.ledger = Ledger(settings.ledger_size)
        self.cache = PromptCache(settings.cache_entries)
        folder = Path(settings.record_dir) if settings.record_dir else None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        kept = settings.journal_bytes if settings.keep_bodies else 0
        self.journal = Journal(settings.journal_size, body_bytes=kept, folder=folder)
        self._messages = MessagesApi(
            settings, cache=self.cache, ledger=self.ledger, signer=Signer(settings.signing_key), clock=clock
        )
        self._batches = BatchesApi(self._messages, seconds=settings.batch_seconds, clock=clock)
        self._files = FilesApi(max_bytes=settings.max_files_bytes, clock=clock)
        self._control = Control(
            faults=self.faults,
            journal=self.journal,
            ledger=self.ledger,
            cache=self.cache,
            batches=self._batches,
            files=self._files,
        )
        self._player = Player(Pacer())
        self._labels: dict[str, str] = {}
        self._headers: Headers = []
        self._headers_until = 0.0
        self._routes = self._table()

    def _table(self) -> dict[tuple[str, str], Handler]:
        """(method, pattern) -> handler; `*` stands for one path segment, which the handler takes from the request."""
        messages, batches, files = self._messages, self._batches, self._files
        return {
            ("POST", "/v1/messages"): lambda request, _: messages.create(request, _version(request)),
            ("POST", "/v1/messages/count_tokens"): lambda request, _: messages.count(request, _version(request)),
            ("POST", "/v1/messages/batches"): lambda request, _: batches.create(request, _version(request)),
            ("GET", "/v1/messages/batches"): batches.listing,
            ("GET", "/v1/messages/batches/*"): lambda request, _: batches.one(request, _segment(request, 4)),
            ("DELETE", "/v1/messages/batches/*"): lambda request, _: batches.delete(request, _segment(request, 4)),
            ("POST", "/v1/messages/batches/*/cancel"): lambda request, _: batches.cancel(request, _segment(request, 4)),
            ("GET", "/v1/messages/batches/*/results"): lambda request, _: batches.results(
                request, _segment(request, 4)
            ),
            ("GET", "/v1/models"): lambda _, query: models.listing(query),
            ("GET", "/v1/models/*"): lambda request, _: models.one(_segment(request, 3)),
            ("POST", "/v1/files"): lambda request, _: files.upload(request),
            ("GET", "/v1/files"): files.listing,
            ("GET", "/v1/files/*"): lambda request, _: files.one(request, _segment(request, 3)),
            ("DELETE", "/v1/files/*"): lambda request, _: files.delete(request, _segment(request, 3)),
            ("GET", "/v1/files/*/content"): lambda request, _: files.content(request, _segment(request, 3)),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the simulated upstream speaks http only, not {scope['type']}")
        outlet = Outlet(scope, receive, send)
        request = Request(
            id=f"req_011C{secrets.token_hex(10)}",
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            headers=scope["headers"],
            client_ip=(scope.get("client") or ("", 0))[0],
            received_at=self._clock.now(),
        )
        try:
            await self._serve(request, receive, outlet)
        except ClientGone:
            return
        finally:
            outlet.release()

    async def _serve(self, request: Request, receive: Receive, outlet: Outlet) -> None:
        entry: Entry | None = None
        try:
            request.body = await read_body(receive, request.header(b"content-length"), self._limit(request.path))
            if not request.path.startswith(PREFIX):
                entry = self.journal.record(request)
            answer, fault = await self._answer(request, outlet)
        except ApiError as error:
            if entry is not None:
                entry.facts["status"] = error.status
            await self._refuse(outlet, request, error)
            return
        if answer is None:
            return
        if entry is not None:
            entry.facts.update(answer.facts, status=answer.status if isinstance(answer, Payload) else 200)
        if isinstance(answer, Stream):
            await self._stream(outlet, request, answer, fault, entry)
        else:
            await self._send(outlet, request, answer, fault)

    async def _answer(self, request: Request, outlet: Outlet) -> tuple[Answer | None, Fault | None]:
        """The endpoint's answer and the fault that is to spoil it; no answer when the fault has ended everything."""
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        if request.path.startswith(PREFIX):
            return self._control.handle(request, query), None
        if request.path in ("/", "/api/hello"):
            return _greeting(request), None
        handler = self._route(request)
        request.key = self._authenticate(request)
        fault = self.faults.take(
            method=request.method,
            path=request.path,
            key=request.key,
            body=request.body,
            header=request.header(HEADER),
        )
        if fault is not None and await self._strikes_first(fault, outlet):
            return None, None
        if fault is not None and fault.kind is FaultKind.HTML:
            return Payload(body=_HTML, status=fault.status, content_type=b"text/html; charset=utf-8"), None
        return handler(request, query), fault

    async def _strikes_first(self, fault: Fault, outlet: Outlet) -> bool:
        """Faults before the first byte of an answer. True: the connection is over.

        Raises:
            ApiError: kind status.

        """
        if fault.kind is FaultKind.STATUS:
            raise _fault_error(fault)
        if fault.kind is FaultKind.SLOW_HEADERS:
            await outlet.pause(fault.delay_ms / 1000)
        if fault.after_events == 0 and fault.kind in (FaultKind.STALL, FaultKind.CUT, FaultKind.RESET):
            if fault.kind is FaultKind.STALL:
                await outlet.wait_gone()
            else:
                await outlet.hang_up(reset=fault.kind is FaultKind.RESET)
            return True
        return False

    def _route(self, request: Request) -> Handler:
        handler = self._routes.get((request.method, request.path))
        if handler is not None:
            return handler
        parts = request.path.split("/")
        depth = 4 if request.path.startswith("/v1/messages/") else 3
        pattern = "/".join("*" if place == depth and part else part for place, part in enumerate(parts))
        handler = self._routes.get((request.method, pattern))
        if handler is not None:
            return handler
        if any(path in (request.path, pattern) for _, path in self._routes):
            raise ApiError(405, "Method Not Allowed")
        raise not_found("Not Found")

    def _authenticate(self, request: Request) -> str:
        """The label of the key; x-api-key goes before Authorization, as in the real service.

        Raises:
            ApiError: 401.

        """
        key = (request.header(b"x-api-key") or b"").decode("latin-1").strip()
        name = "x-api-key"
        if not key:
            scheme, _, token = (request.header(b"authorization") or b"").decode("latin-1").partition(" ")
            if scheme.lower() == "bearer":
                key, name = token.strip(), "bearer token"
        if not key:
            raise ApiError(401, "x-api-key header is required")
        if self._settings.require_keys and key not in self._settings.require_keys:
            raise ApiError(401, f"invalid {name}")
        label = self._labels.get(key)
        if label is None:
            if len(self._labels) >= _MAX_LABELS:
                self._labels.clear()
            label = self._labels[key] = key_label(key)
        return label

    def _limit(self, path: str) -> int:
        if path == "/v1/messages/batches":
            return self._settings.max_batch_bytes
        return self._settings.max_file_bytes if path == "/v1/files" else self._settings.max_body_bytes

    def _base_headers(self) -> Headers:
        """Headers of every answer but request-id; rate limits are shown as never used."""
        now = self._clock.now()
        if now >= self._headers_until:
            self._headers_until = now + 1
            reset = rfc3339(now + 60).encode()
            self._headers = [SIMULATED, (b"anthropic-organization-id", self._settings.organization_id.encode())]
            for name, limit in _LIMITS:
                value = str(limit).encode()
                for part, shown in (("limit", value), ("remaining", value), ("reset", reset)):
                    self._headers.append((f"anthropic-ratelimit-{name}-{part}".encode(), shown))
        return self._headers

    async def _refuse(self, outlet: Outlet, request: Request, error: ApiError) -> None:
        body = envelope(error.kind, error.message, request.id)
        await self._send(outlet, request, Payload(status=error.status, body=body, headers=error.headers), None)

    async def _send(self, outlet: Outlet, request: Request, answer: Payload, fault: Fault | None) -> None:
        if answer.wait > 0:
            await outlet.pause(answer.wait)
        body = answer.body
        status = answer.status
        if fault is not None and fault.kind is FaultKind.SSE_ERROR:
            await self._refuse(outlet, request, _fault_error(fault))
            return
        if fault is not None and fault.kind is FaultKind.MALFORMED:
            body = body[: len(body) // 2]
        headers = [
            *self._base_headers(),
            *answer.headers,
            (b"request-id", request.id.encode()),
            (b"content-type", answer.content_type),
            (b"content-length", str(len(body)).encode()),
        ]
        if answer.settlement is not None:
            answer.settlement.begin()
        await outlet.start(status, headers)
        outcome = Outcome.COMPLETE
        if fault is not None and fault.kind in (FaultKind.STALL, FaultKind.CUT, FaultKind.RESET):
            await outlet.write(body[: len(body) // 2])
            if fault.kind is FaultKind.STALL:
                await outlet.wait_gone()
            else:
                await outlet.hang_up(reset=fault.kind is FaultKind.RESET)
            outcome = Outcome.CUT_BY_FAULT
        else:
            await outlet.finish(body)
        if answer.settlement is not None:
            answer.settlement.end(None, outcome)

    async def _stream(
        self, outlet: Outlet, request: Request, answer: Stream, fault: Fault | None, entry: Entry | None
    ) -> None:
        outlet.watch()
        if answer.wait > 0:
            await outlet.pause(answer.wait)
        headers = [
            *self._base_headers(),
            (b"request-id", request.id.encode()),
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-cache"),
        ]
        spoiling = fault if fault is not None and fault.kind is not FaultKind.SLOW_HEADERS else None
        await outlet.start(200, headers)
        answer.settlement.begin()
        events, outcome = await self._player.play(outlet, answer.frames, answer.tempo, spoiling)
        answer.settlement.end(events, outcome)
        if entry is not None:
            entry.facts.update(events=events, outcome=outcome.value)


def _fault_error(fault: Fault) -> ApiError:
    headers: Headers = []
    if fault.retry_after is not None:
        headers.append((b"retry-after", f"{fault.retry_after:g}".encode()))
    if fault.should_retry is not None:
        headers.append((b"x-should-retry", b"true" if fault.should_retry else b"false"))
    message = fault.message or DEFAULT_MESSAGES.get(fault.status, "Simulated failure")
    return ApiError(fault.status, message, kind=fault.error_type or error_type(fault.status), headers=headers)


def _greeting(request: Request) -> Answer:
    if request.path == "/api/hello":
        return json_payload({"message": "hello"})
    return Payload(body=_BANNER.encode(), content_type=b"text/plain; charset=utf-8")


def _segment(request: Request, place: int) -> str:
    return request.path.split("/")[place]


def _version(request: Request) -> str:
    version = request.header(b"anthropic-version")
    if not version:
        raise invalid("anthropic-version: header is required")
    return version.decode("latin-1")


def create_app(settings: SimulatorSettings | None = None, *, clock: Clock | None = None) -> Simulator:
    """The ASGI application. settings None = defaults; clock: time for caches, batches and records."""
    return Simulator(settings or SimulatorSettings(), clock or SystemClock())
