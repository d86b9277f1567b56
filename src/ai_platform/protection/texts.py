"""Bodies that are not JSON: plain text, and multipart uploads whose text parts are inspected.

Above: guard.py. Below: body.py (the shape of the result), scanner. A part that is not text is counted as unchecked.
"""

import re
from collections.abc import Iterator
from itertools import accumulate

from ai_platform.domain.finding import Direction
from ai_platform.protection.fixed import Fixed
from ai_platform.protection.located import Inspected, Located
from ai_platform.protection.offsets import Offsets
from ai_platform.protection.scanner import Scanner

_BOUNDARY = re.compile(rb'boundary="?([^";,]{1,200})"?')
_HEADERS_END = b"\r\n\r\n"


def is_text(data: bytes) -> bool:
    """UTF-8 without control characters that no text has (judged by its beginning)."""
    head = data[:4096]
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4
    return True


def parts_of(body: bytes, content_type: bytes) -> list[tuple[int, int]]:
    """Byte ranges of the contents of a multipart body (RFC 2046); the whole body when it is not multipart."""
    match = _BOUNDARY.search(content_type)
    if match is None or not content_type.lower().startswith(b"multipart/"):
        return [(0, len(body))]
    mark = b"--" + match[1]
    ranges: list[tuple[int, int]] = []
    position = body.find(mark)
    while position >= 0:
        following = body.find(mark, position + len(mark))
        stop = following if following >= 0 else len(body)
        headers = body.find(_HEADERS_END, position, stop)
        if headers >= 0:
            ranges.append((headers + len(_HEADERS_END), max(headers + 4, stop - 2 if following >= 0 else stop)))
        position = following
    return ranges or [(0, len(body))]


def inspect_texts(
    scanner: Scanner, body: bytes, content_type: bytes, direction: Direction, team: str | None
) -> Iterator[Inspected | None]:
    """As BodyInspector.whole. Findings name the part: `part[1]` for the second of a multipart body."""
    ranges = parts_of(body, content_type)
    result = Inspected(body, Offsets(), Offsets())
    for number, (begin, end) in enumerate(ranges):
        data = body[begin:end]
        if not is_text(data):
            result.unchecked.append((number, len(data)))
            continue
        text = data.decode("utf-8", "surrogateescape")
        for slot, hits in scanner.sweep([text], len(text)):
            if slot < 0:
                yield None
                continue
            path = f"part[{number}]" if len(ranges) > 1 else ""
            settled = scanner.settle(hits, direction, team)
            offsets = _byte_offsets(text, [place for hit in settled for place in (hit.start, hit.end)])
            for hit, start, stop in zip(settled, offsets[::2], offsets[1::2], strict=True):
                finding = scanner.finding(text, hit, direction, team, path)
                value = text[hit.start : hit.end]
                located = Located(finding, begin + start, begin + stop, value, Fixed.FREE, quoted=True, index=number)
                result.located.append(located)
    result.starts.extend([0] * 2 * len(ranges))
    result.checked.extend((sum(end - begin for begin, end in ranges),))
    yield result


def _byte_offsets(text: str, wanted: list[int]) -> list[int]:
    """UTF-8 offsets of ascending code-point offsets."""
    if text.isascii():
        return wanted
    steps = zip([0, *wanted], wanted, strict=False)
    return list(accumulate(len(text[start:stop].encode("utf-8", "surrogateescape")) for start, stop in steps))
