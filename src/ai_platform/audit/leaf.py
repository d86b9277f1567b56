"""The stored form of an event: one line of canonical JSON (RFC 8785), which is also the Merkle leaf.

Keys in order: at, call_id, event_id, event_type, expires, facts, index, log, personal, retention, subject_ref, v.
Only `index` and `log` are known as late as the commit; they are spliced in. Above: trail, reader, verify.
"""

from datetime import UTC, date, datetime
from typing import Any

import msgspec

from ai_platform.audit.canonical import canonical, is_common
from ai_platform.domain.event import RETENTION_DAYS, Event, EventType

VERSION = 1
INTENTS = frozenset({"claude_chat_request", "mcp_tool_call"})
OUTCOMES = frozenset({"claude_chat_response", "mcp_tool_result"})
"""A call whose intent has no outcome was interrupted: a crash, or it is still running."""

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_sorted = msgspec.json.Encoder(order="sorted")


class _Head(msgspec.Struct):
    at: str
    call_id: str
    event_id: str
    event_type: str
    expires: str
    facts: Any


class Leaf(msgspec.Struct, frozen=True):
    """A parsed leaf. personal: base64 of nonce || ciphertext || tag."""

    at: str
    call_id: str
    event_id: str
    event_type: str
    expires: str
    facts: dict[str, Any]
    index: int
    log: str
    personal: str | None
    retention: str
    subject_ref: str | None
    v: int


class LeafHead(msgspec.Struct, frozen=True, gc=False):
    """What verification needs of every leaf; the rest is skipped."""

    call_id: str
    event_type: str
    index: int
    log: str


read_leaf = msgspec.json.Decoder(Leaf).decode
read_head = msgspec.json.Decoder(LeafHead).decode


class Draft:
    """An event on its way into the log: everything but its place."""

    __slots__ = ("_after", "_before")

    def __init__(self, event: Event, keep: "Retention", subject_ref: str | None, sealed: bytes | None) -> None:
        """sealed: the encrypted personal fields.

        Raises:
            TypeError: the facts hold something that has no JSON form.

        """
        self._before = _before(event, keep.days)
        self._after = b'","personal":%b,"retention":"%b","subject_ref":%b,"v":1}' % (
            b'"%b"' % sealed if sealed else b"null",
            keep.name,
            b'"%b"' % subject_ref.encode() if subject_ref else b"null",
        )

    def at_place(self, index: int, origin: bytes) -> bytes:
        return b'%b,"index":%d,"log":"%b%b' % (self._before, index, origin, self._after)


class Retention(msgspec.Struct, frozen=True):
    """How long an event is kept. name: `1y`, `10d`, as it stands in the leaf."""

    days: int
    name: bytes

    @classmethod
    def of(cls, days: int) -> "Retention":
        return cls(days, b"%dy" % (days // 365) if days % 365 == 0 else b"%dd" % days)


def retention_by_type(overrides: dict[str, int]) -> dict[EventType, Retention]:
    """overrides: event type -> days."""
    return {kind: Retention.of(overrides.get(kind.value, days)) for kind, days in RETENTION_DAYS.items()}


def timestamp(at: float) -> str:
    """Seconds since the epoch as `2026-11-22T12:00:00.000000Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")[:26] + "Z"


def _before(event: Event, days: int) -> bytes:
    expires = date.fromordinal(_EPOCH_DAY + int(event.at // 86_400) + days).isoformat()
    head = _Head(timestamp(event.at), event.call_id, event.id, event.type.value, expires, event.facts)
    if is_common(event.facts):
        try:
            text = _sorted.encode(head)
        except UnicodeEncodeError:
            pass  # a lone surrogate: the careful way below respells it
        else:
            if rb"\u0000" not in text:
                return text[:-1]
    return canonical(head)[:-1]
