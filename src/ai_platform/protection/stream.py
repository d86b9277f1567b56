"""Watches one streamed answer: server-sent events in, the events that may be passed on out.

Whole events are held, only while their text can still grow into a value; an answer with no finding passes byte for
byte. Text that streams in is watched as one text (watcher.py, watcher_json.py), everything else in an event as it
stands. A thinking block is signed: its own text is kept for the upstream, the caller gets the redacted one.
Above: guard.py, gateway.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Blocked, Refused
from ai_platform.domain.finding import Action, Direction, Finding
from ai_platform.protection import sse
from ai_platform.protection.actions import REWRITING
from ai_platform.protection.body import BodyInspector
from ai_platform.protection.deltas import STREAMED, decode, drop_others, index_of, streamed, texts_in
from ai_platform.protection.exchange import Exchange
from ai_platform.protection.literals import shown_key
from ai_platform.protection.located import Inspected, splice
from ai_platform.protection.rewriting import edits_of, settled
from ai_platform.protection.scanner import TooManyValues
from ai_platform.protection.watcher import Edit, TextWatcher
from ai_platform.protection.watcher_json import JsonWatcher
from ai_platform.protection.wording import blocked_output

_DELTA = b"content_block_delta"
_ENDS = frozenset({"content_block_stop", "message_delta", "message_stop", "error"})
_PINGS = frozenset({b'event: ping\ndata: {"type": "ping"}\n\n', b'event: ping\ndata: {"type":"ping"}\n\n'})
_TYPES = frozenset({"text_delta", "thinking_delta", "input_json_delta", "signature_delta"})
_END_OF_BLOCK = frozenset({"type", "index"})
_MOST_BLOCKS = 10_000
"""No answer has more; a greater number is read as whatever it may be."""


class _Held(msgspec.Struct, gc=False):
    """An event whose text stands at [start, end) of its block, in the member `name` of `inside`; or, without a name,
    one that only keeps its place.
    """

    event: bytes
    start: int
    end: int
    name: str = ""
    text: str = ""
    inside: str = "delta"


class _Block:
    """One text that streams in: its watcher, the events not yet passed on, and the edits that still concern them.

    original, signature: of a thinking block.
    """

    __slots__ = ("changed", "edits", "held", "original", "path", "position", "signature", "signed", "watcher")

    def __init__(self, watcher: TextWatcher | JsonWatcher, path: str, *, signed: bool) -> None:
        self.watcher = watcher
        self.path = path
        self.signed = signed
        self.held: deque[_Held] = deque()
        self.edits: deque[Edit] = deque()
        self.position = 0
        self.changed = False
        self.original: list[str] = []
        self.signature = ""


class StreamGuard:
    """One per streamed answer. inspector None = nothing is inspected, events pass.

    feed/close raise Blocked when a finding's action is block; `released` tells whether any bytes had been passed on.
    is_news: told each finding; the findings that it says yes to are `news`.
    """

    def __init__(
        self,
        inspector: BodyInspector | None,
        team: str | None,
        exchange: Exchange | None = None,
        is_news: Callable[[Finding], bool] = lambda _: False,
    ) -> None:
        self.findings: list[Finding] = []
        self.news: list[Finding] = []
        self.bytes_checked = 0
        self.bytes_unchecked = 0
        self.changed = False
        self.released = False
        self.exchange = exchange
        self._inspector = inspector
        self._team = team
        self._is_news = is_news
        self._blocks: dict[tuple[int | str, str], _Block] = {}
        self._tools: dict[int | str, str] = {}

    @property
    def restored(self) -> int:
        """How many tokens were replaced by the values they stand for."""
        return self.exchange.restored.total() if self.exchange is not None else 0

    def feed(self, event: bytes) -> bytes:
        """One complete raw event with its blank line -> the bytes to pass on now (none or several events)."""
        if self._inspector is None:
            self.bytes_unchecked += len(event)
            out = event
        else:
            if not sse.is_bare(event):
                event = self._bare(event)
            out = self._delta(event) if _DELTA in event else self._other(event)
        if out:
            self.released = True
        return out

    def close(self) -> bytes:
        """The end of the stream: everything still held."""
        out = self._finish_all()
        if out:
            self.released = True
        return out

    def _delta(self, event: bytes) -> bytes:
        """The usual: one member that streams in, as the Messages API writes it."""
        at = event.find(b"data:")
        if (at > 0 and event[at - 1] not in b"\r\n") or (b"\r" in event and b"\r" in event.replace(b"\r\n", b"")):
            return self._unusual(event)
        try:
            parsed = decode(event[at + 5 :])
        except (ValueError, RecursionError):
            return self._unusual(event)
        delta = parsed.delta
        if delta is None or parsed.type != "content_block_delta" or event.count(b'"delta"') != 1:
            return self._unusual(event)
        if delta.type not in _TYPES or not 0 <= parsed.index < _MOST_BLOCKS:
            return self._unusual(event)
        if delta.text is not None:
            name, text = "text", delta.text
        elif delta.partial_json is not None:
            name, text = "partial_json", delta.partial_json
        elif delta.thinking is not None:
            name, text = "thinking", delta.thinking
        elif delta.signature is not None:
            return self._signature(event, parsed.index, delta.signature)
        else:
            return self._unusual(event)
        if event.count(f'"{name}"'.encode()) != 1 or texts_in(delta) != 1:
            return self._unusual(event)
        return self._text(event, parsed.index, name, text)

    def _unusual(self, event: bytes) -> bytes:
        """A delta that is written otherwise, or of a kind that is not known: read as the most forgiving client does,
        and passed on as it was read.
        """
        document = sse.read(sse.data_of(event))
        if document is None and b"\r" in event:  # which is white space to whoever ends lines with a line feed only
            event = event.replace(b"\r", b" ")
            document = sse.read(sse.data_of(event))
        if document is None or document.get("type") != "content_block_delta":
            return self._other(event)
        index, delta = index_of(document), document.get("delta")
        members: dict[str, Any] = delta if isinstance(delta, dict) else {}
        name = streamed(members)
        drop_others(members, name)
        event = sse.with_data(event, sse.written(document))
        if name:
            event = self._whole(event, skip=f"delta.{name}")
            return self._text(event, index, name, members[name])
        event, signature = self._whole(event), members.get("signature")
        return self._signature(event, index, signature) if isinstance(signature, str) else self._in_place(event, index)

    def _other(self, event: bytes) -> bytes:
        """Everything but deltas."""
        if event in _PINGS:
            return event
        data = sse.data_of(event)
        document = sse.read(data)
        if document is None and data:
            return self._plain_text(event)
        document = document or {}
        kind = document.get("type")
        if kind == "content_block_delta":
            return self._unusual(event)
        if kind == "content_block_start":
            return self._start(event, document)
        if (
            kind == "content_block_stop"
            and document.keys() <= _END_OF_BLOCK
            and index_of(document) in range(_MOST_BLOCKS)
        ):
            return self._finish(index_of(document)) + event
        passed = self._whole(event)
        return self._finish_all() + passed if self._blocks and kind in _ENDS else passed

    def _start(self, event: bytes, document: dict[str, Any]) -> bytes:
        block, index = document.get("content_block"), index_of(document)
        if not isinstance(block, dict):
            return self._whole(event)
        if block.get("type") == "tool_use" and isinstance(block.get("name"), str):
            self._tools[index] = block["name"]
        name = next((name for name in STREAMED if isinstance(block.get(name), str) and block[name]), "")
        if not name:
            return self._in_place(self._whole(event), index)
        drop_others(block, name)
        event = sse.with_data(event, sse.written(document))
        event = self._whole(event, skip=f"content_block.{name}")
        return self._text(event, index, name, block[name], inside="content_block")

    def _whole(self, event: bytes, skip: str = "") -> bytes:
        """Inspect the strings of an event as they stand. skip: the path of the one that streams in."""
        assert self._inspector is not None
        data = sse.data_of(event)
        if not data:
            return self._plain_text(event)
        try:
            result = _last(self._inspector.whole(data, Direction.OUTPUT, self._team))
        except TooManyValues as error:  # fails closed
            raise Refused(Refusal.INSPECTION_FAILED, str(error), rule="protection.most_values") from None
        self.bytes_checked += result.bytes_checked
        self.bytes_unchecked += result.bytes_unchecked
        result.located = [item for item in result.located if not skip or item.finding.path != skip]
        if not result.located:
            return event
        self._note([settled(item) for item in result.located], block=[item.finding for item in result.located])
        edits = edits_of(result, self.exchange.token if self.exchange is not None else None)
        if not edits:
            return event
        self.changed = True
        return sse.with_data(event, splice(data, edits))

    def _plain_text(self, event: bytes) -> bytes:
        """Lines that are no JSON object. No client needs them, so what holds a value is left out."""
        assert self._inspector is not None
        text = event.decode("utf-8", "replace")
        self.bytes_checked += len(event)
        findings = self._inspector.scanner.scan(text, direction=Direction.OUTPUT, team=self._team)
        self._note(findings, block=findings)
        return b"" if any(finding.action in REWRITING for finding in findings) else event

    def _bare(self, event: bytes) -> bytes:
        """The event without the lines beside its data (comments, ids, its name) that hold a value."""
        return b"".join([line if sse.is_data(line) else self._plain_text(line) for line in sse.lines(event)])

    def _signature(self, event: bytes, index: int | str, signature: str) -> bytes:
        block = self._blocks.get((index, "thinking"))
        if block is not None:
            block.signature += signature
        return self._in_place(event, index)

    def _in_place(self, event: bytes, index: int | str) -> bytes:
        """Pass the event on behind those of its block that are held."""
        for (of, _), block in self._blocks.items():
            if of == index and block.held:
                block.held.append(_Held(event, block.position, block.position))
                return b""
        return event

    def _text(self, event: bytes, index: int | str, name: str, text: str, *, inside: str = "delta") -> bytes:
        block = self._blocks.get((index, name))
        if block is None:
            block = self._block(index, name)
        self.bytes_checked += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        safe = block.watcher.feed(text)
        start = block.position
        block.position = end = start + len(text)
        if block.signed:
            block.original.append(text)
        if end <= safe and not block.held and not block.watcher.found and not block.edits and not block.watcher.edits:
            return event
        block.held.append(_Held(event, start, end, name, text, inside))
        return self._emit(block, safe)

    def _block(self, index: int | str, name: str) -> _Block:
        assert self._inspector is not None
        scanner, exchange = self._inspector.scanner, self.exchange
        if name == "partial_json":
            watcher = JsonWatcher(scanner, self._team, exchange=exchange, tool=self._tools.get(index, ""))
        else:
            tool = None if name in STREAMED else ""
            watcher = TextWatcher(scanner, self._team, exchange=exchange, tool=tool, signed=name == "thinking")
        place = index if isinstance(index, int) and index < _MOST_BLOCKS else shown_key(str(index))
        path = f"content[{place}].{'input' if name == 'partial_json' else shown_key(name)}"
        block = self._blocks[index, name] = _Block(watcher, path, signed=name == "thinking")
        return block

    def _finish(self, index: int | str) -> bytes:
        return b"".join([self._ended(key) for key in list(self._blocks) if key[0] == index])

    def _finish_all(self) -> bytes:
        return b"".join([self._ended(key) for key in list(self._blocks)])

    def _ended(self, key: tuple[int | str, str]) -> bytes:
        block = self._blocks.pop(key)
        out = self._emit(block, block.watcher.close())
        if block.changed and block.signature and self.exchange is not None:
            self.exchange.keep_thinking(block.signature, "".join(block.original))
        return out

    def _note(self, findings: list[Finding], block: list[Finding]) -> None:
        """Collect findings; raises Blocked when one of `block` (the same before they were settled) says so."""
        assert self._inspector is not None
        findings = [finding for finding in findings if finding.action is not Action.ALLOW]
        self.findings += findings
        fresh = list(filter(self._is_news, findings))
        self.news += fresh
        blocking = [finding for finding in block if finding.action is Action.BLOCK]
        if blocking:
            raise Blocked(
                blocked_output(blocking, self._inspector.scanner.label),
                blocking,
                rule=blocking[0].rule,
                news=fresh,
                bytes_checked=self.bytes_checked,
            )

    def _emit(self, block: _Block, safe: int) -> bytes:
        watcher = block.watcher
        if watcher.found:
            found = [msgspec.structs.replace(finding, path=block.path) for finding in watcher.found]
            watcher.found = []
            self._note(found, found)
        if watcher.edits:
            block.edits += watcher.edits
            watcher.edits.clear()
        held, edits = block.held, block.edits
        out: list[bytes] = []
        while held and held[0].end <= safe:
            item = held.popleft()
            while edits and edits[0][1] <= item.start:
                edits.popleft()
            if item.name and edits and edits[0][0] < item.end:
                self.changed = block.changed = True
                out.append(_rewritten(item, edits))
            else:
                out.append(item.event)
        return b"".join(out)


def _last(steps: Iterable[Inspected | None]) -> Inspected:
    *_, result = steps
    assert result is not None
    return result


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
    document = sse.read(sse.data_of(item.event))
    if document is None:
        return b""  # nobody can read it, and it holds what must not leave
    document[item.inside][item.name] = "".join(pieces)
    return sse.with_data(item.event, sse.written(document))
