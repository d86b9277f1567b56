"""JSON text as raw bytes: its string contents and long numbers in document order, without building a tree.

What is inspected is what is sent: duplicate keys, unknown fields and malformed JSON are all covered, because nothing
is interpreted. Above: leaves.py, body.py. Below: nothing.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from json import decoder
from typing import TypeVar

import msgspec

T = TypeVar("T")
Steps = Generator[None, None, T]
"""Work that is done in steps: others may run at each None; its value is the result."""


def finished(steps: Steps[T]) -> T:
    """The result of `steps`, done at one go."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


_STRING = msgspec.json.Decoder(str)

scan_string: Callable[[str, int, bool], tuple[str, int]] = decoder.scanstring  # type: ignore[attr-defined]
"""(JSON text, offset behind an opening quote, strict) -> (decoded content, offset behind the closing quote)."""

_BLOCK, _LONGEST = 16 * 1024, 12

_PIECE = re.compile(
    rb"[\x00-\x5b\x5d-\x7f]+"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\."
    rb"|(?:[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})+|[\x80-\xff]|\\",
    re.DOTALL,
)

_LONGER = re.compile(
    rb"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\."
    rb"|[\xc2-\xdf][\x80-\xbf]|(?:\xe0[\xa0-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]|\xed[\x80-\x9f])[\x80-\xbf]"
    rb"|(?:\xf0[\x90-\xbf]|[\xf1-\xf3][\x80-\xbf]|\xf4[\x80-\x8f])[\x80-\xbf]{2})",
    re.DOTALL,
)
"""One character of the text that takes several bytes; everything else takes one (also what is no UTF-8)."""

_ESCAPED_QUOTE = re.compile(rb'\\"')
_BACKSLASH_AND_QUOTE = re.compile(rb'\\\\"')
"""Only here is the backslash before a quote perhaps an escaped one itself."""

_PIECE_OF_BODY = 128 * 1024
_SURROGATE = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}")
_ESCAPE, _SHORT_ESCAPE = 6, 2


def segments(body: bytes) -> list[bytes]:
    """`body` cut at its unescaped quotes: even places lie outside of strings, odd places are string contents.

    Contents have the same length as in the body, but escaped quotes (and, near them, escaped backslashes) are blotted
    out: take the real bytes from the body by position.
    """
    return finished(cut(body, 0, len(body)))


def cut(body: bytes, begin: int, end: int) -> Steps[list[bytes]]:
    """As `segments` of body[begin:end], a bounded piece at a time."""
    if end - begin <= _PIECE_OF_BODY:
        return _cut(body if end - begin == len(body) else body[begin:end])
    parts: list[bytes] = []
    open_part: list[bytes] = []
    while begin < end:
        stop = begin + _PIECE_OF_BODY
        stop = stop - _escapes_at(body, begin, stop) if stop < end else end  # no escape is cut in two
        pieces = _cut(body[begin:stop])
        open_part.append(pieces[0])
        if len(pieces) > 1:
            parts.append(b"".join(open_part))
            parts += pieces[1:-1]
            open_part = [pieces[-1]]
        begin = stop
        yield None
    parts.append(b"".join(open_part))
    return parts


def _cut(body: bytes) -> list[bytes]:
    if b"\\" in body:
        if b"\\\\" in body and _BACKSLASH_AND_QUOTE.search(body) is not None:
            body = body.replace(b"\\\\", b"\1\1")
        body = _ESCAPED_QUOTE.sub(b"\1\1", body)  # a third faster than bytes.replace
    return body.split(b'"')


def _escapes_at(raw: bytes, begin: int, end: int) -> int:
    """1 when an odd number of backslashes ends at `end`, so that the last one begins an escape. begin: is in none."""
    return (end - begin - len(raw[begin:end].rstrip(b"\\"))) & 1


