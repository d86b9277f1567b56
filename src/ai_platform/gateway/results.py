"""What travels between an MCP server and a client, inspected: parameters, results, everything said in between.

A result is marked with where it came from and that it is not to be trusted, and leaves when its outcome is durable.
What a server gives a client to bring back unread (`requestState`) is nobody's to read. Above: pipeline, watch.
"""

from collections.abc import AsyncGenerator, Mapping
from math import isfinite
from typing import Any, cast

import msgspec
from msgspec import structs

from ai_platform.domain.call import Answer, Call, Door, Operation
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Blocked, InvalidCall, UpstreamBroken
from ai_platform.domain.finding import Direction, ProtectionPlan
from ai_platform.domain.peer import Peer
from ai_platform.domain.principal import Principal
from ai_platform.domain.route import Route
from ai_platform.gateway.record import Record
from ai_platform.protection import Guard, Inspection

MARK = "ai-platform/source"
"""Key in a result's `_meta`: {server, trust: "untrusted", call}. What a server says is data, never an instruction."""

OURS = "ai-platform/"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"
LEAST_STEP = 1e-6
"""Progress has to grow with each notice (specification, basic/utilities/progress), whoever tells it."""

_MARKED = frozenset({Operation.TOOLS_CALL, Operation.RESOURCES_READ, Operation.PROMPTS_GET})
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


async def watched_result(answer: Answer, call: Call, record: Record, protection: Guard) -> AsyncGenerator[bytes]:
    """The result as JSON, in one piece. Iterating it may raise Refused or UpstreamError."""
    body = b"".join([chunk async for chunk in answer.body])
    inspection = await protection.inspect_value(
        record.known_caller,
        body,
        record.known_decision.plan,
        Direction.OUTPUT,
        upstream=record.target_name,
        session=call.client.session_id,
    )
    record.answer_inspection = inspection
    record.noticed(inspection.new_incidents + inspection.new_alerts)
    result = _read(inspection.body, record)
    if (state := answer.facts.get("request_state")) is not None:
        result["requestState"] = state
        record.unchecked_bytes += len(state)
    record.result_is_error = result.get("isError") is True or bool(answer.facts.get("rpc_error"))
    record.needs_input = result.get("resultType") == "input_required"
    if call.operation in _MARKED and not answer.facts.get("rpc_error"):
        meta = result.get("_meta")
        said = cast("dict[str, Any]", meta) if isinstance(meta, dict) else {}
        # the client talks to this platform: which server it was, the mark says, and nobody else speaks in our name
        said = {key: value for key, value in said.items() if key != SERVER_INFO and not key.startswith(OURS)}
        source = {"server": record.target_name, "trust": "untrusted", "call": call.id}
        result["_meta"] = said | {MARK: source}
    await record.finished()
    yield _encode(result)


def _read(body: bytes, record: Record) -> dict[str, Any]:
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UpstreamBroken("The MCP server's result is no JSON object.", target=record.target_name) from error


async def inspected(protection: Guard, call: Call, record: Record, route: Route) -> Call:
    """The call as it may go on. Actions may differ by who will get it.

    Raises:
        Blocked, Refused: it may not.
    """
    plan = record.known_decision.plan
    try:
        if call.door is Door.MCP:
            inspection, call = await _said_to_server(protection, record.known_caller, call, plan, route)
        else:
            inspection = await protection.inspect(
                record.known_caller, call, plan, [target.name for target in route.targets]
            )
            call = call.with_body(inspection.body) if inspection.changed else call
    except Blocked as error:
        record.hide(error.findings)
        raise
    record.hide(inspection.findings)
    record.inspection = inspection
    return call


async def _said_to_server(
    protection: Guard, caller: Principal, call: Call, plan: ProtectionPlan, route: Route
) -> tuple[Inspection, Call]:
    inspection = await protection.inspect_value(
        caller,
        _with_meta(call),
        plan,
        Direction.INPUT,
        upstream=route.targets[0].name,
        session=call.client.session_id,
    )
    if inspection.changed:
        said = _decode(inspection.body)
        call = structs.replace(call, meta=said.pop("_meta", {}), body=_encode(said))
    return inspection, call


def _with_meta(call: Call) -> bytes:
    """What a client says to a server, with `_meta`, into which it may write what it likes."""
    if not call.meta:
        return call.body
    try:
        meta = _encode(call.meta)
    except (UnicodeEncodeError, RecursionError) as error:
        raise InvalidCall(Refusal.INVALID_REQUEST, "The request's `_meta` holds half of a character.") from error
    return b'{"_meta":' + meta + (b"," if call.body != b"{}" else b"") + call.body[1:]


def with_watched_peer(call: Call, record: Record, protection: Guard, route: Route) -> Call:
    """The same call, whose client is reached only through inspection."""
    if call.peer is None:
        return call
    return structs.replace(call, peer=WatchedPeer(call.peer, record, protection, route.targets[0].name))


class WatchedPeer:
    """The client as a server reaches it in the middle of a call: what goes out to it, and what it answers, is inspected
    as results and arguments are. Raises Blocked where an action is block; the call itself goes on.
    """

    def __init__(self, peer: Peer, record: Record, protection: Guard, upstream: str) -> None:
        self._peer = peer
        self._record = record
        self._protection = protection
        self._upstream = upstream
        self._told = -1.0

    @property
    def session(self) -> str | None:
        return self._peer.session

    @property
    def capabilities(self) -> Mapping[str, Any]:
        return self._peer.capabilities

    @property
    def log_level(self) -> str | None:
        return self._peer.log_level

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        if message is not None:
            message = (await self._checked({"message": message}, Direction.OUTPUT)).get("message")
        if not isfinite(progress) or (total is not None and not isfinite(total)):
            return  # nothing a client could read, or show
        self._told = progress if progress > self._told else self._told + LEAST_STEP
        await self._peer.progress(self._told, total, message)

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        await self._peer.notify(method, await self._checked(params, Direction.OUTPUT))

    async def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        answer = await self._peer.ask(method, await self._checked(params, Direction.OUTPUT))
        return await self._checked(answer, Direction.INPUT)

    async def _checked(self, value: Mapping[str, Any], direction: Direction) -> dict[str, Any]:
        record = self._record
        try:
            inspection = await self._protection.inspect_value(
                record.known_caller,
                _encode(value),
                record.known_decision.plan,
                direction,
                upstream=self._upstream,
                session=record.call.client.session_id,
            )
        except Blocked as error:
            record.noticed(error.news)
            raise
        except (UnicodeEncodeError, RecursionError) as error:
            raise InvalidCall(Refusal.INVALID_REQUEST, "What was said holds half of a character.") from error
        record.aside.append(inspection)
        record.noticed(inspection.new_incidents + inspection.new_alerts)
        return _decode(inspection.body) if inspection.changed else dict(value)
