"""Reads a copy of what passes: which tool is called, when its answer comes, how large it is, and whether it failed.

Called by two threads, one per direction. Never raises for what passes: what cannot be read is forwarded and counted.
"""

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.mcp_servers.bridge.trace import SpanContext, child_of

MOST_PENDING = 10_000
_SIGNS = (b"tools/call", b"notifications/cancelled", b"\\u", b"\\/")
"""A line without any of these cannot hold a method of interest, however its JSON is escaped."""


class ToolCall(msgspec.Struct, frozen=True):
    """A call under way. started: seconds since the epoch; began: monotonic."""

    tool: str
    context: SpanContext
    started: float
    began: float
    argument_bytes: int


class Finished(msgspec.Struct, frozen=True):
    """A call that ended. error: empty, or what went wrong in a few words (a code, never a message's text)."""

    call: ToolCall
    seconds: float
    result_bytes: int
    error: str = ""


class _Params(msgspec.Struct):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"")
    meta: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict[str, msgspec.Raw], name="_meta")


class _Request(msgspec.Struct):
    method: str = ""
    id: str | int | float | None = None
    params: msgspec.Raw = msgspec.Raw(b"{}")


class _Cancelled(msgspec.Struct):
    number: str | int | float = msgspec.field(name="requestId")


class _Failure(msgspec.Struct):
    code: int | float = 0


class _Result(msgspec.Struct):
    is_error: bool = msgspec.field(default=False, name="isError")


class _Answer(msgspec.Struct):
    id: str | int | float | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: _Failure | None = None


class Watch:
    """asked() and answered() get whole lines. unread: lines that cannot be understood; lost: calls without answer."""

    def __init__(
        self,
        clock: Clock,
        *,
        started: Callable[[ToolCall], None],
        finished: Callable[[Finished], None],
        outer: str | None,
        propagate: bool,
    ) -> None:
        self._clock = clock
        self._started = started
        self._finished = finished
        self._outer = outer
        self._propagate = propagate
        self._pending: dict[str | int | float, ToolCall] = {}
        self._lock = threading.Lock()
        self._request = msgspec.json.Decoder(_Request)
        self._params = msgspec.json.Decoder(_Params)
        self._cancelled = msgspec.json.Decoder(_Cancelled)
        self._answer = msgspec.json.Decoder(_Answer)
        self._result = msgspec.json.Decoder(_Result)
        self._members = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self.unread = 0
        self.lost = 0

    def asked(self, line: bytes) -> bytes:
        """A line on its way to the server. Returns what to forward: the same, or with `_meta.traceparent` set."""
        if not any(sign in line for sign in _SIGNS):
            return line
        try:
            request = self._request.decode(line)
            if request.method == "notifications/cancelled":
                self._end(self._cancelled.decode(request.params).number, 0, "cancelled")
            if request.method != "tools/call" or request.id is None:
                return line
            params = self._params.decode(request.params)
            call = self._begin(params)
            forwarded = self._marked(line, request.params, params, call.context) if self._propagate else line
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.unread += 1
            return line
        self._started(call)
        with self._lock:
            if len(self._pending) >= MOST_PENDING:
                self.lost += 1
                self._pending.pop(next(iter(self._pending)))
            self._pending[request.id] = call
        return forwarded

    def answered(self, line: bytes) -> None:
        """A line on its way to the client."""
        if not self._pending or b'"id"' not in line:
            return
        try:
            answer = self._answer.decode(line)
            failed = ""
            size = 0
            if answer.error is not None:
                failed = f"error {answer.error.code:g}"
            elif isinstance(answer.result, msgspec.Raw):
                size = len(bytes(answer.result))
                failed = "tool_error" if self._result.decode(answer.result).is_error else ""
            else:
                return  # a request of the server's own
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.unread += 1
            return
        if answer.id is not None:
            self._end(answer.id, size, failed)

    def over(self) -> None:
        """The server is gone: what was not answered never will be."""
        with self._lock:
            left, self._pending = self._pending, {}
        for call in left.values():
            self.lost += 1
            self._finished(Finished(call, self._clock.monotonic() - call.began, 0, "no answer"))

    def _begin(self, params: _Params) -> ToolCall:
        carried = params.meta.get("traceparent")
        outer = msgspec.json.decode(carried, type=str) if carried is not None else self._outer
        size = len(bytes(params.arguments))
        return ToolCall(params.name[:200], child_of(outer), self._clock.now(), self._clock.monotonic(), size)

    def _end(self, number: str | float, size: int, error: str) -> None:
        with self._lock:
            call = self._pending.pop(number, None)
        if call is not None:
            self._finished(Finished(call, self._clock.monotonic() - call.began, size, error))

    def _marked(self, line: bytes, raw: msgspec.Raw, params: _Params, context: SpanContext) -> bytes:
        """Every other member keeps its bytes; only the order of members and white space between them may differ."""
        meta: dict[str, Any] = {**params.meta, "traceparent": context.traceparent}
        inner: dict[str, Any] = {**self._members.decode(raw), "_meta": meta}
        return msgspec.json.encode({**self._members.decode(line), "params": inner}) + b"\n"
