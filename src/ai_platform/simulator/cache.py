"""The prompt cache by the published rules: what a request reads, what it writes, and when that becomes readable.

A marker writes one entry: the hash of the prefix that ends there. A marker finds an entry at itself or at one of the
19 blocks before it. Read(A) + 1h write(B - A) + 5m write(C - B): A = highest hit, B = last 1h marker, C = last marker.
A hit renews its entry (with the lifetime it was written with) at no cost. Entries are per key, model and speed.
Source: platform.claude.com "Prompt caching" (see docs/simulator.md for the cases the page leaves open).
"""

from collections import OrderedDict

import msgspec

from ai_platform.simulator.layout import Block
from ai_platform.simulator.tokens import tokens

LOOK_BACK = 20
LIFETIMES: dict[str, float] = {"5m": 300.0, "1h": 3600.0}

Scope = tuple[str, str, str]
"""(key, model, speed)"""


class Split(msgspec.Struct, frozen=True):
    """Input tokens by price class; their sum is what count_tokens says."""

    fresh: int = 0
    read: int = 0
    write_5m: int = 0
    write_1h: int = 0

    @property
    def total(self) -> int:
        return self.fresh + self.read + self.write_5m + self.write_1h


class _Entry:
    __slots__ = ("expires", "lifetime")

    def __init__(self, lifetime: float, expires: float) -> None:
        self.lifetime = lifetime
        self.expires = expires


class Plan(msgspec.Struct, frozen=True):
    """What a request will be billed, and the entries it leaves when its response starts."""

    split: Split
    scope: Scope
    renewed: list[bytes]
    written: list[tuple[bytes, str]]


class PromptCache:
    """capacity: entries kept; the least recently used go first."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[tuple[Scope, bytes], _Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        self._entries.clear()

    def plan(self, scope: Scope, blocks: list[Block], *, tokenizer: int, minimum: int, now: float) -> Plan:
        """Look up; nothing changes until `commit`."""
        total = tokens(blocks[-1].end, tokenizer) if blocks else 0
        marks = [
            index
            for index, block in enumerate(blocks)
            if block.ttl is not None and tokens(block.end, tokenizer) >= minimum
        ]
        hit = self._highest_hit(scope, blocks, marks, now)
        read = tokens(blocks[hit].end, tokenizer) if hit is not None else 0
        last_1h = max((index for index in marks if blocks[index].ttl == "1h"), default=None)
        long_end = max(read, tokens(blocks[last_1h].end, tokenizer)) if last_1h is not None else read
        short_end = max(long_end, tokens(blocks[marks[-1]].end, tokenizer)) if marks else read
        renewed = [blocks[hit].digest] if hit is not None else []
        written: list[tuple[bytes, str]] = []
        for index in marks:
            if self._live(scope, blocks[index].digest, now) is None:
                written.append((blocks[index].digest, blocks[index].ttl or "5m"))
            elif index != hit:
                renewed.append(blocks[index].digest)
        split = Split(total - short_end, read, short_end - long_end, long_end - read)
        return Plan(split, scope, renewed, written)

    def commit(self, plan: Plan, now: float) -> None:
        """The response has started: renew what was hit, make readable what was written."""
        for digest in plan.renewed:
            entry = self._entries.get((plan.scope, digest))
            if entry is not None:
                entry.expires = now + entry.lifetime
                self._entries.move_to_end((plan.scope, digest))
        for digest, ttl in plan.written:
            lifetime = LIFETIMES[ttl]
            self._entries[(plan.scope, digest)] = _Entry(lifetime, now + lifetime)
            self._entries.move_to_end((plan.scope, digest))
        while len(self._entries) > self._capacity:
            self._entries.popitem(last=False)

    def _live(self, scope: Scope, digest: bytes, now: float) -> _Entry | None:
        entry = self._entries.get((scope, digest))
        return entry if entry is not None and entry.expires > now else None

    def _highest_hit(self, scope: Scope, blocks: list[Block], marks: list[int], now: float) -> int | None:
        """Index of the furthest block that some marker can read, None without a hit."""
        best: int | None = None
        for mark in reversed(marks):
            if best is not None and mark <= best:
                break
            for index in range(mark, max(mark - LOOK_BACK, -1), -1):
                if best is not None and index <= best:
                    break
                if self._live(scope, blocks[index].digest, now) is not None:
                    best = index
                    break
        return best
