"""Inspection of a JSON body as raw bytes: leaves in, findings and where to splice out.

Knows the Messages API's shape only where something must not be touched. Above: sessions.py, guard.py. Below: leaves,
literals, scanner.
"""

import re
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec

from ai_platform.domain.finding import Direction, Finding
from ai_platform.protection.leaves import LONG_NUMBER, MEDIA, Leaf, key_before, lead_of
from ai_platform.protection.literals import Places, byte_offsets, decode, segments
from ai_platform.protection.rule import Hit
from ai_platform.protection.scanner import Scanner

_BLOCK = r"(?:requests\[\d+\]\.params\.)?(?:messages\[\d+\]\.)?content\[\d+\](?:\.content\[\d+\])?"
_FIXED = re.compile(
    rf"{_BLOCK}\.(?:type|id|tool_use_id|name|thinking|signature|data|encrypted_content|encrypted_index)"
    r"|(?:requests\[\d+\]\.params\.)?(?:model|metadata\.user_id|messages\[\d+\]\.role|tools\[\d+\]\.(?:name|type))"
    r"|requests\[\d+\]\.custom_id|id|type|role|stop_reason"
)
"""Signed, or referred to by identity: changing these breaks the call (thinking signatures, pairing of tool calls)."""

BILLING_HEADER = "x-anthropic-billing-header"
_MEMO_FROM = 64
_LEAST_MEDIA = 256
_MOST_DULL = 100_000


@dataclass(slots=True)
class Located:
    """A finding and where its value stands in the raw body (bytes). fixed: that place must not be changed.

    quoted: the value stands inside a string. index: its segment.
    """

    finding: Finding
    start: int
    end: int
    value: str
    fixed: bool
    quoted: bool
    index: int


@dataclass(slots=True)
class Inspected:
    """What is known of a body. starts[k]: byte offset of segment k; checked[k]: bytes inspected up to and with it."""

    body: bytes
    starts: "array[int]"
    checked: "array[int]"
    located: list[Located] = field(default_factory=list)
    unchecked: list[tuple[int, int]] = field(default_factory=list)

    @property
    def bytes_checked(self) -> int:
        return self.checked[-1] if self.checked else 0

    @property
    def bytes_unchecked(self) -> int:
        return sum(size for _, size in self.unchecked)

    @property
    def leaves(self) -> int:
        return len(self.starts) // 2


