"""Watches one streamed answer: server-sent events in, the events that may be passed on out.

Whole events are held, only while their text can still grow into a value; an answer with no finding passes byte for
byte. A thinking block is signed, so it is never held or changed: what is found there is reported (or ends the stream).
Above: guard.py, gateway. Below: watcher.py, watcher_json.py.
"""

from collections import deque

import msgspec

from ai_platform.domain.errors import Blocked
from ai_platform.domain.finding import Action, Finding
from ai_platform.protection.literals import scan_string
from ai_platform.protection.scanner import Scanner
from ai_platform.protection.vault import Exchange
from ai_platform.protection.watcher import Edit, TextWatcher
from ai_platform.protection.watcher_json import JsonWatcher
from ai_platform.protection.wording import blocked_output


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    index: int = 0
    delta: _Delta | None = None


_DECODER = msgspec.json.Decoder(_Event)
_DELTA_MARK = b"content_block_delta"
_STOP = b"content_block_stop"
_ENDS = (b"message_delta", b"message_stop", b"event: error", b'"type":"error"', b'"type": "error"')


class _Held(msgspec.Struct, gc=False):
    """An event whose text stands at [start, end) of its block. name: the member of `delta` that carries it."""

    event: bytes
    start: int
    end: int
    name: str
    text: str


class _Block:
    """One content block: its watcher, the events not yet passed on, and the edits that still concern them."""

    __slots__ = ("edits", "held", "position", "signed", "watcher")

    def __init__(self, watcher: TextWatcher | JsonWatcher, *, signed: bool) -> None:
        self.watcher = watcher
        self.signed = signed
        self.held: deque[_Held] = deque()
        self.edits: deque[Edit] = deque()
        self.position = 0


class StreamGuard:
    """One per streamed answer. scanner None = nothing is inspected, events pass.

    feed/close raise Blocked when a finding's action is block; `released` tells whether any bytes had been passed on.
    """

    def __init__(self, scanner: Scanner | None, team: str | None, exchange: Exchange | None = None) -> None:
        self.findings: list[Finding] = []
        self.bytes_checked = 0
        self.changed = False
        self.released = False
        self._scanner = scanner
        self._team = team
        self._exchange = exchange
        self._blocks: dict[int, _Block] = {}

    @property
    def restored(self) -> int:
        """How many tokens were replaced by the values they stand for."""
        return self._exchange.restored if self._exchange is not None else 0

    def feed(self, event: bytes) -> bytes:
        """One complete raw event with its blank line -> the bytes to pass on now (none or several events)."""
        out = self._feed(event) if self._scanner is not None else event
        if out:
            self.released = True
        return out

    def close(self) -> bytes:
        """The end of the stream: everything still held."""
        out = self._finish_all()
        if out:
            self.released = True
        return out

    def _feed(self, event: bytes) -> bytes:
        if _DELTA_MARK not in event:
            if not self._blocks:
                return event
            if _STOP in event:
                parsed = _parsed(event)
                return (self._finish_all() if parsed is None else self._finish(parsed.index)) + event
            return self._finish_all() + event if any(mark in event for mark in _ENDS) else event
        parsed = _parsed(event)
        delta = parsed.delta if parsed is not None else None
        if parsed is None or delta is None:
            return event
        if delta.text is not None:
            return self._text(event, parsed.index, "text", delta.text)
        if delta.partial_json is not None:
            return self._text(event, parsed.index, "partial_json", delta.partial_json)
        if delta.thinking is not None:
            return self._text(event, parsed.index, "thinking", delta.thinking)
        return event

    def _text(self, event: bytes, index: int, name: str, text: str) -> bytes:
        block = self._blocks.get(index)
        if block is None:
            block = self._blocks[index] = _Block(self._watcher(name), signed=name == "thinking")
        self.bytes_checked += len(text)
        safe = block.watcher.feed(text)
        if block.signed:
            self._report(block)
            return event
        start = block.position
        block.position = end = start + len(text)
        if end <= safe and not block.held and not block.watcher.found and not block.edits:
            return event
        block.held.append(_Held(event, start, end, name, text))
        return self._emit(block, safe)

    def _watcher(self, name: str) -> TextWatcher | JsonWatcher:
        assert self._scanner is not None
        exchange = self._exchange
        if name == "partial_json":
            return JsonWatcher(self._scanner, self._team, exchange=exchange)
        return TextWatcher(self._scanner, self._team, exchange=None if name == "thinking" else exchange)

    def _finish(self, index: int) -> bytes:
        block = self._blocks.pop(index, None)
        return b"" if block is None else self._emit(block, block.watcher.close())

    def _finish_all(self) -> bytes:
        return b"".join([self._finish(index) for index in list(self._blocks)])

    def _report(self, block: _Block) -> None:
        """Collect what the watcher found; raises Blocked."""
        watcher = block.watcher
        if not watcher.found:
            return
        found, watcher.found = watcher.found, []
        blocking = [finding for finding in found if finding.action is Action.BLOCK]
        if block.signed:
            found = [
                msgspec.structs.replace(finding, action=Action.ALERT) if finding.action in _CHANGING else finding
                for finding in found
            ]
            watcher.edits.clear()
        self.findings += found
        if blocking:
            assert self._scanner is not None
            raise Blocked(blocked_output(blocking, self._scanner.label), blocking, rule=blocking[0].rule)

    def _emit(self, block: _Block, safe: int) -> bytes:
        self._report(block)
        watcher = block.watcher
        if watcher.edits:
            block.edits += watcher.edits
            watcher.edits.clear()
        held, edits = block.held, block.edits
        out: list[bytes] = []
        while held and held[0].end <= safe:
            item = held.popleft()
            while edits and edits[0][1] <= item.start:
                edits.popleft()
            if edits and edits[0][0] < item.end:
                self.changed = True
                out.append(_rewritten(item, edits))
            else:
                out.append(item.event)
        return b"".join(out)


_CHANGING = frozenset({Action.REDACT, Action.MASK, Action.TOKENISE})


def _parsed(event: bytes) -> _Event | None:
    """The JSON of an event; None when nobody can read it (the client sees the same bytes)."""
    data = event.find(b"data:")
    if data < 0:
        return None
    try:
        return _DECODER.decode(event[data + 5 :])
    except UnicodeDecodeError:
        return _parsed(event.decode("utf-8", "replace").encode())
    except (msgspec.DecodeError, RecursionError):
        return None


def _rewritten(item: _Held, edits: deque[Edit]) -> bytes:
    """The event with the edits that touch its text applied; a replacement stands where its value began."""
    pieces: list[str] = []
    position = item.start
    for begin, stop, new in edits:
        if begin >= item.end:
            break
        pieces.append(item.text[position - item.start : max(begin, position) - item.start])
        if begin >= item.start:
            pieces.append(new)
        position = min(stop, item.end)
    pieces.append(item.text[position - item.start :])
    return _with_text(item, "".join(pieces))


def _with_text(item: _Held, new: str) -> bytes:
    decoded = item.event.decode("utf-8", "surrogateescape")
    at = decoded.rindex(f'"{item.name}"', decoded.index('"delta"')) + len(item.name) + 2
    opening = decoded.index('"', at) + 1
    _, closing = scan_string(decoded, opening, False)
    literal = msgspec.json.encode(new).decode()
    return (decoded[: opening - 1] + literal + decoded[closing:]).encode("utf-8", "surrogateescape")
