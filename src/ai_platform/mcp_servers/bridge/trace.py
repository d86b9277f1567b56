"""W3C trace context (w3.org/TR/trace-context, level 1), as MCP carries it in `_meta.traceparent` (SEP-414)."""

import os
import re

import msgspec

_PATTERN = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)


class SpanContext(msgspec.Struct, frozen=True):
    """trace: 32, span: 16 hexadecimal digits. parent: empty at the root. flags: `01` = sampled."""

    trace: str
    span: str
    parent: str = ""
    flags: str = "01"

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace}-{self.span}-{self.flags}"


def child_of(traceparent: str | None) -> SpanContext:
    """A new span below the given one; at the root of a new trace when there is none or it is not valid."""
    span = os.urandom(8).hex()
    found = _PATTERN.fullmatch(traceparent or "")
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]) or not found[2].strip("0"):
        return SpanContext(os.urandom(16).hex(), span)
    if not found[3].strip("0"):
        return SpanContext(os.urandom(16).hex(), span)
    return SpanContext(found[2], span, found[3], found[4])
