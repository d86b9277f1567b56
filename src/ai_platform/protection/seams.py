"""Values split over neighbouring text blocks of one message: `536-22-` at the end of one, `8491` at the start of the next.

Above: body.py. Below: scanner, leaves.
"""

from collections.abc import Iterator, Sequence

from ai_platform.protection.literals import decode
from ai_platform.protection.rule import Hit
from ai_platform.protection.scanner import Scanner

REACH = 64
"""How much of each block is joined, in characters."""

_JOINING = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_+/. ")
_LONGEST_ESCAPE = 12


def seams(parts: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """(segment, segment) of the texts of neighbouring blocks that could join to a value."""
    last = -1
    for index in range(3, len(parts), 2):
        if parts[index - 2] != b"text" or parts[index - 1].strip() != b":":
            continue
        if last > 0 and _neighbours(parts, last, index):
            yield last, index
        last = index


def _neighbours(parts: Sequence[bytes], first: int, second: int) -> bool:
    before, after = parts[first], parts[second]
    if not before or not after or before[-1] not in _JOINING or after[0] not in _JOINING:
        return False
    outside = b"".join(parts[first + 1 : second : 2])
    return b"]" not in outside and b"[" not in outside


def joined(scanner: Scanner, before: bytes, after: bytes) -> Iterator[tuple[Hit, int, str]]:
    """(hit, its offset in the first text, value) of what neither of the two raw texts holds alone.

    The hit's offsets count from the first text's start; what lies behind its end belongs to the second.
    """
    first = decode(before)
    tail = first[-REACH:]
    head = decode(after[: REACH * _LONGEST_ESCAPE])[:REACH]
    text = tail + head
    for hit in scanner.hits(text):
        if hit.start < len(tail) < hit.end and not hit.encoded:
            shift = len(first) - len(tail)
            value = text[hit.start : hit.end]
            yield Hit(hit.start + shift, hit.end + shift, hit.rule), len(first), value
