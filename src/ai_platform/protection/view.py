r"""The text as a rule should read it: escapes, look-alike characters and invisible characters made plain.

Most texts are their own view. Otherwise `View.text` is scanned and offsets are mapped back, so that `\n536-22-8491` in
JSON inside JSON, full-width digits, zero-width joiners and `%34%31...` are found where they stand. Encodings of whole
values (base64) are not a matter of characters: see encoded.py. Above: scanner.py, watcher.py. Below: nothing.
"""

import re
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from unicodedata import category, digit, normalize

_SAME_LENGTH = {"n": " \n", "t": " \t", '"': ' "'}

_DASHES = (
    "\u058a\u1806\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u207b\u208b\u2212\u2796\u2e3a\u2e3b\u30fc\ufe58\ufe63\uff0d"
)
_DOTS = "\u00b7\u2022\u2024\u2027\u2219\u22c5\u30fb\uff65"
_SLASHES = "\u2044\u2215\u29f8"
_SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_LAST_DIGIT = 0x1FC00
_LETTERS = (range(0x2100, 0x2150), range(0x249C, 0x24EA), range(0x1D400, 0x1D6A6), range(0x1F110, 0x1F16A))
_INVISIBLE = (
    "\u00ad\u0300-\u036f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\u206a-\u206f\u20d0-\u20ff\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff"
)


def _alike() -> dict[int, str]:
    """Every character that stands for one of ASCII: digits of all scripts, circled, raised and mathematical forms."""
    table = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}  # full-width forms
    for code in (code for codes in _LETTERS for code in codes):
        plain = normalize("NFKC", chr(code)).strip("()")
        if len(plain) == 1 and plain.isascii() and plain.isalnum():
            table[code] = plain
    for code in range(0x80, _LAST_DIGIT):
        value = digit(chr(code), -1)
        if value >= 0:
            table[code] = str(value)
    separators = ((_DASHES, "-"), (_SPACES, " "), (_DOTS, "."), (_SLASHES, "/"))
    return table | {ord(char): plain for chars, plain in separators for char in chars}


_ALIKE = _alike()
SYMBOL = "\x7f"
"""What arrows, ticks, typographic quotes and the like read as: all mean the same to a rule, and text becomes ASCII."""

_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_FOREIGN_BYTE = re.compile(rb"[\x80-\xff]")
_BACKSLASHED = re.compile(r"\\(?:u(?:00|\{)[2-7]|U000000[2-7]|x[2-7]|/)")
_SECONDS = frozenset("uUx/")
_ENCODED = re.compile(r"%[2-7][0-9a-fA-F]")
_HIDDEN = re.compile(f"[{_INVISIBLE}]")
_BEHIND_BACKSLASH = (
    r"u00[2-7][0-9a-fA-F](?:\\u00[2-7][0-9a-fA-F])*|x[2-7][0-9a-fA-F](?:\\x[2-7][0-9a-fA-F])*|/"
    r"|u\{[2-7][0-9a-fA-F]\}|U000000[2-7][0-9a-fA-F]"
)
_TWICE = "25[2-7][0-9a-fA-F]"
_BEHIND_PERCENT = rf"{_TWICE}|[2-7][0-9a-fA-F](?:%(?!{_TWICE})[2-7][0-9a-fA-F])*"
_NAMED = {
    " ": "nbsp ensp emsp thinsp",
    "-": "hyphen dash ndash mdash minus",
    "": "shy zwj zwnj",
    '"': "quot",
    "'": "apos",
    "@": "commat",
    ".": "period",
    ":": "colon",
    "=": "equals",
    "/": "sol",
    "_": "lowbar",
    "#": "num",
}
_ENTITIES = {f"&{name};": plain for plain, names in _NAMED.items() for name in names.split()}
"""Character references of HTML by name (WHATWG HTML, "Named character references"): what stands in and beside values."""

_BEHIND_AMPERSAND = rf"(?:#(?:[0-9]{{1,7}}|[xX][0-9a-fA-F]{{1,6}})|{'|'.join(name[1:-1] for name in _ENTITIES)});"
_ENTITY = re.compile(f"&{_BEHIND_AMPERSAND}")
_BEHIND_ESC = r"\[[0-9;:]{0,11}[A-Za-z]"
"""What tells a terminal about colours, as in the output of programs (ECMA-48, control sequences)."""

