"""The trace that a call belongs to, as its client names it (w3.org/TR/trace-context, level 1)."""

import re

_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def usable_traceparent(text: object) -> str | None:
    """The same text; None when it is none."""
    return text if isinstance(text, str) and _FORM.fullmatch(text) else None


def trace_id_of(traceparent: str | None) -> str | None:
    """32 hexadecimal digits."""
    return traceparent[3:35] if traceparent else None
