"""From a Reply to the frames of its stream and the JSON of its message, cut at max_tokens or at a stop sequence."""

import secrets
from typing import Any

import msgspec

from ai_platform.simulator import wire
from ai_platform.simulator.prompt import Prompt
from ai_platform.simulator.reply import Part, Reply, Text, Thinking, ToolUse, pieces_of
from ai_platform.simulator.thinking import Signer
from ai_platform.simulator.tokens import text_weight, tokens

_ARGUMENT_PIECE = 24


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """frames: the events between message_start and message_delta. weights: output bytes after each frame.

    content: the message's blocks. tool_ids: ids of the tool_use blocks. thinking_weight: bytes of thinking.
    """

    frames: list[bytes]
    weights: list[int]
    content: list[dict[str, Any]]
    tool_ids: list[str]
    thinking_weight: int
    stop_reason: str
    stop_sequence: str | None

    @property
    def weight(self) -> int:
        return self.weights[-1] if self.weights else 0


class _Page:
    """The frames being written; knows how much the answer may still say."""

    def __init__(self, prompt: Prompt, signer: Signer) -> None:
        self.prompt = prompt
        self.signer = signer
        self.frames: list[bytes] = []
        self.weights: list[int] = []
        self.content: list[dict[str, Any]] = []
        self.tool_ids: list[str] = []
        self.weight = 0
        self.thinking_weight = 0
        self.full = prompt.max_tokens == 0
        self.stop_sequence: str | None = None

    def add(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.weights.append(self.weight)

    def open(self, index: int, block: dict[str, Any]) -> None:
        self.add(wire.block_start(index, block))
        if index == 0:
            self.add(wire.PING)

    def fits(self, weight: int) -> bool:
        self.full = self.full or tokens(self.weight + weight, self.prompt.card.tokenizer) > self.prompt.max_tokens
        return not self.full


def render(reply: Reply, prompt: Prompt, signer: Signer) -> Rendered:
    page = _Page(prompt, signer)
    for part in _with_stop(reply.parts, prompt, page):
        if page.full:
            break
        _render_part(part, page)
    if page.full:
        reason = "max_tokens"
    elif page.stop_sequence is not None:
        reason = "stop_sequence"
    else:
        reason = reply.stop_reason or ("tool_use" if page.tool_ids else "end_turn")
    return Rendered(
        frames=page.frames,
        weights=page.weights,
        content=page.content,
        tool_ids=page.tool_ids,
        thinking_weight=page.thinking_weight,
        stop_reason=reason,
        stop_sequence=page.stop_sequence if reason == "stop_sequence" else None,
    )


def _with_stop(parts: tuple[Part, ...], prompt: Prompt, page: _Page) -> list[Part]:
    """The parts up to the first stop sequence inside a text."""
    wanted = prompt.body.get("stop_sequences")
    stops = [stop for stop in wanted if isinstance(stop, str) and stop] if isinstance(wanted, list) else []
    if not stops:
        return list(parts)
    kept: list[Part] = []
    for part in parts:
        text = "".join(part.pieces) if isinstance(part, Text) else ""
        found = [(text.find(stop), stop) for stop in stops if stop in text]
        if found:
            position, page.stop_sequence = min(found)
            kept.append(Text(pieces_of(text[:position])))
            return kept
        kept.append(part)
    return kept


def _render_part(part: Part, page: _Page) -> None:
    index = len(page.content)
    match part:
        case Text():
            _render_text(part, page, index)
        case Thinking():
            _render_thinking(part, page, index)
        case ToolUse():
            _render_tool(part, page, index)


def _render_text(part: Text, page: _Page, index: int) -> None:
    page.open(index, {"type": "text", "text": ""})
    said: list[str] = []
    encoded: dict[str, bytes] = {}
    for piece in part.pieces:
        weight = text_weight(piece)
        if not page.fits(weight):
            break
        frame = encoded.get(piece)
        if frame is None:
            frame = encoded[piece] = wire.delta(index, "text_delta", "text", piece)
        page.weight += weight
        page.add(frame)
        said.append(piece)
    page.add(wire.block_stop(index))
    page.content.append({"type": "text", "text": "".join(said)})


def _render_thinking(part: Thinking, page: _Page, index: int) -> None:
    weight = text_weight(part.text)
    if not page.fits(weight):
        return
    shown = "" if page.prompt.hidden_thinking else part.text
    page.open(index, {"type": "thinking", "thinking": "", "signature": ""})
    for piece in pieces_of(shown):
        page.weight += text_weight(piece)
        page.add(wire.delta(index, "thinking_delta", "thinking", piece))
    page.weight += weight - text_weight(shown)
    page.thinking_weight += weight
    signature = page.signer.sign(shown)
    page.add(wire.delta(index, "signature_delta", "signature", signature))
    page.add(wire.block_stop(index))
    page.content.append({"type": "thinking", "thinking": shown, "signature": signature})


def _render_tool(part: ToolUse, page: _Page, index: int) -> None:
    arguments = msgspec.json.encode(part.input).decode()
    if not page.fits(text_weight(part.name) + text_weight(arguments)):
        return
    identifier = f"toolu_01{secrets.token_hex(11)}"
    page.tool_ids.append(identifier)
    page.weight += text_weight(part.name)
    page.open(index, {"type": "tool_use", "id": identifier, "name": part.name, "input": {}})
    page.add(wire.delta(index, "input_json_delta", "partial_json", ""))
    for start in range(0, len(arguments), _ARGUMENT_PIECE):
        piece = arguments[start : start + _ARGUMENT_PIECE]
        page.weight += text_weight(piece)
        page.add(wire.delta(index, "input_json_delta", "partial_json", piece))
    page.add(wire.block_stop(index))
    page.content.append({"type": "tool_use", "id": identifier, "name": part.name, "input": part.input})
