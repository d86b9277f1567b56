"""Verdicts on tool calls in the form that Claude Code's auto mode reads (`safeguard_results`, code.claude.com, "LLM
gateway protocol"). A client that asks for them with `safeguards` refuses a flagged tool call and shows why.

What the upstream said stays; only a tool call that we refuse becomes flagged. Above: toolwatch.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from ai_platform.gateway.events import data_of

DANGEROUS = "dangerous_tool_use"
LONGEST = 1000


class Unmergeable(Exception):
    """The verdicts that are there already have a form that ours cannot be put into."""


class _Asked(msgspec.Struct):
    type: str = ""


class _Body(msgspec.Struct):
    safeguards: list[_Asked] = []


_body = msgspec.json.Decoder(_Body)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def asks_for_verdicts(body: bytes) -> bool:
    """Whether the request wants tool calls to be judged."""
    if b'"safeguards"' not in body:
        return False
    try:
        return any(asked.type == DANGEROUS for asked in _body.decode(body).safeguards)
    except (msgspec.DecodeError, RecursionError):
        return False


def with_verdicts_in_event(event: bytes, explanations: Mapping[str, str]) -> bytes:
    """A `message_delta` event whose delta flags these tool calls. Raises Unmergeable."""
    try:
        fields = _fields.decode(data_of(event))
        delta = _fields.decode(fields["delta"])
    except (msgspec.DecodeError, KeyError) as error:
        raise Unmergeable from error
    fields["delta"] = msgspec.Raw(msgspec.json.encode(_with(delta, explanations)))
    return b"event: message_delta\ndata: " + msgspec.json.encode(fields) + b"\n\n"


def with_verdicts_in_message(body: bytes, explanations: Mapping[str, str]) -> bytes:
    """The same for a complete message. Raises Unmergeable."""
    try:
        return msgspec.json.encode(_with(_fields.decode(body), explanations))
    except msgspec.DecodeError as error:
        raise Unmergeable from error


def _with(fields: dict[str, msgspec.Raw], explanations: Mapping[str, str]) -> dict[str, Any]:
    raw = fields.get("safeguard_results")
    results = [] if raw is None else msgspec.json.decode(raw)
    return fields | {"safeguard_results": _merged([] if results is None else results, explanations)}


def _merged(results: Any, explanations: Mapping[str, str]) -> list[Any]:
    """One entry of this kind, as there may be no second: the upstream's with ours put over it."""
    if not isinstance(results, list) or not all(isinstance(entry, dict) for entry in results):
        raise Unmergeable
    ours = [entry for entry in results if entry.get("type") == DANGEROUS]
    if not ours:
        return [
            *results,
            {"type": DANGEROUS, "status": {"type": "available", "tool_uses": _verdicts({}, explanations)}},
        ]
    status = ours[0].get("status")
    if len(ours) > 1 or not isinstance(status, dict) or status.get("type") != "available":
        raise Unmergeable
    said = status.get("tool_uses")
    if not isinstance(said, dict):
        raise Unmergeable
    merged = ours[0] | {"status": status | {"tool_uses": said | _verdicts(said, explanations)}}
    return [merged if entry is ours[0] else entry for entry in results]


def _verdicts(said: Mapping[str, Any], explanations: Mapping[str, str]) -> dict[str, Any]:
    verdicts: dict[str, Any] = {}
    for tool_use_id, why in explanations.items():
        before = said.get(tool_use_id)
        theirs = ""
        if isinstance(before, dict) and before.get("outcome") == "flagged":
            theirs = f" {before.get('explanation') or ''}".rstrip()
        text = f"{why}{theirs}"[:LONGEST]
        verdicts[tool_use_id] = {"type": "evaluated", "outcome": "flagged", "explanation": text}
    return verdicts