_ESCAPES = (
    rf"(?:(?<=\\)(?:{_BEHIND_BACKSLASH})|(?<=%)(?:{_BEHIND_PERCENT})|(?<=&){_BEHIND_AMPERSAND}|(?<=\x1b){_BEHIND_ESC})"
)
_WIDTHS = {"\\u": 6, "\\x": 4, "%": 3}
_SINGLE = {"\\/": "/"} | {
    f"{mark}{high}{low}{end}": chr(int(high + low, 16))
    for mark, end in (("\\u00", ""), ("\\x", ""), ("%", ""), ("%25", ""), ("\\U000000", ""), ("\\u{", "}"))
    for high in "234567"
    for low in "0123456789abcdefABCDEF"
}
# each begins with a set of characters, which is searched for ten times faster than a choice of expressions
_SHRINKING_ASCII = re.compile(rf"([\\%&\x1b]{_ESCAPES})")
_SHRINKING = re.compile(rf"([\\%&\x1b{_INVISIBLE}](?:{_ESCAPES}|(?<=[{_INVISIBLE}])[{_INVISIBLE}]*))")
_UNFINISHED = re.compile(
    rf"(?:\x1b(?:\[[0-9;:]{{0,11}})?|\\(?:u[0-9a-fA-F]{{0,3}}|u\{{[0-9a-fA-F]{{0,2}}|U0{{0,6}}[2-7]?|x[0-9a-fA-F]?)?"
    rf"|%(?:[0-9a-fA-F]|25[2-7]?)?|&(?:#(?:[0-9]{{0,7}}|[xX][0-9a-fA-F]{{0,6}})|[a-z]{{1,6}})?|[{_INVISIBLE}])+\Z"
)


_PIECE = 16 * 1024
_FEW = 8
_SIZES = bytes([1] * 12 + [2, 2, 3, 4])
"""How many bytes a character of UTF-8 has, by the first four bits of its first."""

_FIRST_FOREIGN = 0x80
_RARE = 128
"""Marks of escapes that are further apart on average are looked at one by one."""


class View:
    """text: what to scan. origin(offset of the view): the offset in the original."""

    __slots__ = ("_at", "_shift", "text")

    def __init__(self, original: str = "") -> None:
        self._at = array("q")
        self._shift = array("q")
        self.text = ""
        if original:
            for _ in self.read(original):
                pass

    def read(self, original: str) -> Iterator[None]:
        """Make it the view of `original`, a piece at a time: others may run at each None."""
        if len(original) <= _PIECE:
            self.text = self._plain(original, 0)
            return
        pieces: list[str] = []
        start = size = 0
        while start < len(original):
            stop = start + _PIECE
            if stop < len(original):
                stop = _before_escapes(original, stop)
            pieces.append(self._plain(original[start:stop], size))
            size += len(pieces[-1])
            start = stop
            yield None
        self.text = "".join(pieces)

    def _plain(self, text: str, begin: int) -> str:
        """What `text` reads as. begin: where it stands in the view."""
        escapes = False
        if "\\" in text:
            text, escapes = _unescaped(text)
        hidden = False
        if not text.isascii():
            foreign = set("".join(_FOREIGN.findall(text)))
            plain = {char: shown for char in foreign if (shown := _shown(char)) is not None}
            if len(plain) > _FEW:
                text = text.translate(str.maketrans(plain))
            else:
                for char, shown in plain.items():
                    text = text.replace(char, shown)
            hidden = _HIDDEN.search("".join(foreign)) is not None
        return self._shrunk(text, begin) if hidden or escapes or _has_escapes(text) else text

    def origin(self, offset: int) -> int:
        slot = bisect_right(self._at, offset)
        return offset + self._shift[slot - 1] if slot else offset

    def seen(self, original: int) -> int:
        """The offset of the view for an offset of the original; inside of an escape, the one behind what it reads as."""
        low, high = 0, len(self._at)
        while low < high:
            middle = (low + high) // 2
            if self._at[middle] + self._shift[middle] <= original:
                low = middle + 1
            else:
                high = middle
        place = original - self._shift[low - 1] if low else original
        return min(place, self._at[low]) if low < len(self._at) else place

    def _shrunk(self, text: str, size: int) -> str:
        pieces = (_SHRINKING_ASCII if text.isascii() else _SHRINKING).split(text)
        shift = self._shift[-1] if self._shift else 0
        for place in range(1, len(pieces), 2):
            run = pieces[place]
            length = len(run)
            size += len(pieces[place - 1])
            plain = _SINGLE.get(run)
            count = 1
            if plain is None and run[0] == "&":
                plain = _referred(run)
                count = len(plain)
            elif plain is None:
                width = _WIDTHS.get(run[:2]) or _WIDTHS.get(run[0])
                if width is None:
                    plain, count = "", 0
                else:
                    plain = bytes.fromhex(run.replace(run[: width - 2], "")).decode("latin-1")
                    count = length // width
                    self._at.extend(range(size + 1, size + count))
                    self._shift.extend(range(shift + width - 1, shift + (width - 1) * count, width - 1))
            pieces[place] = plain
            size += count
            shift += length - count
            self._at.append(size)
            self._shift.append(shift)
        return "".join(pieces)


