"""Watches one streamed answer: server-sent events in, the events that may be passed on out.

Whole events are held, only while their text can still grow into a value; an answer with no finding passes byte for
byte. Text that streams in is watched as one text (watcher.py, watcher_json.py), everything else in an event as it
stands. A thinking block is signed: its own text is kept for the upstream, the caller gets the redacted one.
Above: guard.py, gateway.
"""

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
from ai_platform.protection.held import Block, Held
from ai_platform.protection.joining import Run
from ai_platform.protection.literals import shown_key
from ai_platform.protection.located import Inspected, splice
from ai_platform.protection.rewriting import edits_of, settled
from ai_platform.protection.scanner import TooManyValues
from ai_platform.protection.tokens import SAID, TooManyTokensError, tokens_in
from ai_platform.protection.watcher import TextWatcher
from ai_platform.protection.watcher_json import JsonWatcher
from ai_platform.protection.wording import blocked_output

_DELTA = b"content_block_delta"
_ENDS = frozenset({"content_block_stop", "message_delta", "message_stop", "error"})
_PINGS = frozenset({b'event: ping\ndata: {"type": "ping"}\n\n', b'event: ping\ndata: {"type":"ping"}\n\n'})
_TYPES = frozenset({"text_delta", "thinking_delta", "input_json_delta", "signature_delta"})
_END_OF_BLOCK = frozenset({"type", "index"})
_MOST_BLOCKS = 10_000
"""No answer has more; a greater number is read as whatever it may be."""


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
        self._blocks: dict[tuple[int | str, str], Block] = {}
        self._tools: dict[int | str, str] = {}
        self._run = Run()

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
        and passed on as it was read, unless all read the same in it.
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
        if drop_others(members, name) or not sse.is_certain(event):
            event = sse.with_data(event, sse.written(document))
        if name:
            event = self._whole(event, skip=f"delta.{name}")
            return self._text(event, index, name, members[name])
        event, signature = self._whole(event), members.get("signature")
        return self._signature(event, index, signature) if isinstance(signature, str) else self._in_place(event, index)

    def _other(self, event: bytes) -> bytes:
        """Everything but deltas."""
        if event in _PINGS:
            return self._pause() + event
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
            out = self._beside(index_of(document)) + self._finish(index_of(document))
            if not self._run.waits:
                return out + event
            self._run.stay(event)
            return out
        passed = self._whole(event)
        return (self._finish_all() if kind in _ENDS else self._pause()) + passed

    def _start(self, event: bytes, document: dict[str, Any]) -> bytes:
        block, index = document.get("content_block"), index_of(document)
        if not isinstance(block, dict):
            return self._whole(event)
        if block.get("type") == "tool_use" and isinstance(block.get("name"), str):
            self._tools[index] = block["name"]
        if block.get("type") not in SAID:
            self._shown(event)
        name = next((name for name in STREAMED if isinstance(block.get(name), str) and block[name]), "")
        before = b"" if block.get("type") == "text" else self._pause()
        if not name:
            return before + self._in_place(self._whole(event), index)
        if drop_others(block, name) or not sse.is_certain(event):
            event = sse.with_data(event, sse.written(document))
        event = self._whole(event, skip=f"content_block.{name}")
        return before + self._text(event, index, name, block[name], inside="content_block")

    def _shown(self, event: bytes) -> None:
        """A result that the model was shown in the middle of its answer: what it holds is not put back in arguments."""
        if self.exchange is not None and self.exchange.holds:
            try:
                self.exchange.brought(token for _, token in tokens_in(event))
            except TooManyTokensError:
                self.exchange.restore_nothing()

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
        """Pass the event on behind those of its block, or before it, that are held."""
        out = self._beside(index)
        for (of, _), block in self._blocks.items():
            if of == index and block.held:
                block.stay(event)
                return out
        if self._run.waits:
            self._run.stay(event)
            return out
        return out + event

    def _text(self, event: bytes, index: int | str, name: str, text: str, *, inside: str = "delta") -> bytes:
        block = self._blocks.get((index, name))
        out = b""
        if block is None:
            out = self._beside(index) + (b"" if name == "text" else self._pause())
            block = self._block(index, name)
        self.bytes_checked += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        safe = block.watcher.feed(text)
        if self._run.chains and self._run.current is block:
            safe = min(safe, self._run.feed(text))
            out += self._joined()
        start = block.position
        block.position = end = start + len(text)
        if block.signed:
            block.original.append(text)
        if end <= safe and not block.held and not block.watcher.found and not block.edits and not block.watcher.edits:
            return out + event
        block.held.append(Held(event, start, end, name, text, inside))
        return out + self._emit(block, safe)

    def _block(self, index: int | str, name: str) -> Block:
        assert self._inspector is not None
        scanner, exchange = self._inspector.scanner, self.exchange
        if name == "partial_json":
            watcher = JsonWatcher(scanner, self._team, exchange=exchange, tool=self._tools.get(index, ""))
        else:
            tool = None if name in STREAMED else ""
            watcher = TextWatcher(scanner, self._team, exchange=exchange, tool=tool, signed=name == "thinking")
        place = index if isinstance(index, int) and index < _MOST_BLOCKS else shown_key(str(index))
        path = f"content[{place}].{'input' if name == 'partial_json' else shown_key(name)}"
        block = self._blocks[index, name] = Block(watcher, path, signed=name == "thinking")
        if name == "text":
            self._run.begin(block)
        return block

    def _finish(self, index: int | str) -> bytes:
        return b"".join([self._ended(key) for key in list(self._blocks) if key[0] == index])

    def _finish_all(self) -> bytes:
        out = [self._ended(key) for key in list(self._blocks)]
        out.append(self._pause())
        self._run = Run()
        return b"".join(out)

    def _ended(self, key: tuple[int | str, str]) -> bytes:
        block = self._blocks.pop(key)
        if self._run.current is block:
            self._run.end(block)
            block.watcher.close()
            self._collect(block)
            return self._let_out() if self._blocks else self._joined()
        out = self._emit(block, block.watcher.close())
        if block.changed and block.signature and self.exchange is not None:
            self.exchange.keep_thinking(block.signature, "".join(block.original))
        return out

    def _pause(self) -> bytes:
        """What comes is no text of the next block: let out what waits for that."""
        return self._let_out() if self._run.waits and self._run.current is None else b""

    def _beside(self, index: int | str) -> bytes:
        """What comes is of this block: one that is open beside a text does not wait for what stands before that."""
        current = self._run.current
        if not self._run.waits or current is None or self._blocks.get((index, "text")) is current:
            return b""
        return self._let_out()

    def _let_out(self) -> bytes:
        """All that waits, taken as if the text could end here."""
        self._run.settle()
        self._run.decide()
        return self._joined(everything=True)

    def _joined(self, *, everything: bool = False) -> bytes:
        """Of blocks that have ended what may be passed on."""
        if self._run.found:
            found, self._run.found = self._run.found, []
            self._note(found, found)
        out, changed = self._run.release(everything=everything)
        self.changed |= changed
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

    def _collect(self, block: Block) -> None:
        """Take over what the watcher has decided on."""
        watcher = block.watcher
        if watcher.found:
            found = [msgspec.structs.replace(finding, path=block.path) for finding in watcher.found]
            watcher.found = []
            self._note(found, found)
        if watcher.edits:
            block.edits += watcher.edits
            watcher.edits.clear()

    def _emit(self, block: Block, safe: int) -> bytes:
        self._collect(block)
        out = block.release(safe)
        self.changed |= block.changed
        return out


def _last(steps: Iterable[Inspected | None]) -> Inspected:
    *_, result = steps
    assert result is not None
    return result
