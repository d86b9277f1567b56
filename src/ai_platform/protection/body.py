"""Inspection of a JSON body as raw bytes: literals in, findings and splices out. Knows the Messages API's shape only
where something must not be touched. Above: guard.py. Below: literals, scanner.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from ai_platform.domain.finding import Direction, Finding
from ai_platform.protection.literals import Places, byte_offsets, decode, segments
from ai_platform.protection.rule import Hit
from ai_platform.protection.scanner import Scanner

_FIXED = re.compile(
    r"(?:^|\.)(?:thinking|signature|encrypted_content|encrypted_index|tool_use_id|model|role)$"
    r"|content\[\d+\]\.(?:data|id)$|^metadata\.user_id$|^type$|\.type$|^tools\[\d+\]\.name$"
)
"""Signed or referenced by identity: changing these breaks the call (thinking signatures, tool pairing)."""

BILLING_HEADER = "x-anthropic-billing-header"
_MEDIA = re.compile(rb"(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR|JVBERi0)[A-Za-z0-9+/=]*\Z")
_MEMO_FROM = 64


@dataclass(slots=True)
class Located:
    """A finding and where its value stands in the raw body. fixed: the place must not be changed."""

    finding: Finding
    start: int
    end: int
    value: str
    fixed: bool


@dataclass(slots=True)
class Inspected:
    located: list[Located] = field(default_factory=list)
    bytes_checked: int = 0
    bytes_unchecked: int = 0
    leaves: int = 0


class Memo:
    """literal -> its hits, keyed by content; bounded, least recently used first out."""

    def __init__(self, limit: int, key: bytes) -> None:
        self._limit = limit
        self._key = key[:64]
        self._known: OrderedDict[bytes, list[Hit]] = OrderedDict()

    def key(self, raw: bytes, version: bytes) -> bytes:
        return blake2b(raw, digest_size=16, key=self._key, person=version).digest()

    def get(self, key: bytes) -> list[Hit] | None:
        hits = self._known.get(key)
        if hits is not None:
            self._known.move_to_end(key)
        return hits

    def put(self, key: bytes, hits: list[Hit]) -> None:
        self._known[key] = hits
        if len(self._known) > self._limit:
            self._known.popitem(last=False)


class BodyInspector:
    """steps() is a generator that yields where other work may run, and returns the result."""

    def __init__(self, scanner: Scanner, memo: Memo) -> None:
        self.scanner = scanner
        self.memo = memo
        self._version = blake2b(repr(scanner.plan.patterns).encode(), digest_size=16).digest()

    def steps(self, body: bytes, direction: Direction, team: str | None) -> Iterator[Inspected | None]:
        """None = a pause point; the last item is the result."""
        parts = segments(body)
        result = Inspected()
        starts = _starts(parts)
        found: dict[int, list[Hit]] = {}
        texts: list[str] = []
        indices: list[int] = []
        keys: list[bytes | None] = []
        for index in range(1, len(parts), 2):
            size = len(parts[index])
            result.leaves += 1
            if not size:
                continue
            raw = body[starts[index] : starts[index] + size]
            if size > 1024 and parts[index - 2] == b"data" and _MEDIA.match(raw):
                result.bytes_unchecked += size
                continue
            result.bytes_checked += size
            key = None
            if size >= _MEMO_FROM:
                key = self.memo.key(raw, self._version)
                known = self.memo.get(key)
                if known is not None:
                    if known:
                        found[index] = known
                    continue
            texts.append(decode(raw))
            indices.append(index)
            keys.append(key)
        yield None
        fresh: dict[int, list[Hit]] = {}
        for slot, hits in self.scanner.sweep(texts):
            if slot < 0:
                yield None
            else:
                fresh[slot] = hits
        for slot, key in enumerate(keys):
            if key is not None:
                self.memo.put(key, fresh.get(slot, []))
        for slot, hits in fresh.items():
            found[indices[slot]] = hits
        if found:
            result.located = self._locate(body, parts, starts, found, direction, team)
        yield result

    def _locate(
        self,
        body: bytes,
        parts: Sequence[bytes],
        starts: Sequence[int],
        found: dict[int, list[Hit]],
        direction: Direction,
        team: str | None,
    ) -> list[Located]:
        places = Places(parts, found)
        located: list[Located] = []
        for index in sorted(found):
            raw = body[starts[index] : starts[index] + len(parts[index])]
            text = decode(raw)
            path = places.path(index)
            fixed = not places.is_key(index) and _is_fixed(path, text)
            hits = self.scanner.settle(found[index], direction, team)
            offsets = byte_offsets(raw, [offset for hit in hits for offset in (hit.start, hit.end)])
            for hit, start, end in zip(hits, offsets[::2], offsets[1::2], strict=True):
                finding = self.scanner.finding(text, hit, direction, team, path)
                value = text[hit.start : hit.end]
                located.append(Located(finding, starts[index] + start, starts[index] + end, value, fixed))
        return located


def _is_fixed(path: str, text: str) -> bool:
    return _FIXED.search(path) is not None or (path.startswith("system") and text.startswith(BILLING_HEADER))


def _starts(parts: Sequence[bytes]) -> list[int]:
    position = 0
    starts: list[int] = []
    for part in parts:
        starts.append(position)
        position += len(part) + 1
    return starts


def splice(body: bytes, edits: Sequence[tuple[int, int, str]]) -> bytes:
    """`body` with the byte ranges replaced (ascending, non-overlapping, already free of JSON's special characters)."""
    pieces: list[bytes] = []
    position = 0
    for start, end, text in edits:
        pieces.append(body[position:start])
        pieces.append(text.encode("utf-8", "surrogateescape"))
        position = end
    pieces.append(body[position:])
    return b"".join(pieces)
