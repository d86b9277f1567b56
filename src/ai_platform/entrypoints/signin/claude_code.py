"""What signed-in Claude Code asks for beside the Messages API: settings, spending, a place for its telemetry.

GET /managed/settings   GET /api/oauth/usage   POST /v1/metrics /v1/logs /v1/traces

Any credential of the platform will do. Telemetry is counted and dropped: this version keeps none of it.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

import msgspec

from ai_platform.budget import Budget, Ledger
from ai_platform.budget.settings import Period
from ai_platform.budget.spending import By, Filters
from ai_platform.budget.windows import window_of
from ai_platform.domain.call import Headers
from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import PlatformError
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.principal import Principal
from ai_platform.entrypoints.errors import answer_to, envelope
from ai_platform.entrypoints.fields import Fields, check_fields, check_target, client_of, credentials_of
from ai_platform.entrypoints.http import ClientGoneError, Handler, Receive, Scope, Send, read_body, send_whole
from ai_platform.gateway.allowance import usage_report
from ai_platform.identity import Authenticator
from ai_platform.policy import PolicyStore
from ai_platform.sso.managed import Managed

MAX_TELEMETRY = 8 * 1024 * 1024
BODY_SECONDS = 30.0
SIGNALS = ("metrics", "logs", "traces")

Reply = tuple[int, Headers, bytes]


class ClaudeCode:
    """received: telemetry documents by signal."""

    def __init__(
        self,
        identity: Authenticator,
        managed: Managed,
        *,
        budget: Budget,
        ledger: Ledger,
        policies: PolicyStore,
        clock: Clock,
    ) -> None:
        self._identity = identity
        self._managed = managed
        self._budget = budget
        self._ledger = ledger
        self._policies = policies
        self._clock = clock
        self.received: dict[str, int] = dict.fromkeys(SIGNALS, 0)

    def handlers(self) -> dict[tuple[str, str], Handler]:
        handlers: dict[tuple[str, str], Handler] = {
            ("GET", "/managed/settings"): partial(self._serve, self._settings),
            ("GET", "/api/oauth/usage"): partial(self._serve, self._usage),
        }
        for signal in SIGNALS:
            handlers["POST", f"/v1/{signal}"] = partial(self._serve, partial(self._telemetry, signal))
        return handlers

    async def _serve(
        self, reply: Callable[[Principal, Scope], Awaitable[Reply]], scope: Scope, receive: Receive, send: Send
    ) -> None:
        request_id = new_id("req", self._clock.now())
        try:
            fields = Fields(scope["headers"])
            check_fields(fields)
            check_target(scope, credentials_of(fields))
            caller = await self._identity.authenticate(credentials_of(fields), client_of(scope, fields))
            await read_body(scope, receive, limit=MAX_TELEMETRY, timeout=BODY_SECONDS)
            status, headers, body = await reply(caller, scope)
        except ClientGoneError:
            return
        except PlatformError as error:
            status, headers, body = answer_to(error, request_id)
        else:
            if status != 304:
                headers = [*headers, (b"content-length", str(len(body)).encode())]
        await send_whole(send, status, headers, body)

    async def _settings(self, caller: Principal, scope: Scope) -> Reply:
        document = await self._managed.of(caller)
        if document is None:
            body = envelope("not_found_error", "No managed settings are meant for you.", "")
            return 404, [(b"content-type", b"application/json")], body
        tag = f'"{document.checksum}"'
        headers: Headers = [(b"etag", tag.encode()), (b"cache-control", b"private, no-cache")]
        if _matches(scope, tag):
            return 304, headers, b""
        return 200, [(b"content-type", b"application/json"), *headers], document.body

    async def _usage(self, caller: Principal, scope: Scope) -> Reply:
        """In dollars; what the `anthropic-ratelimit-unified-*` headers say in parts of a limit."""
        del scope
        rows = self._budget.standing(caller, self._policies.current.limits_of(caller))
        now = self._clock.now()
        starts = {period.value: window_of(period, now).start for period in Period}
        days = await self._ledger.usage(
            By.DAY,
            tenant=caller.tenant,
            since=min(starts.values()),
            until=now + 1,
            filters=Filters(person=caller.id),
            limit=40,
        )
        spent = {
            name: sum(day.micros for day in days if (day.group or "") >= _date(start)) for name, start in starts.items()
        }
        body = msgspec.json.encode(usage_report(rows, spent))
        return 200, [(b"content-type", b"application/json"), (b"cache-control", b"no-store")], body

    async def _telemetry(self, signal: str, caller: Principal, scope: Scope) -> Reply:
        """An empty success in the sender's own encoding (OTLP specification, "Full success")."""
        del caller
        self.received[signal] += 1
        kind = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
        if kind.startswith(b"application/json"):
            return 200, [(b"content-type", b"application/json")], b"{}"
        return 200, [(b"content-type", b"application/x-protobuf")], b""


def _matches(scope: Scope, tag: str) -> bool:
    """RFC 9110 section 13.1.2, but `*` is answered as if it were not there: that is how Claude Desktop asks."""
    sent = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"if-none-match"), "")
    return tag in {one.strip().removeprefix("W/") for one in sent.split(",")}


def _date(seconds: int) -> str:
    """As the ledger names days."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
