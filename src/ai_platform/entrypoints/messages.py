"""The first door: the Messages API on the wire -> domain.Call, and the watched answer back.

It reads the few fields that are acted on and keeps everything else as the bytes that came (platform.claude.com,
"Messages", "Token counting", "Message Batches", "Models", "Files").
"""

import re
from typing import Any

import msgspec

from ai_platform.domain.call import Answer, Call, Client, Door, Head, Headers, Operation
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall, OverBudget, PlatformError, Refused
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.principal import Credentials
from ai_platform.entrypoints.errors import answer_to, shape_of
from ai_platform.entrypoints.http import (
    ClientGoneError,
    Receive,
    Scope,
    Send,
    WhileConnected,
    read_body,
    send_chunks,
    send_whole,
)
from ai_platform.entrypoints.settings import ServerSettings
from ai_platform.gateway import Gateway
from ai_platform.gateway.allowance import refused_headers
from ai_platform.gateway.events import error_event
from ai_platform.identity.authenticator import TOKEN

KEY_PREFIX = "aip_"

_JSON_OPERATIONS = frozenset({Operation.MESSAGES_CREATE, Operation.COUNT_TOKENS, Operation.BATCHES_CREATE})
_LINKS_BACK = frozenset({Operation.BATCHES_CREATE, Operation.BATCHES})
_RESULTS_URL = re.compile(rb'("results_url"\s*:\s*")https?://[^/"]+(/v1/messages/batches/)')
_HOST = re.compile(rb"[A-Za-z0-9.\-_]+(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")
_NOT_FROM_UPSTREAM = frozenset(
    {b"connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"trailer", b"content-length"}
)


class _Fields(msgspec.Struct):
    """The body's fields that are acted on, of whatever type the client sent."""

    model: Any = None
    stream: Any = False
    max_tokens: Any = None
    speed: Any = None
    inference_geo: Any = None


class _BatchItem(msgspec.Struct):
    params: _Fields = msgspec.field(default_factory=_Fields)


class _Batch(msgspec.Struct):
    requests: list[_BatchItem] = []


_fields = msgspec.json.Decoder(_Fields)
_batch = msgspec.json.Decoder(_Batch)


class MessagesDoor:
    """ASGI handlers for one operation each: `door.serving(Operation.MESSAGES_CREATE)`."""

    def __init__(self, gateway: Gateway, clock: Clock, settings: ServerSettings) -> None:
        self._gateway = gateway
        self._clock = clock
        self._max_body_bytes = settings.max_body_bytes
        self._body_timeout = settings.body_timeout

    async def serve(self, operation: Operation, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a client that leaves is not answered."""
        now = self._clock.now()
        call_id = new_id("call", now)
        try:
            body = await read_body(scope, receive, limit=self._max_body_bytes, timeout=self._body_timeout)
            call = Call(
                id=call_id,
                door=Door.MESSAGES,
                operation=operation,
                method=scope["method"],
                path=scope["raw_path"].decode("latin-1"),
                query=scope["query_string"],
                headers=scope["headers"],
                body=body,
                head=read_head(operation, body),
                credentials=credentials_of(scope["headers"]),
                client=client_of(scope),
                received_at=now,
            )
            await self._answer(call, scope, send)
        except ClientGoneError:
            return
        except PlatformError as error:
            status, headers, body = answer_to(error, call_id)
            if isinstance(error, OverBudget) and is_token(credentials_of(scope["headers"])):
                headers += refused_headers(error)
            await send_whole(send, status, headers, body)

    async def _answer(self, call: Call, scope: Scope, send: Send) -> None:
        started = False
        try:
            async with WhileConnected(scope), self._gateway.handle(call) as answer:
                body = aiter(answer.body)
                first = await anext(body, b"")  # a refusal before the first byte still gets its own status
                started = True
                if call.operation in _LINKS_BACK:
                    first = with_own_links(first, scope)
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


def with_own_links(body: bytes, scope: Scope) -> bytes:
    """A batch names the absolute address of its results; through here it must be this gateway's, or clients would
    carry their platform key to the upstream.
    """
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    if not _HOST.fullmatch(host):
        return body
    origin = scope["scheme"].encode() + b"://" + host
    return _RESULTS_URL.sub(lambda match: match[1] + origin + match[2], body)


def read_head(operation: Operation, body: bytes) -> Head:
    """The fields the platform acts on.

    Raises:
        InvalidCall: the body is not the JSON object this operation needs.
    """
    if operation not in _JSON_OPERATIONS:
        return Head()
    try:
        fields = _fields.decode(body)
        if operation is Operation.BATCHES_CREATE:
            return _batch_head(_batch.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidCall(
            Refusal.INVALID_REQUEST, f"The request body is not a JSON object this API understands: {error}."
        ) from error
    return Head(
        model=fields.model if isinstance(fields.model, str) else None,
        stream=fields.stream is True,
        max_tokens=fields.max_tokens if type(fields.max_tokens) is int else None,
        speed=fields.speed if isinstance(fields.speed, str) else None,
        inference_geo=fields.inference_geo if isinstance(fields.inference_geo, str) else None,
    )


def _batch_head(batch: _Batch) -> Head:
    models = sorted({item.params.model for item in batch.requests if isinstance(item.params.model, str)})
    tokens = sum(item.params.max_tokens for item in batch.requests if type(item.params.max_tokens) is int)
    return Head(model=models[0] if models else None, models=tuple(models), max_tokens=tokens)


def credentials_of(headers: Headers) -> Credentials:
    """The platform key among the two places clients put one; Claude Code may fill both with different values."""
    bearer = api_key = None
    for name, value in headers:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            bearer = value[7:].strip().decode("latin-1")
        elif name == b"x-api-key":
            api_key = value.strip().decode("latin-1")
    if api_key and (not bearer or (api_key.startswith(KEY_PREFIX) and not bearer.startswith(KEY_PREFIX))):
        return Credentials(api_key, "x-api-key")
    return Credentials(bearer or None, "authorization" if bearer else "")


def is_token(credentials: Credentials) -> bool:
    """Of somebody who signed in, unlike a platform key."""
    return credentials.secret is not None and credentials.secret.startswith(TOKEN)


def client_of(scope: Scope) -> Client:
    user_agent = session_id = agent_id = request_class = None
    for name, value in scope["headers"]:
        if name == b"user-agent":
            user_agent = value.decode("latin-1")
        elif name.startswith(b"x-claude-code-"):
            if name == b"x-claude-code-session-id":
                session_id = value.decode("latin-1")[:64]
            elif name == b"x-claude-code-agent-id":
                agent_id = value.decode("latin-1")[:64]
            elif name == b"x-claude-code-request-class":
                request_class = value.decode("latin-1")[:32]
    address = scope.get("client")
    return Client(
        ip=address[0] if address else "",
        user_agent=user_agent or "",
        session_id=session_id,
        agent_id=agent_id,
        request_class=request_class,
    )


def answer_headers(answer: Answer, call: Call, first: bytes) -> Headers:
    """The upstream's headers as they came, less those of its connection, and the call's id."""
    headers = [(name, value) for name, value in answer.headers if name not in _NOT_FROM_UPSTREAM]
    length = str(len(first)).encode() if answer.facts.get("whole") else answer.header(b"content-length")
    if length is not None:
        headers.append((b"content-length", length))
    headers.append((b"x-ai-platform-call-id", call.id.encode()))
    return headers
