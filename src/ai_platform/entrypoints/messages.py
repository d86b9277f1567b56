"""The first door: the Messages API on the wire -> domain.Call, and the watched answer back.

It reads the few fields that are acted on and keeps everything else as the bytes that came (platform.claude.com,
"Messages", "Token counting", "Message Batches", "Models", "Files"). Below: fields, body, load.
"""

import re
from typing import Any

from ai_platform.domain.call import Answer, Call, Door, Headers, Operation
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import OverBudget, PlatformError, Refused
from ai_platform.domain.identifiers import new_id
from ai_platform.entrypoints.body import JSON_OPERATIONS, read_head_in_turns
from ai_platform.entrypoints.errors import answer_to, shape_of
from ai_platform.entrypoints.fields import (
    Fields,
    as_json,
    check_coding,
    check_fields,
    check_target,
    client_of,
    credentials_of,
    is_token,
)
from ai_platform.entrypoints.http import (
    ClientGoneError,
    DefectsTold,
    Receive,
    Scope,
    Send,
    WhileConnected,
    is_small,
    origin_of,
    read_body,
    send_chunks,
    send_whole,
)
from ai_platform.entrypoints.load import Load, Slot
from ai_platform.entrypoints.settings import ServerSettings
from ai_platform.gateway import Gateway
from ai_platform.gateway.allowance import refused_headers
from ai_platform.gateway.events import error_event

_LINKS_BACK = frozenset({Operation.BATCHES_CREATE, Operation.BATCHES})
_BATCHES = b"/v1/messages/batches/"
_RESULTS_URL = re.compile(rb'("results_url"\s*:\s*)"((?:[^"\\]|\\.)*)"')
_NOT_FROM_UPSTREAM = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"transfer-encoding",
        b"upgrade",
        b"trailer",
        b"content-length",
        b"x-ai-platform-call-id",
    }
)


class MessagesDoor:
    """`serve` answers one request. load: what is under way; its counters are what telemetry reads."""

    def __init__(self, gateway: Gateway, clock: Clock, settings: ServerSettings) -> None:
        self.load = Load(settings)
        self._gateway = gateway
        self._clock = clock
        self._max_body_bytes = settings.max_body_bytes
        self._body_timeout = settings.body_timeout
        self._origin = settings.public_url.rstrip("/").encode()

    async def serve(self, operation: Operation, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a client that leaves is not answered."""
        now = self._clock.now()
        call_id = new_id("call", now)
        try:
            with DefectsTold(call_id), self.load.enter() as slot:
                call = await self._call(operation, scope, receive, slot, call_id=call_id, now=now)
                await self._answer(call, scope, send)
        except ClientGoneError:
            return
        except PlatformError as error:
            status, headers, body = answer_to(error, call_id)
            if isinstance(error, OverBudget) and is_token(credentials_of(Fields(scope["headers"]))):
                headers += refused_headers(error)
            await send_whole(send, status, headers, body)

    async def _call(
        self, operation: Operation, scope: Scope, receive: Receive, slot: Slot, *, call_id: str, now: float
    ) -> Call:
        """The request as a call, which is recorded also when it cannot be taken.

        Raises:
            PlatformError: it is turned away. ClientGoneError: the client left before the end.
        """
        headers: Headers = scope["headers"]
        facts: dict[str, Any] = {
            "id": call_id,
            "door": Door.MESSAGES,
            "operation": operation,
            "method": scope["method"],
            "path": scope["raw_path"].decode("latin-1"),
            "query": scope["query_string"],
            "headers": headers,
            "received_at": now,
        }
        try:
            fields = Fields(headers)
            facts["credentials"] = credentials = credentials_of(fields)
            facts["client"] = client = client_of(scope, fields)
            check_fields(fields)
            check_target(scope, credentials)
            check_coding(fields)
            if not (is_small(scope) or await self._gateway.knows(credentials, client)):
                raise Refused(Refusal.OVERLOADED, "Your key could not be checked in time. Try again.")
            body = await read_body(
                scope, receive, limit=self._max_body_bytes, timeout=self._body_timeout, hold=slot.hold
            )
            head = await read_head_in_turns(operation, body)
            if operation in JSON_OPERATIONS:
                facts["headers"] = as_json(headers, fields)
        except Refused as error:
            await self._gateway.turn_away(Call(**facts), error)
        return Call(body=body, head=head, **facts)

    async def _answer(self, call: Call, scope: Scope, send: Send) -> None:
        started = False
        try:
            async with WhileConnected(scope), self._gateway.handle(call) as answer:
                body = aiter(answer.body)
                first = await anext(body, b"")  # a refusal before the first byte still gets its own status
                started = True
                if call.operation in _LINKS_BACK:
                    first = with_own_links(first, self._origin or origin_of(scope).encode("latin-1"))
                await send(
                    {
                        "type": "http.response.start",
                        "status": answer.status,
                        "headers": answer_headers(answer, call, first),
                    }
                )
                if answer.facts.get("whole"):
                    await anext(body, b"")  # runs the body to its end; a whole answer has no second chunk
                    await send({"type": "http.response.body", "body": first})
                    return
                if first:
                    await send({"type": "http.response.body", "body": first, "more_body": True})
                await send_chunks(send, body)
        except Refused as error:
            if not started:
                raise
            event = error_event(shape_of(error).type, str(error)) if call.head.stream else b""
            await send({"type": "http.response.body", "body": event})
        except PlatformError:
            if not started:
                raise
            # An answer that broke off must look broken off, never complete: the server closes the connection.


def with_own_links(body: bytes, origin: bytes) -> bytes:
    """A batch names the absolute address of its results; through here it must be this gateway's, or clients would
    carry their platform key to the upstream. An address that is not understood is left out (fails closed).
    """

    def own(match: re.Match[bytes]) -> bytes:
        _, found, rest = match[2].replace(b"\\/", b"/").partition(_BATCHES)
        return match[1] + (b'"' + origin + found + rest + b'"' if found else b"null")

    return _RESULTS_URL.sub(own, body)


def answer_headers(answer: Answer, call: Call, first: bytes) -> Headers:
    """The upstream's headers as they came, less those of its connection, and the call's id."""
    headers = [(name, value) for name, value in answer.headers if name not in _NOT_FROM_UPSTREAM]
    length = str(len(first)).encode() if answer.facts.get("whole") else answer.header(b"content-length")
    if answer.facts.get("resized"):
        length = None
    if length is not None:
        headers.append((b"content-length", length))
    headers.append((b"x-ai-platform-call-id", call.id.encode()))
    return headers