def _boundary(raw: bytes, begin: int, stop: int) -> int:
    """A place at or shortly before or behind `stop` where neither a character nor an escape is cut in two."""
    while stop < len(raw) and raw[stop] & 0xC0 == 0x80 and stop > begin:  # inside of a character
        stop -= 1
    last = raw.rfind(b"\\", max(begin, stop - _ESCAPE + 1), stop)
    if last >= 0 and _escapes_at(raw, begin, last + 1):
        stop = max(stop, last + (_ESCAPE if raw[last + 1 : last + 2] == b"u" else _SHORT_ESCAPE))
    before = stop - _ESCAPE
    if before > begin and _SURROGATE.match(raw, before) is not None and _escapes_at(raw, begin, before + 1):
        return before  # it goes with the next one
    return stop


def decode(raw: bytes) -> str:
    """The text of a literal's raw content. Never fails: invalid UTF-8 and invalid escapes stay visible as they are."""
    if b"\\" not in raw:
        return raw.decode("utf-8", "surrogateescape")
    try:
        return _STRING.decode(b'"%b"' % raw)
    except (msgspec.DecodeError, UnicodeDecodeError):  # unpaired surrogates, line ends, wrong escapes or UTF-8
        return _decode_leniently(raw)


def _decode_leniently(raw: bytes) -> str:
    try:
        return scan_string(raw.decode("utf-8", "surrogateescape") + '"', 0, False)[0]
    except ValueError:
        return "".join(_decode_piece(piece.group()) for piece in _PIECE.finditer(raw))


def decode_pieces(raw: bytes) -> Iterator[str]:
    """`decode(raw)` in bounded pieces."""
    start = 0
    while start < len(raw):
        stop = start + _PIECE_OF_BODY
        stop = _boundary(raw, start, stop) if stop < len(raw) else len(raw)
        yield decode(raw[start:stop])
        start = stop


def _decode_piece(piece: bytes) -> str:
    text = piece.decode("utf-8", "surrogateescape")
    if len(text) < 2 or text[0] != "\\":
        return text
    try:
        return scan_string(text + '"', 0, False)[0]
    except ValueError:
        return text[1]


def byte_offsets(raw: bytes, wanted: Iterable[int]) -> list[int]:
    """Byte offsets in `raw` of ascending code-point offsets of `decode(raw)`."""
    return finished(find_byte_offsets(raw, wanted))


def find_byte_offsets(raw: bytes, wanted: Iterable[int]) -> Steps[list[int]]:
    """As byte_offsets."""
    if b"\\" not in raw and raw.isascii():
        return list(wanted)
    found: list[int] = []
    queue = iter(wanted)
    asked = next(queue, None)
    begin = at = 0  # where a block begins, in bytes and in the text
    while asked is not None and begin < len(raw):
        pieces = _block(raw, begin)
        # behind each character that is written longer: where the text is, and how many bytes it is ahead
        ends = list(accumulate((len(plain) + 1 for plain in pieces[:-1:2]), initial=at))
        ahead = list(accumulate((len(longer) - 1 for longer in pieces[1::2]), initial=begin - at))
        at = ends[-1] + len(pieces[-1])
        while asked is not None and asked < at:
            found.append(asked + ahead[bisect_right(ends, asked) - 1])
            asked = next(queue, None)
        begin += sum(map(len, pieces))
        yield None
    while asked is not None:
        found.append(len(raw))
        asked = next(queue, None)
    return found


def _block(raw: bytes, begin: int) -> list[bytes]:
    """About _BLOCK bytes from `begin` on: by turns what takes one byte a character, and a character that takes more."""
    pieces = _LONGER.split(raw[begin : begin + _BLOCK + _LONGEST])
    size = sum(map(len, pieces))
    # what lies behind the block was only read so that the last character is whole
    while len(pieces) > 1 and size - len(pieces[-1]) - len(pieces[-2]) >= _BLOCK:
        size -= len(pieces.pop()) + len(pieces.pop())
    beyond = size - max(_BLOCK, size - len(pieces[-1]))
    if beyond > 0:
        pieces[-1] = pieces[-1][:-beyond]
    return pieces


Stack = tuple[int, ...]
"""Nesting: an array is the number of its current element, an object -1 - (segment of its current key), -1 before one."""


