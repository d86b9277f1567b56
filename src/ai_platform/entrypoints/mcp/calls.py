"""A request at the MCP door -> domain.Call, through the flow, and the result back under the names of this endpoint.

Above: mount. Below: gateway, lists, answers.
"""

from collections.abc import Mapping
from typing import Any, cast

import msgspec
from mcp.shared.exceptions import MCPError

from ai_platform.domain.call import Call, Door, Head, Operation
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall, PlatformError
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.trace import usable_traceparent
from ai_platform.entrypoints.mcp.answers import result_of, theirs
from ai_platform.entrypoints.mcp.lists import Lists
from ai_platform.entrypoints.mcp.peer import DoorPeer
from ai_platform.entrypoints.mcp.sessions import Sessions
from ai_platform.entrypoints.mcp.visit import Context, Visit, visit_of
from ai_platform.gateway import Gateway
from ai_platform.mcp.names import with_visible_uris
from ai_platform.mcp.needs import Kind
from ai_platform.protection.literals import shown_key

TOOL_USE = "claudecode/toolUseId"
"""Key in `_meta` under which Claude Code names the `tool_use` of the answer that asked for this call."""

TRACEPARENT = "traceparent"
"""Key in `_meta` of the trace that a request belongs to (specification, basic); a header of that name says it too."""

LONGEST_ID = 200
LONGEST_URI = 4096
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Calls:
    """Of one endpoint."""

    def __init__(self, gateway: Gateway, lists: Lists, sessions: Sessions, clock: Clock) -> None:
        self._gateway = gateway
        self._lists = lists
        self._sessions = sessions
        self._clock = clock

    async def tool(self, context: Context, params: Any) -> dict[str, Any]:
        del params
        return await self._named(context, Operation.TOOLS_CALL, Kind.TOOLS, ("arguments", "inputResponses"))

    async def prompt(self, context: Context, params: Any) -> dict[str, Any]:
        del params
        return await self._named(context, Operation.PROMPTS_GET, Kind.PROMPTS, ("arguments", "inputResponses"))

    async def resource(self, context: Context, params: Any) -> dict[str, Any]:
        del params
        said = _said(context)
        body = {key: said[key] for key in ("inputResponses",) if key in said}
        result = await self._through(context, Operation.RESOURCES_READ, str(said.get("uri")), body)
        if "contents" in result:  # who may read it was decided for this caller: no cache may answer another
            result = {"ttlMs": 0} | result | {"cacheScope": "private"}
        return result

    async def completion(self, context: Context, params: Any) -> dict[str, Any]:
        del params
        said = _said(context)
        ref = cast("dict[str, Any]", said.get("ref") or {})
        body = {key: said[key] for key in ("argument", "context") if key in said}
        if ref.get("type") == "ref/prompt":
            return await self._through(
                context, Operation.PROMPTS_COMPLETE, str(ref.get("name")), body, kind=Kind.PROMPTS
            )
        return await self._through(context, Operation.RESOURCES_COMPLETE, str(ref.get("uri")), body)

    async def watching(self, context: Context, visible: str) -> None:
        """Have a server tell of a resource's changes; the right to read it is asked for.

        Raises:
            MCPError: it will not.
        """
        await self._through(context, Operation.RESOURCES_SUBSCRIBE, visible, {})

    async def _named(self, context: Context, operation: Operation, kind: Kind, keys: tuple[str, ...]) -> dict[str, Any]:
        said = _said(context)
        body = {key: said[key] for key in keys if said.get(key) is not None}
        return await self._through(context, operation, str(said.get("name")), body, kind=kind)

    async def _through(
        self, context: Context, operation: Operation, name: str, body: dict[str, Any], *, kind: Kind | None = None
    ) -> dict[str, Any]:
        visit = visit_of(context)
        call = self._call(context, visit, operation, name if is_name(name) else "")
        try:
            own = await self._own(visit, name, kind) if is_name(name) else None
            if own is None:  # nobody inspects it, so it is told only as far as it can be no value
                head = msgspec.structs.replace(call.head, tool=shown_key(name))
                call = msgspec.structs.replace(call, head=head)
                await self._gateway.turn_away(call, InvalidCall(Refusal.INVALID_REQUEST, _unknown(kind, name)))
            if kind is None:
                body = body | {"uri": own[1]}
            call = _aimed(call, own, body)
            async with self._gateway.handle(call) as answer:
                chunks = [chunk async for chunk in answer.body]
            result = _decode(b"".join(chunks))
        except PlatformError as error:
            return result_of(error, call)
        if answer.facts.get("rpc_error"):
            raise MCPError(theirs(result["code"]), result["message"], result.get("data"))
        result.setdefault("resultType", "complete")  # a server of 2025-11-25 has no other kind
        return with_visible_uris(own[0], result) if self._lists.is_joined else result

    async def _own(self, visit: Visit, name: str, kind: Kind | None) -> tuple[str, str] | None:
        if kind is None:
            return self._lists.own_uri(visit.principal, name)
        return await self._lists.own_name(kind, visit.principal, name)

    def _call(self, context: Context, visit: Visit, operation: Operation, name: str) -> Call:
        now = self._clock.now()
        meta = cast("dict[str, Any]", _said(context).get("_meta") or {})
        tool_use = meta.get(TOOL_USE)
        if not isinstance(tool_use, str) or not is_name(tool_use):
            tool_use = None
        state = _said(context).get("requestState")
        client = visit.client
        if (traceparent := usable_traceparent(meta.get(TRACEPARENT))) is not None:
            client = msgspec.structs.replace(client, traceparent=traceparent)
        elif client.traceparent is not None:
            meta = meta | {TRACEPARENT: client.traceparent}
        session = self._sessions.get(visit.session)
        return Call(
            id=new_id("call", now),
            door=Door.MCP,
            operation=operation,
            method=context.method,
            path=visit.path,
            head=Head(
                tool=name[:LONGEST_ID],
                tool_use_id=tool_use[:LONGEST_ID] if tool_use else None,
                request_state=state if isinstance(state, str) else None,
            ),
            credentials=visit.credentials,
            client=client,
            received_at=now,
            meta=meta,
            peer=DoorPeer(context, visit.session, session.level if session else None),
        )


def _aimed(call: Call, own: tuple[str, str], body: Mapping[str, Any]) -> Call:
    """The call under the names that the server itself uses, which policies and records use too.

    Raises:
        InvalidCall: it cannot be written as JSON in UTF-8.
    """
    head = msgspec.structs.replace(call.head, server=own[0], tool=own[1])
    try:
        return msgspec.structs.replace(call, head=head, body=_encode(body))
    except (UnicodeEncodeError, RecursionError) as error:
        raise InvalidCall(
            Refusal.INVALID_REQUEST,
            "The request holds half of a character (a UTF-16 surrogate without its other half), or is nested too"
            " deeply. Send whole text.",
        ) from error


def is_name(text: str) -> bool:
    """Something that can stand in records and messages: printable, and not endless."""
    return 0 < len(text) <= LONGEST_URI and text.isprintable()


def _said(context: Context) -> Mapping[str, Any]:
    return context.params or {}


def _unknown(kind: Kind | None, name: str) -> str:
    what = {Kind.TOOLS: "tool", Kind.PROMPTS: "prompt"}.get(kind, "resource") if kind is not None else "resource"
    return f"Unknown {what}: {shown_key(name)}" if is_name(name) else f"That is no name of a {what}."