@lru_cache(maxsize=4096)
def _referred(reference: str) -> str:
    """What a character reference of HTML reads as, one character or none."""
    plain = _ENTITIES.get(reference)
    if plain is not None:
        return plain
    number = int(reference[3:-1], 16) if reference[2] in "xX" else int(reference[2:-1])
    if number > sys.maxunicode:
        return SYMBOL
    char = chr(number)
    return char if number < _FIRST_FOREIGN else "" if _HIDDEN.match(char) is not None else _shown(char) or char


@lru_cache(maxsize=4096)
def _shown(char: str) -> str | None:
    """What a character outside of ASCII reads as; None when it stays as it is (letters) or is not seen at all."""
    plain = _ALIKE.get(ord(char))
    if plain is not None or _HIDDEN.match(char) is not None:
        return plain
    return SYMBOL if category(char)[0] in "SP" else None


def without_symbols(raw: bytes) -> bytes:
    """UTF-8 in which a few kinds of symbols are read already, as most text then is ASCII, and quicker to decode.

    Only what is a symbol alone, so that every character stays one; other text is given back as it is.
    """
    text = raw
    for _ in range(_FEW):
        match = None if text.isascii() else _FOREIGN_BYTE.search(text)
        if match is None:
            return text
        start = match.start()
        char = text[start : start + _SIZES[text[start] >> 4]]
        try:
            symbol = _shown(char.decode()) == SYMBOL
        except UnicodeDecodeError:
            symbol = False
        if not symbol or b"\\" + char in text:  # behind a backslash JSON has none: it is no symbol, but three bytes
            return raw
        text = text.replace(char, SYMBOL.encode())
    return text if text.isascii() else raw


def _before_escapes(text: str, stop: int) -> int:
    """Where to cut near `stop` so that no escape is cut in two."""
    for place in range(stop, stop - 256, -8):
        near = text[place - 12 : place]
        if "\\" not in near and "%" not in near and "&" not in near and "\x1b" not in near:
            return place
    return stop - unfinished(text[stop - 16 : stop])


def _unescaped(text: str) -> tuple[str, bool]:
    """(`text` with the commonest escapes replaced by what is as long, are there others behind backslashes?).

    Few backslashes are faster found one by one.
    """
    few = len(text) // _RARE + 8
    pieces = text.split("\\", few)
    if len(pieces) > few:
        for letter, plain in _SAME_LENGTH.items():
            text = text.replace("\\" + letter, plain)
        return text, _BACKSLASHED.search(text) is not None
    known = _SAME_LENGTH.get
    others = False
    for place in range(1, len(pieces)):
        piece = pieces[place]
        first = piece[:1]
        plain = known(first)
        if plain is None:
            pieces[place] = "\\" + piece
            others = others or (first in _SECONDS and _BACKSLASHED.match(pieces[place]) is not None)
        else:
            pieces[place] = plain + piece[1:]
    return "".join(pieces), others


def _has_escapes(text: str) -> bool:
    """Does it hold escapes that have no backslash? One character is found fifty times as fast as an expression."""
    return (
        ("\x1b" in text and "\x1b[" in text)
        or ("%" in text and _ENCODED.search(text) is not None)
        or ("&" in text and _ENTITY.search(text) is not None)
    )


def is_plain(text: str) -> bool:
    """True when the text is its own view."""
    return text.isascii() and "\\" not in text and "%" not in text and "&" not in text and "\x1b" not in text


def unfinished(text: str) -> int:
    """How many characters at the end may be the beginning of an escape."""
    match = _UNFINISHED.search(text, max(0, len(text) - 16))
    return len(text) - match.start() if match else 0
