"""Bodies that are not JSON: plain text, and multipart uploads, of which everything but the separators is inspected.

Above: guard.py. Below: body.py (the shape of the result), scanner. A part that is not text is counted as unchecked.
"""

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from ai_platform.domain.finding import Direction
from ai_platform.protection.coding import coding_of, errors_of, text_of
from ai_platform.protection.fixed import Fixed
from ai_platform.protection.literals import Steps, cut
from ai_platform.protection.located import Inspected, Located
from ai_platform.protection.offsets import Offsets
from ai_platform.protection.scanner import Scanner

_BOUNDARY = re.compile(rb'boundary="?([^";,]{1,200})"?', re.IGNORECASE)
_HEADERS_END = b"\r\n\r\n"
_SLICE = 64 * 1024
"""After so many bytes others may run."""

_LONGEST = 1024 * 1024
_PIECES_AT_ONCE = 4096
_OUTSIDE = re.compile(rb"(?>[\s{}\[\],:]|true|false|null|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?=[\s\]},]|\Z))*+", re.ASCII)
"""What stands outside of strings in JSON, also in lines of it."""


class _Piece(NamedTuple):
    """body[start:end], called `path` in findings. content: of a part, else what stands around it."""

    start: int
    end: int
    path: str = ""
    content: bool = True


def is_json(body: bytes) -> Steps[bool]:
    """Does it hold nothing outside of strings but what JSON has there? (A file of settings begins with `[` too.)"""
    if body[:_SLICE].lstrip()[:1] not in {b"{", b"["}:
        return False
    parts = yield from cut(body, 0, len(body))
    if len(parts) % 2 == 0:
        return False
    for first in range(0, len(parts), _PIECES_AT_ONCE):
        for part in set(parts[first : first + _PIECES_AT_ONCE : 2]):
            if not (yield from _fits(part)):
                return False
        yield None
    return True


def _fits(outside: bytes) -> Steps[bool]:
    start = 0
    while start < len(outside):
        stop = outside.find(b",", start + _SLICE) + 1 or len(outside)
        if stop - start > _LONGEST or _OUTSIDE.fullmatch(outside, start, stop) is None:
            return False
        start = stop
        if start < len(outside):
            yield None
    return True


def inspect_texts(
    scanner: Scanner, body: bytes, content_type: bytes, direction: Direction, team: str | None
) -> Iterator[Inspected | None]:
    """As BodyInspector.whole. Findings name the part: `part[1]` for the second of a multipart body."""
    pieces = list(_pieces(body, content_type))
    result = Inspected(body, Offsets())
    for number, piece in enumerate(pieces):
        data = body[piece.start : piece.end]
        coding = coding_of(data) if piece.content else "utf-8"
        text = text_of(data, coding) if coding else None
        if coding is None or text is None:
            result.unchecked.append((number, len(data)))
            continue
        for slot, hits in scanner.sweep([text], len(text)):
            if slot < 0:
                yield None
                continue
            settled = scanner.settle(hits, direction, team)
            offsets = _byte_offsets(text, [place for hit in settled for place in (hit.start, hit.end)], coding)
            for hit, start, stop in zip(settled, offsets[::2], offsets[1::2], strict=True):
                finding = scanner.finding(text, hit, direction, team, piece.path)
                place = (piece.start + start, piece.start + stop)
                value = text[hit.start : hit.end]
                found = Located(finding, *place, value, Fixed.FREE, quoted=True, index=number, coding=coding)
                result.located.append(found)
    result.starts.extend([0] * 2 * len(pieces))
    result.strings = sum(piece.end - piece.start for piece in pieces)
    yield result


def _pieces(body: bytes, content_type: bytes) -> Iterator[_Piece]:
    """The contents of a multipart body (RFC 2046) and what stands around them; the whole body when it is none."""
    match = _BOUNDARY.search(content_type)
    if match is None or not content_type.lower().lstrip().startswith(b"multipart/"):
        yield _Piece(0, len(body))
        return
    mark = b"--" + match[1]
    start, number = 0, -1
    while True:
        stop = body.find(mark, start)
        end = stop if stop >= 0 else len(body)
        headers = body.find(_HEADERS_END, start, end) if number >= 0 else -1
        if headers >= 0:
            begin = headers + len(_HEADERS_END)
            yield _Piece(start, headers, f"part[{number}] headers", content=False)
            yield _Piece(begin, max(begin, end - 2 if stop >= 0 else end), f"part[{number}]")
        elif end > start:
            yield _Piece(start, end, content=False)
        if stop < 0:
            return
        start, number = stop + len(mark), number + 1


def _byte_offsets(text: str, wanted: list[int], coding: str) -> list[int]:
    """Offsets in `coding` of ascending code-point offsets."""
    if text.isascii() and coding == "utf-8":
        return wanted
    steps = zip([0, *wanted], wanted, strict=False)
    return list(accumulate(len(text[start:stop].encode(coding, errors_of(coding))) for start, stop in steps))