class Memo:
    """leaf -> its hits, keyed by content; bounded, least recently used first out."""

    def __init__(self, limit: int, key: bytes) -> None:
        self._limit = limit
        self._key = key[:64]
        self._known: OrderedDict[bytes, list[Hit]] = OrderedDict()

    def key(self, leaf: Leaf, version: bytes) -> bytes:
        digest = blake2b(leaf.raw, digest_size=16, key=self._key, person=version)
        digest.update(leaf.lead.encode("utf-8", "surrogateescape"))
        return digest.digest()

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
    """Inspects for one plan. The methods are generators of None that yield where other work may run."""

    def __init__(self, scanner: Scanner, memo: Memo) -> None:
        self.scanner = scanner
        self._memo = memo
        plan = scanner.plan
        told = repr((plan.patterns and sorted(plan.patterns), plan.custom, plan.allow))
        self._version = blake2b(told.encode(), digest_size=16).digest()
        self._dull: set[tuple[bytes, bytes]] = set()

    def whole(self, body: bytes, direction: Direction, team: str | None) -> Iterator[Inspected | None]:
        """None = a pause point; the last item is the result."""
        result = Inspected(body, array("q"), array("q"))
        yield from self.region(result, 0, len(body), direction, team)
        yield result

    def region(
        self, result: Inspected, begin: int, end: int, direction: Direction, team: str | None
    ) -> Iterator[None]:
        """Inspect body[begin:end], which starts and ends outside of strings, and add it to `result`."""
        body = result.body
        parts = segments(body if end - begin == len(body) else body[begin:end])
        yield None
        offset = len(result.starts)
        leaves = self._leaves(result, parts, begin, offset)
        yield None
        found: list[tuple[Leaf, list[Hit]]] = []
        fresh: list[Leaf] = []
        keys: list[bytes] = []
        for leaf in leaves:
            key = self._memo.key(leaf, self._version) if len(leaf.raw) >= _MEMO_FROM else b""
            known = self._memo.get(key) if key else None
            if known is None:
                fresh.append(leaf)
                keys.append(key)
            elif known:
                found.append((leaf, known))
        yield None
        hits: dict[int, list[Hit]] = {}
        for slot, some in self.scanner.sweep([leaf.read() for leaf in fresh]):
            if slot < 0:
                yield None
            else:
                hits[slot] = some
        for slot, key in enumerate(keys):
            if key:
                self._memo.put(key, hits.get(slot, []))
            elif slot not in hits:
                self._is_dull(fresh[slot])
        found += [(fresh[slot], some) for slot, some in hits.items()]
        if found:
            self._locate(result, found, parts if not offset else None, direction, team)

    def _is_dull(self, leaf: Leaf) -> None:
        """Short strings that hold nothing come again and again (`"type"`, `"text"`): remember them as they are."""
        if len(self._dull) >= _MOST_DULL:
            self._dull.clear()
        if leaf.quoted:
            self._dull.add((leaf.raw, leaf.key))

    def _leaves(self, result: Inspected, parts: Sequence[bytes], begin: int, offset: int) -> list[Leaf]:
        body, position = result.body, begin
        checked = result.checked[-1] if result.checked else 0
        starts, sums = result.starts, result.checked
        leads: dict[tuple[bytes, bool], str] = {}
        leaves: list[Leaf] = []
        dull = self._dull
        for index, part in enumerate(parts):
            size = len(part)
            starts.append(position)
            if index & 1:
                if size < _MEMO_FROM and (part, key_before(parts, index)) in dull:
                    checked += size
                elif size >= _LEAST_MEDIA and parts[index - 2] == b"data" and MEDIA.match(part):
                    result.unchecked.append((offset + index, size))
                elif size:
                    checked += size
                    raw = body[position : position + size] if b"\1" in part else part
                    key = key_before(parts, index)
                    leaves.append(Leaf(offset + index, position, raw, _lead(leads, key, quoted=True), key))
            elif size > 9:
                for number in LONG_NUMBER.finditer(part):
                    key = key_before(parts, index)
                    place = position + number.start()
                    lead = _lead(leads, key, quoted=False)
                    leaves.append(Leaf(offset + index, place, number.group(), lead, key, quoted=False))
            sums.append(checked)
            position += size + 1
        return leaves

    def _locate(
        self,
        result: Inspected,
        found: list[tuple[Leaf, list[Hit]]],
        parts: Sequence[bytes] | None,
        direction: Direction,
        team: str | None,
    ) -> None:
        found.sort(key=lambda pair: pair[0].start)
        places = Places(parts if parts is not None else segments(result.body), [leaf.index for leaf, _ in found])
        scanner = self.scanner
        for leaf, hits in found:
            path = places.path(leaf.index)
            text = leaf.read()
            skip = len(leaf.lead)
            last = len(text) - (1 if skip and leaf.quoted else 0)
            fixed = not places.is_key(leaf.index) and is_fixed(path, leaf.raw)
            settled = scanner.settle([hit for hit in hits if hit.start >= skip and hit.start < last], direction, team)
            wanted = [offset - skip for hit in settled for offset in (hit.start, min(hit.end, last))]
            offsets = byte_offsets(leaf.raw, wanted)
            for hit, start, end in zip(settled, offsets[::2], offsets[1::2], strict=True):
                finding = scanner.finding(text, Hit(hit.start, min(hit.end, last), hit.rule), direction, team, path)
                finding = msgspec.structs.replace(finding, start=finding.start - skip, end=finding.end - skip)
                value = text[hit.start : min(hit.end, last)]
                place = (leaf.start + start, leaf.start + end)
                result.located.append(Located(finding, *place, value, fixed, leaf.quoted, leaf.index))


def _lead(leads: dict[tuple[bytes, bool], str], key: bytes, *, quoted: bool) -> str:
    if not key:
        return ""
    lead = leads.get((key, quoted))
    if lead is None:
        lead = leads[key, quoted] = lead_of(decode(key), quoted=quoted)
    return lead


def is_fixed(path: str, raw: bytes) -> bool:
    """Must the value at `path` stay as it is?"""
    return _FIXED.fullmatch(path) is not None or (
        path.startswith("system") and raw.startswith(BILLING_HEADER.encode())
    )


def splice(body: bytes, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    """`body` with byte ranges replaced (ascending, non-overlapping)."""
    pieces: list[bytes] = []
    position = 0
    for start, end, new in edits:
        pieces.append(body[position:start])
        pieces.append(new)
        position = end
    pieces.append(body[position:])
    return b"".join(pieces)
