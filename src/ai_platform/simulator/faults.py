"""Faults on demand: a queue filled by POST /_sim/faults, or one fault in the request header `x-simulate-fault`.

The queue is looked through in order; the first fault that matches the request is used and counts down.
"""

import fnmatch
from enum import StrEnum

import msgspec

from ai_platform.simulator.errors import invalid

HEADER = b"x-simulate-fault"


class FaultKind(StrEnum):
    """status: an error answer. slow_headers: the answer starts late. html: a web page instead of JSON.

    Inside an answer, after `after_events` events: stall (silence until the client leaves), cut (connection closed),
    reset (connection reset), malformed (a broken event or half a JSON body, then the rest), sse_error (an error event).
    """

    STATUS = "status"
    STALL = "stall"
    CUT = "cut"
    MALFORMED = "malformed"
    SLOW_HEADERS = "slow_headers"
    HTML = "html"
    SSE_ERROR = "sse_error"
    RESET = "reset"


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All given fields must hold. path, model: globs. body: text that occurs in the body. key: a key label."""

    path: str = "*"
    model: str = "*"
    method: str | None = None
    stream: bool | None = None
    key: str | None = None
    body: str | None = None


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """status, message, error_type, retry_after (seconds), should_retry: of the error answer (status, html, sse_error).

    times: how often it strikes, 0 = always. after_events: events sent first; 0 = instead of the answer's first byte
    for stall, cut and reset. delay_ms: wait before the headers (slow_headers).
    """

    kind: FaultKind = FaultKind.STATUS
    status: int = 529
    message: str | None = None
    error_type: str | None = None
    retry_after: float | None = None
    should_retry: bool | None = None
    after_events: int = 0
    delay_ms: int = 0
    times: int = 1
    match: Match = Match()


class _Head(msgspec.Struct):
    model: object = None
    stream: object = None


class Faults:
    """The queue. counts: how often each kind has struck."""

    def __init__(self) -> None:
        self._queue: list[tuple[Fault, int]] = []
        self.counts: dict[str, int] = {}

    def add(self, faults: list[Fault]) -> None:
        self._queue.extend((fault, fault.times) for fault in faults)

    def waiting(self) -> list[dict[str, object]]:
        return [{**msgspec.to_builtins(fault), "left": left} for fault, left in self._queue]

    def clear(self) -> None:
        self._queue.clear()

    def take(self, *, method: str, path: str, key: str, body: bytes, header: bytes | None) -> Fault | None:
        """The fault this request meets, or None.

        Raises:
            ApiError: 400, the header cannot be read.

        """
        fault = from_header(header) if header is not None else None
        if fault is None and self._queue:
            fault = self._next(method, path, key, body)
        if fault is not None:
            self.counts[fault.kind.value] = self.counts.get(fault.kind.value, 0) + 1
        return fault

    def _next(self, method: str, path: str, key: str, body: bytes) -> Fault | None:
        head = _head(body)
        for index, (fault, left) in enumerate(self._queue):
            wanted = fault.match
            if (
                fnmatch.fnmatchcase(path, wanted.path)
                and fnmatch.fnmatchcase(str(head.model), wanted.model)
                and wanted.method in (None, method)
                and wanted.stream in (None, head.stream is True)
                and wanted.key in (None, key)
                and (wanted.body is None or wanted.body.encode() in body)
            ):
                if left == 1:
                    del self._queue[index]
                elif left > 1:
                    self._queue[index] = (fault, left - 1)
                return fault
        return None


def _head(body: bytes) -> _Head:
    try:
        return msgspec.json.decode(body, type=_Head)
    except msgspec.MsgspecError:
        return _Head()


def from_header(value: bytes) -> Fault:
    """`529`, `429;retry_after=2`, `cut;after_events=3`: a status or a kind, then fields of Fault.

    Raises:
        ApiError: 400, not such a text.

    """
    first, *rest = [part.strip() for part in value.decode("latin-1").split(";")]
    fields: dict[str, object] = {"status": int(first)} if first.isdigit() else {"kind": first}
    for part in rest:
        name, _, text = part.partition("=")
        fields[name.strip()] = text.strip()
    try:
        return msgspec.convert(fields, Fault, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(f"x-simulate-fault: {error}") from error
