"""Watches one streamed answer: events in, the events that may be passed on out.

Whole events are held only while their text can still grow into a value; an answer with no finding passes byte for
byte. Above: guard.py, gateway. Below: watcher.py, scanner.
"""

from dataclasses import dataclass, field
from json.decoder import scanstring

import msgspec

from ai_platform.domain.errors import Blocked
from ai_platform.domain.finding import Action, Finding
from ai_platform.protection.scanner import Scanner
from ai_platform.protection.watcher import TextWatcher
from ai_platform.protection.watcher_json import JsonWatcher
from ai_platform.protection.wording import blocked_output


class _Delta(msgspec.Struct):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    delta: _Delta | None = None


_DECODER = msgspec.json.Decoder(_Event)
_DELTA_MARK = b"content_block_delta"
_ENDS = (b"event: content_block_stop", b"event: message_delta", b"event: message_stop", b"event: error")


@dataclass(slots=True)
class _Block:
    watcher: TextWatcher | JsonWatcher
    held: list[tuple[bytes, int, int, str, str]] = field(default_factory=list)
    position: int = 0


class StreamGuard:
    """One per streamed answer. scanner None = nothing is inspected, events pass.

    feed/close raise Blocked when a finding's action is block; `released` tells whether any bytes had been passed on.
    """

    def __init__(self, scanner: Scanner | None, team: str | None) -> None:
        self.findings: list[Finding] = []
        self.bytes_checked = 0
        self.changed = False
        self.released = False
        self._scanner = scanner
        self._team = team
        self._blocks: dict[int, _Block] = {}

    def feed(self, event: bytes) -> bytes:
        """One complete raw event with its blank line -> the bytes to pass on now (none or several events)."""
        out = self._feed(event) if self._scanner is not None else event
        if out:
            self.released = True
        return out

    def close(self) -> bytes:
        """The end of the stream: everything still held."""
        out = b"".join([self._finish(index) for index in list(self._blocks)])
        if out:
            self.released = True
        return out

    def _feed(self, event: bytes) -> bytes:
        if _DELTA_MARK not in event:
            if self._blocks and event.startswith(_ENDS):
                return self._flush_for(event) + event
            return event
        data = event.find(b"data:")
        try:
            parsed = _DECODER.decode(event[data + 5 :]) if data >= 0 else None
        except msgspec.DecodeError:
            return event
        delta = parsed.delta if parsed is not None else None
        if parsed is None or delta is None:
            return event
        if delta.text is not None:
            return self._text(event, parsed.index, "text", delta.text)
        if delta.partial_json is not None:
            return self._text(event, parsed.index, "partial_json", delta.partial_json)
        if delta.thinking is not None:
            return self._text(event, parsed.index, "thinking", delta.thinking)
        return self._finish(parsed.index) + event if delta.type == "signature_delta" else event

    def _text(self, event: bytes, index: int, name: str, text: str) -> bytes:
        block = self._blocks.get(index)
        if block is None:
            assert self._scanner is not None
            kind = JsonWatcher if name == "partial_json" else TextWatcher
            block = self._blocks[index] = _Block(kind(self._scanner, self._team))
        start = block.position
        block.position = end = start + len(text)
        self.bytes_checked += len(text)
        block.held.append((event, start, end, name, text))
        return self._emit(block, block.watcher.feed(text))

    def _finish(self, index: int) -> bytes:
        block = self._blocks.pop(index, None)
        return b"" if block is None else self._emit(block, block.watcher.close())

    def _flush_for(self, event: bytes) -> bytes:
        if event.startswith(_ENDS[0]):
            try:
                return self._finish(_DECODER.decode(event[event.find(b"data:") + 5 :]).index)
            except msgspec.DecodeError:
                pass  # an event nobody can read ends every block: nothing may stay behind
        return b"".join([self._finish(index) for index in list(self._blocks)])

    def _emit(self, block: _Block, safe: int) -> bytes:
        watcher = block.watcher
        if watcher.found:
            self.findings += watcher.found
            blocking = [finding for finding in watcher.found if finding.action is Action.BLOCK]
            watcher.found = []
            if blocking:
                raise Blocked(blocked_output(blocking), blocking, rule=blocking[0].rule)
        held = block.held
        count = 0
        while count < len(held) and held[count][2] <= safe:
            count += 1
        if not count:
            return b""
        ready = held[:count]
        del held[:count]
        edits = watcher.edits
        if not edits or ready[0][3] == "thinking":
            return ready[0][0] if count == 1 else b"".join([item[0] for item in ready])
        self.changed = True
        return b"".join([_rewritten(*item, edits) for item in ready])


def _rewritten(event: bytes, start: int, end: int, name: str, text: str, edits: list[tuple[int, int, str]]) -> bytes:
    """The event with the edits that touch [start, end) of its block applied; a replacement stands where a value began."""
    pieces: list[str] = []
    position = start
    touched = False
    for begin, stop, new in edits:
        if stop <= start or begin >= end:
            continue
        touched = True
        pieces.append(text[position - start : max(begin, position) - start])
        if begin >= start:
            pieces.append(new)
        position = min(stop, end)
    if not touched:
        return event
    pieces.append(text[position - start :])
    return _with_text(event, name, "".join(pieces))


def _with_text(event: bytes, name: str, new: str) -> bytes:
    decoded = event.decode("utf-8", "surrogateescape")
    at = decoded.rindex(f'"{name}"', decoded.index('"delta"')) + len(name) + 2
    opening = decoded.index('"', at) + 1
    _, closing = scanstring(decoded, opening, False)
    literal = msgspec.json.encode(new).decode()
    return (decoded[: opening - 1] + literal + decoded[closing:]).encode("utf-8", "surrogateescape")
