"""One server-sent event as bytes: its data, and the same event with other data (WHATWG HTML, "Server-sent events").

Above: stream.py. Below: nothing.
"""

import json
import re
from typing import Any

_BARE = re.compile(rb"(?:event: [a-z_]{1,40}\r?\n)?data: [^\r\n]*(?:\r?\n)*")
_LINE = re.compile(rb"data:[ ]?([^\r\n]*)(?:\r\n|\n|\r|\Z)")


def is_bare(event: bytes) -> bool:
    """Does it consist of nothing but a name and one line of data?"""
    return _BARE.fullmatch(event) is not None


def lines(event: bytes) -> list[bytes]:
    """With their ends, which may be a carriage return alone."""
    return event.splitlines(keepends=True)


def is_data(line: bytes) -> bool:
    return line.startswith(b"data:") or not line.strip()


def data_of(event: bytes) -> bytes:
    """Its data; several lines of it are joined, as every client does."""
    if event.count(b"data:") == 1:
        at = event.find(b"data:") + 5
        if at == 5 or event[at - 6 : at - 5] in b"\r\n":
            stop = event.find(b"\n", at)
            data = (event[at:] if stop < 0 else event[at:stop]).strip(b"\r ")
            if b"\r" not in data:  # a line may also end with it alone
                return data
    return b"\n".join(match[1] for match in _lines(event))


def with_data(event: bytes, data: bytes) -> bytes:
    """The event with this data in the place of its own; its other lines stay."""
    lines = list(_lines(event))
    if not lines:
        return event
    if b"\n" in data or b"\r" in data:  # JSON means the same without: inside of strings they cannot stand
        data = data.replace(b"\r", b" ").replace(b"\n", b" ")
    pieces: list[bytes] = []
    position = 0
    for number, match in enumerate(lines):
        pieces.append(event[position : match.start()])
        if not number:
            pieces.append(b"data: " + data + (event[match.end(1) : match.end()] or b"\n"))
        position = match.end()
    return b"".join([*pieces, event[position:]])


def _lines(event: bytes) -> "list[re.Match[bytes]]":
    return [match for match in _LINE.finditer(event) if not match.start() or event[match.start() - 1] in b"\r\n"]


def read(data: bytes) -> dict[str, Any] | None:
    """The JSON object in it, as the most forgiving client reads it; None when nobody can."""
    try:
        document = json.loads(data.decode("utf-8", "replace"), strict=False)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def is_certain(event: bytes) -> bool:
    """Does every client read the same in it: one line of data, strict JSON, no name twice in an object?"""
    if not is_bare(event):
        return False
    try:
        json.loads(data_of(event).decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return False
    return True


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("A name stands twice in an object.")
    return found


def written(document: dict[str, Any]) -> bytes:
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(document, separators=(",", ":")).encode()