class Places:
    """Where literals stand: `messages[2].content[0].text`.

    A key that could be a value itself is a star there: places are told and recorded, values never.

    starts: byte offset of every segment of `body`. trail: (segment, nesting before it) of points passed by earlier
    walks over the same beginning, ascending; this one adds its own. An even segment asked for is a number.
    """

    def __init__(
        self, body: bytes, starts: Sequence[int], wanted: Iterable[int], trail: list[tuple[int, Stack]]
    ) -> None:
        self._body = body
        self._starts = starts
        self._paths: dict[int, str] = {}
        self._keys: set[int] = set()
        finished(self.find(wanted, trail))

    def find(
        self, wanted: Iterable[int], trail: list[tuple[int, Stack]], parts: Sequence[bytes] = (), first: int = 0
    ) -> Steps[None]:
        """Find the places of further segments. parts: those from number `first` on, where they are at hand."""
        remaining = sorted(set(wanted))
        if remaining:
            yield from self._walk(remaining, trail, parts, first)

    def path(self, index: int) -> str:
        return self._paths.get(index, "")

    def is_key(self, index: int) -> bool:
        return index in self._keys

    def _segment(self, index: int) -> bytes:
        last = index + 1 == len(self._starts)
        return self._body[self._starts[index] : len(self._body) if last else self._starts[index + 1] - 1]

    def _walk(
        self, remaining: list[int], trail: list[tuple[int, Stack]], parts: Sequence[bytes], first: int
    ) -> Steps[None]:
        known = bisect_right(trail, remaining[0], key=_first) - 1
        begin, nesting = trail[known] if known >= 0 else (0, ())
        stack = list(nesting)
        due = trail[-1][0] + _STRIDE if trail else 0
        last = first + len(parts)
        queue = iter(remaining)
        asked = next(queue, len(self._starts))
        for index in range(begin, min(remaining[-1] + 2, len(self._starts)), 2):
            outside = parts[index - first] if first <= index < last else self._segment(index)
            is_key, structure = _common(outside) if len(outside) < _SHORT else _structure(outside)
            if is_key and stack and stack[-1] < 0:
                stack[-1] = -index
            while asked <= index:
                own = asked < index and is_key
                self._paths[asked] = f"{self._join(stack[:-1])}.{_HIDDEN}".lstrip(".") if own else self._join(stack)
                if own:
                    self._keys.add(asked)
                asked = next(queue, len(self._starts))
            if index >= due:
                trail.append((index, tuple(stack)))
                due = index + _STRIDE
                yield None
            for char in structure:
                if char == _COMMA:
                    if stack and stack[-1] >= 0:
                        stack[-1] += 1
                elif char == _OBJECT:
                    stack.append(-1)
                elif char == _ARRAY:
                    stack.append(0)
                elif stack:
                    stack.pop()

    def _join(self, stack: Sequence[int]) -> str:
        text = ""
        for step in stack:
            if step >= 0:
                text += f"[{step}]"
            else:
                key = shown_key(decode(self._segment(-1 - step))) if step < -1 else ""
                text += f".{key}" if text else key
        return text


def _first(point: tuple[int, Stack]) -> int:
    return point[0]


_COMMA, _OBJECT, _ARRAY = b",{["
_STRIDE = 128
_SHORT = 64
_HIDDEN = "*"
_HARMLESS = re.compile(r"(?=\D*(?:\d\D*){0,3}\Z)[\w./:$-]{1,60}")
"""A key that tells nothing: a word, with three digits at most."""
_NOT_STRUCTURE = re.compile(rb"[^{}\[\],]+")


def shown_key(key: str) -> str:
    """The key as places name it."""
    return key if _HARMLESS.fullmatch(key) is not None else _HIDDEN


def _structure(outside: bytes) -> tuple[bool, bytes]:
    """(does it follow a key, its brackets and commas) of what stands outside of strings."""
    return outside.lstrip()[:1] == b":", _NOT_STRUCTURE.sub(b"", outside)


_common = lru_cache(maxsize=4096)(_structure)
"""Few texts make up most of what stands outside; only short ones are kept."""
