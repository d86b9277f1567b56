"""One call through a door, as received, and the answer that comes back.

The body is kept as the bytes the client sent; `head` holds the few fields that are acted on. A room that must
change the body returns a new Call (`call.with_body`); nothing else ever edits it.
"""

from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from ai_platform.domain.peer import Peer
from ai_platform.domain.principal import Credentials

Headers = list[tuple[bytes, bytes]]
"""Header fields in order as on the wire, names lower-case (the ASGI shape)."""


class Door(StrEnum):
    MESSAGES = "messages"
    MCP = "mcp"


class Operation(StrEnum):
    """What the call asks for; policies, permissions and metrics name it."""

    MESSAGES_CREATE = "messages.create"
    COUNT_TOKENS = "messages.count_tokens"
    BATCHES_CREATE = "batches.create"
    BATCHES = "batches"
    MODELS = "models"
    FILES_CREATE = "files.create"
    FILES = "files"
    TOOLS_CALL = "tools.call"
    RESOURCES_READ = "resources.read"
    RESOURCES_SUBSCRIBE = "resources.subscribe"
    RESOURCES_COMPLETE = "resources.complete"
    PROMPTS_GET = "prompts.get"
    PROMPTS_COMPLETE = "prompts.complete"
    MCP_LIST = "mcp.list"


class Client(msgspec.Struct, frozen=True):
    """Where the call came from. session_id/agent_id/prompt_id: Claude Code's own headers, when present.

    traceparent: the trace it belongs to, in the form of domain/trace.py.
    """

    ip: str = ""
    user_agent: str = ""
    session_id: str | None = None
    agent_id: str | None = None
    request_class: str | None = None
    traceparent: str | None = None


class Head(msgspec.Struct, frozen=True):
    """The fields of the body that the platform acts on. None = absent or of the wrong type (the upstream judges).

    models: every model a batch names; empty for anything but a batch.
    server, tool: of a call through the MCP door: the server's name, and the name of its tool or prompt or the URI of
    its resource, each as the server itself calls it.
    tool_use_id: the `tool_use` of the model's answer that asked for the call, when the client says so.
    request_state: what a server gave the client to bring back with its answers; opaque.
    """

    model: str | None = None
    stream: bool = False
    max_tokens: int | None = None
    speed: str | None = None
    inference_geo: str | None = None
    server: str | None = None
    tool: str | None = None
    tool_use_id: str | None = None
    request_state: str | None = None
    models: tuple[str, ...] = ()


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request on its way through the flow.

    id: `call_` + ULID, the key that joins audit, ledger, trace and log lines.
    path, query: as received, query without `?`.
    received_at: seconds since the epoch, UTC.
    body: of the MCP door: what the request says, as a JSON object: `arguments`, `inputResponses`, `uri`, `argument`,
    `context`.
    meta, peer: of the MCP door: the request's `_meta`, and the client while the call is under way.
    """

    id: str
    door: Door
    operation: Operation
    method: str
    path: str
    query: bytes = b""
    headers: Headers = []
    body: bytes = b""
    head: Head = Head()
    credentials: Credentials = Credentials(None)
    client: Client = Client()
    received_at: float = 0.0
    meta: Mapping[str, Any] = {}
    peer: Peer | None = None

    def with_body(self, body: bytes) -> "Call":
        return msgspec.structs.replace(self, body=body)

    def for_model(self, model: str) -> "Call":
        return msgspec.structs.replace(self, head=msgspec.structs.replace(self.head, model=model, models=()))

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header field (`name` lower-case), or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Answer:
    """A response being received: status and headers are known, the body arrives.

    body: chunks of the (still encoded) payload in arrival order, never empty chunks; iterated at most once.
    """

    __slots__ = ("body", "facts", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: AsyncIterator[bytes], **facts: Any) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.facts = facts

    def header(self, name: bytes) -> bytes | None:
        for key, value in self.headers:
            if key == name:
                return value
        return None
