"""An event as people and other programs read it: one flat JSON object with the mission's keys.

Above: trail (the sink's copy), reader. Below: leaf.
"""

from typing import Any

import msgspec

from ai_platform.audit.leaf import Leaf, timestamp
from ai_platform.audit.subjects import SubjectKey
from ai_platform.domain.event import Event

ERASED = "erased"
"""Value of `personal` in a line whose personal fields cannot be read any more."""


def line_of_event(event: Event, *, with_personal: bool) -> bytes:
    """A line with its newline."""
    line: dict[str, Any] = {
        "timestamp": timestamp(event.at),
        "event_type": event.type.value,
        "event_id": event.id,
        "call_id": event.call_id,
    }
    return msgspec.json.encode(_merged(line, event.personal if with_personal else {}, event.facts)) + b"\n"


def line_of_leaf(leaf: Leaf, key: SubjectKey | None) -> dict[str, Any]:
    """key: the subject's, None when it was destroyed."""
    line: dict[str, Any] = {
        "timestamp": leaf.at,
        "event_type": leaf.event_type,
        "event_id": leaf.event_id,
        "call_id": leaf.call_id,
        "log": leaf.log,
        "index": leaf.index,
        "expires": leaf.expires,
    }
    personal: dict[str, Any] = {}
    if leaf.personal is not None:
        opened = key.open(leaf.event_id, leaf.personal) if key else None
        personal = {"personal": ERASED} if opened is None else opened
    return _merged(line, personal, leaf.facts)


def _merged(line: dict[str, Any], personal: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """What the platform itself states wins over a field of the same name."""
    return {**line, **personal, **facts, **line}
