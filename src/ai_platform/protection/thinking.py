"""Signed thinking: the caller gets it redacted, the upstream gets it back as it was signed.

The upstream refuses a thinking block that was changed. So the original is kept (encrypted, see vault.py) under its
signature when an answer holds a value, and put back when the block comes again in a later request.
Above: guard.py. Below: exchange.py, literals.py.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import msgspec

from ai_platform.domain.finding import Action
from ai_platform.protection.actions import REWRITING
from ai_platform.protection.exchange import Exchange
from ai_platform.protection.fixed import Fixed
from ai_platform.protection.literals import decode, segments
from ai_platform.protection.located import Inspected
from ai_platform.protection.replace import MARK, as_json


def is_redacted(result: Inspected) -> bool:
    """May the body hold thinking that was redacted?"""
    return result.marked and b'"thinking"' in result.body


async def signed_again(body: bytes, exchange: Exchange) -> list[tuple[int, int, bytes]]:
    """What has to be put where in a request, so that its redacted thinking is as it was signed."""
    found = [block for block in _blocks(body) if MARK in body[block[0] : block[1]]]
    await exchange.recall_thinking(signature for _, _, signature in found)
    edits: list[tuple[int, int, bytes]] = []
    for start, end, signature in found:
        original = exchange.thinking(signature)
        if original is not None:
            edits.append((start, end, as_json(original).encode()))
    return edits


def release_thinking(result: Inspected, exchange: Exchange) -> None:
    """Values in the thinking of an answer may be redacted after all: the signed text is kept."""
    changed = [
        item
        for item in result.located
        if item.fixed is Fixed.SIGNED and item.finding.path.endswith(".thinking") and item.finding.action in REWRITING
    ]
    if not changed:
        return
    for item in changed:
        item.fixed = Fixed.FREE
        if item.finding.action in {Action.MASK, Action.TOKENISE}:
            item.finding = msgspec.structs.replace(item.finding, action=Action.REDACT)
    for start, end, signature in _blocks(result.body):
        if any(start <= item.start < end for item in changed):
            exchange.keep_thinking(signature, decode(result.body[start:end]))


def _blocks(body: bytes) -> Iterator[tuple[int, int, str]]:
    """(start and end of the thinking's text in the raw body, its signature)."""
    parts = segments(body)
    starts = list(accumulate((len(part) + 1 for part in parts), initial=0))
    for index in range(3, len(parts), 2):
        if parts[index - 2] == b"thinking" and parts[index - 1].strip() == b":":
            signed = _beside(parts, index, range(index + 2, len(parts), 2)) or _beside(
                parts, index, range(index - 4, 0, -2)
            )
            if signed:
                raw = body[starts[signed] : starts[signed] + len(parts[signed])]
                yield starts[index], starts[index] + len(parts[index]), decode(raw)


def _beside(parts: Sequence[bytes], index: int, keys: range) -> int:
    """The segment of the signature in the same object, 0 when there is none. keys: where to look, going outwards."""
    last = index
    for key in keys:
        between = b"".join(parts[min(last, key) + 1 : max(last, key) : 2])
        if any(char in between for char in b"{}[]"):
            return 0
        if parts[key] == b"signature" and key + 2 < len(parts) and parts[key + 1].strip() == b":":
            return key + 2
        last = key
    return 0
