"""JSON text as raw bytes: its string contents and long numbers in document order, without building a tree.

What is inspected is what is sent: duplicate keys, unknown fields and malformed JSON are all covered, because nothing
is interpreted. Above: leaves.py, body.py. Below: nothing.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from json.decoder import scanstring

_PIECE = re.compile(
    rb"[\x00-\x5b\x5d-\x7f]+"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\."
    rb"|[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}|[\x80-\xff]|\\",
    re.DOTALL,
)


def segments(body: bytes) -> list[bytes]:
    """`body` cut at its unescaped quotes: even places lie outside of strings, odd places are string contents.

    Contents have the same length as in the body, but escaped backslashes and quotes are blotted out: take the real
    bytes from the body by position.
    """
    if b"\\" in body:
        if b"\\\\" in body:
            body = body.replace(b"\\\\", b"\1\1")
        body = body.replace(b'\\"', b"\1\1")
    return body.split(b'"')


def decode(raw: bytes) -> str:
    """The text of a literal's raw content. Never fails: invalid UTF-8 and invalid escapes stay visible as they are."""
    text = raw.decode("utf-8", "surrogateescape")
    if "\\" not in text:
        return text
    try:
        return scanstring(text + '"', 0, False)[0]
    except ValueError:
        return "".join(_decode_piece(piece.group()) for piece in _PIECE.finditer(raw))


def _decode_piece(piece: bytes) -> str:
    text = piece.decode("utf-8", "surrogateescape")
    if len(text) < 2 or text[0] != "\\":
        return text
    try:
        return scanstring(text + '"', 0, False)[0]
    except ValueError:
        return text[1]


def byte_offsets(raw: bytes, wanted: Iterable[int]) -> list[int]:
    """Byte offsets in `raw` of ascending code-point offsets of `decode(raw)`."""
    found: list[int] = []
    pieces: Iterator[re.Match[bytes]] = _PIECE.finditer(raw)
    at = byte = length = size = 0
    for offset in wanted:
        while at + length <= offset:
            piece = next(pieces, None)
            if piece is None:
                break
            at, byte = at + length, piece.start()
            size = piece.end() - byte
            length = size if raw[byte] < 0x80 and raw[byte] != 0x5C else len(_decode_piece(piece.group()))
        found.append(byte + (offset - at if length == size else 0) if offset < at + length else len(raw))
    return found


class Places:
    """Where literals stand: `messages[2].content[0].text`, computed in one walk for the literals asked for.

    wanted: indices into `parts`; an even one is a number outside of strings.
    """

    def __init__(self, parts: Sequence[bytes], wanted: Iterable[int]) -> None:
        self._paths: dict[int, str] = {}
        self._keys: set[int] = set()
        remaining = sorted(set(wanted))
        if remaining:
            self._walk(parts, remaining)

    def path(self, index: int) -> str:
        return self._paths.get(index, "")

    def is_key(self, index: int) -> bool:
        return index in self._keys

    def _walk(self, parts: Sequence[bytes], remaining: list[int]) -> None:
        stack: list[str | int] = []
        last, following = remaining[-1], 0
        for index in range(last + 1):
            part = parts[index]
            asked = index == remaining[following]
            if not index & 1:
                if asked:
                    self._paths[index] = _join(stack)
                _advance(stack, part)
            else:
                is_key = index + 1 < len(parts) and parts[index + 1].lstrip()[:1] == b":"
                if is_key and stack and isinstance(stack[-1], str):
                    stack[-1] = decode(part)[:200]
                if asked:
                    self._paths[index] = _join(stack)
                    if is_key:
                        self._keys.add(index)
            following += asked


_NO_CHANGE = frozenset({b":", b": ", b""})
_NOT_STRUCTURE = re.compile(rb"[^{}\[\],]+")


def _advance(stack: list[str | int], outside: bytes) -> None:
    if outside in _NO_CHANGE or (outside in {b",", b", "} and stack and isinstance(stack[-1], str)):
        return
    for char in _NOT_STRUCTURE.sub(b"", outside):
        if char == 0x7B:
            stack.append("")
        elif char == 0x5B:
            stack.append(0)
        elif char in b"}]":
            if stack:
                stack.pop()
        elif stack and isinstance(stack[-1], int):
            stack[-1] += 1


def _join(stack: Sequence[str | int]) -> str:
    text = ""
    for step in stack:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text
