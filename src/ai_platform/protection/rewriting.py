"""From findings with their places to the edits of a body: what is done in the end, and what stands there instead.

Above: guard.py, stream.py. Below: body.py, replace.py.
"""

from collections.abc import Sequence

import msgspec

from ai_platform.domain.finding import Action, Finding
from ai_platform.protection.actions import REWRITING
from ai_platform.protection.fixed import Fixed
from ai_platform.protection.located import Inspected, Located
from ai_platform.protection.replace import Mint, as_json, replacement

ByteEdit = tuple[int, int, bytes]
"""(start, end, new bytes) in a raw body."""

REST = b"[REDACTED]"
"""Stands for the second half of a value that two text blocks share (an empty block would be refused upstream)."""


def settled(item: Located) -> Finding:
    """What was done in the end: a replay of a blocked value is redacted; what may not be changed is only reported."""
    action = Action.REDACT if item.finding.action is Action.BLOCK else item.finding.action
    if item.fixed is not Fixed.FREE and action in REWRITING:
        action = Action.ALERT
    return item.finding if action is item.finding.action else msgspec.structs.replace(item.finding, action=action)


def edits_of(result: Inspected, mint: Mint | None) -> list[ByteEdit]:
    """In order, not overlapping. mint: makes the token for a value."""
    edits: list[ByteEdit] = []
    for item in result.located:
        text = None if item.fixed is not Fixed.FREE else replacement(item.finding, item.value, mint)
        if text is not None:
            new = REST if item.rest else as_json(text).encode(item.coding)
            edits.append((item.start, item.end, new if item.quoted else b'"' + new + b'"'))
    return edits


def findings_of(located: Sequence[Located]) -> tuple[Finding, ...]:
    """A value that two blocks share is one finding; what the plan allows is none."""
    return tuple(settled(item) for item in located if not item.rest and item.finding.action is not Action.ALLOW)
