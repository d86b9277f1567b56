"""What a scenario answers: blocks in order. Plain data; `render` turns it into frames and JSON."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

_PIECE = re.compile(r"\s*\S{1,8}|\s+$")


def pieces_of(text: str) -> tuple[str, ...]:
    """The text in token-like pieces (at most eight characters and the white space before them); joined they are it."""
    return tuple(_PIECE.findall(text))


class Text(msgspec.Struct, frozen=True):
    """pieces: one streamed delta each."""

    pieces: tuple[str, ...]


class Thinking(msgspec.Struct, frozen=True):
    text: str


class ToolUse(msgspec.Struct, frozen=True):
    name: str
    input: dict[str, Any]


Part = Text | Thinking | ToolUse


class Reply(msgspec.Struct, frozen=True):
    """scenario: its name, for GET /_sim/requests. stop_reason None = tool_use when a tool is called, else end_turn."""

    parts: tuple[Part, ...]
    scenario: str = "text"
    stop_reason: str | None = None


def say(text: str, *, scenario: str = "text") -> Reply:
    return Reply((Text(pieces_of(text)),), scenario)


def call(calls: Iterable[ToolUse], *, saying: str, scenario: str) -> Reply:
    """A sentence and one or more tool calls."""
    return Reply((Text(pieces_of(saying)), *calls), scenario)
