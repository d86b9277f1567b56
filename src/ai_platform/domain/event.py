"""Audit events: what is written to the tamper-evident log, and how long each class is kept."""

from enum import StrEnum
from typing import Any

import msgspec

YEAR = 365


class EventType(StrEnum):
    """Every event the platform records. The value is the `event_type` of the exported line."""

    AUTHENTICATION = "authentication"
    CHAT_REQUEST = "claude_chat_request"
    CHAT_RESPONSE = "claude_chat_response"
    CALL_REFUSED = "call_refused"
    SECURITY_INCIDENT = "security_incident"
    CONFIGURATION_CHANGE = "configuration_change"
    ADMIN_ACTION = "admin_action"
    TOOL_CALL = "mcp_tool_call"
    TOOL_RESULT = "mcp_tool_result"
    APPROVAL_REQUESTED = "approval_requested"
    APPROVAL_DECIDED = "approval_decided"
    APPROVAL_ENDED = "approval_ended"
    PLATFORM = "platform"


RETENTION_DAYS: dict[EventType, int] = {
    EventType.AUTHENTICATION: YEAR,
    EventType.CHAT_REQUEST: YEAR,
    EventType.CHAT_RESPONSE: YEAR,
    EventType.CALL_REFUSED: YEAR,
    EventType.SECURITY_INCIDENT: 7 * YEAR,
    EventType.CONFIGURATION_CHANGE: 3 * YEAR,
    EventType.ADMIN_ACTION: 3 * YEAR,
    EventType.TOOL_CALL: YEAR,
    EventType.TOOL_RESULT: YEAR,
    EventType.APPROVAL_REQUESTED: 3 * YEAR,
    EventType.APPROVAL_DECIDED: 3 * YEAR,
    EventType.APPROVAL_ENDED: 3 * YEAR,
    EventType.PLATFORM: YEAR,
}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    id: `evt_` + ULID. at: seconds since the epoch, UTC. call_id: joins the events of one call.
    subject: the person it is about (the key under which `personal` is encrypted), None when nobody's.
    personal: fields that identify a person (e-mail, name, address, user agent); stored encrypted per subject.
    facts: everything else, JSON types only; never a prompt, an answer, a secret or a found value.
    """

    id: str
    type: EventType
    at: float
    call_id: str = ""
    subject: str | None = None
    personal: dict[str, Any] = {}
    facts: dict[str, Any] = {}
