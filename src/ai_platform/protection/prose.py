"""Which parts of a text read like prose: names are looked for there, and not in code, tables and data.

A line is prose when it has three words or more and at most one in five of them is no plain word (letters, with
hyphens and apostrophes, and marks of a sentence around them; no underscore, no capital in mid-word after a small
letter; short numbers and what stands in backticks are not counted). A shorter line is when it follows prose and all its words are plain.
Lines between code fences are not. Above: people.py, language.py. Below: nothing.
"""

import re
from collections.abc import Iterator

LONGEST = 2_000
"""Characters of one piece: what a model reads at once."""

_FEWEST_WORDS = 3
_ODD = 5
"""One in so many words may be something else: a number, a file, a name with a capital inside."""

_WORD = re.compile(r"\S+")
_INITIALS = r"(?:[^\W\d_]\.){1,4}"
_LETTERS = r"(?:[A-Z]+|[^\W\d_A-Z]+|[A-Z][^\W\d_A-Z]+)"
_PLAIN = re.compile(
    rf"[\"'(*“‘„«¿¡]{{0,4}}(?:{_INITIALS}|{_LETTERS}(?:[-'’]{_LETTERS}){{0,4}}(?:['’](?=s?\W*\Z))?)[\"'’)*”“»,.;:!?…]{{0,4}}"
)
_MARK = re.compile(r"(?:[-*>•–—]|#{1,6}|\d{1,4}[.,:;!?)]{0,2})\Z|.*`")
"""Of a list, a quotation or a heading, a number, or code that the line speaks of: no word."""

_FENCE = ("```", "~~~")


def pieces(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of the runs of prose lines, at most LONGEST long, ascending. The same text gives the same ones."""
    begin = end = position = 0
    fenced = after = False
    for line in text.splitlines(keepends=True):
        stop = position + len(line)
        if line.lstrip().startswith(_FENCE):
            fenced = not fenced
            prose = False
        else:
            prose = not fenced and is_prose(line, after=after)
        after = prose or (after and line.isspace())
        if prose and begin < end == position and stop - begin <= LONGEST:
            end = stop
        else:
            yield from _within(text, begin, end)
            begin, end = position, stop if prose else position
        position = stop
    yield from _within(text, begin, end)


def is_prose(line: str, *, after: bool = False) -> bool:
    """after: the line before it is prose."""
    words = [word for word in _WORD.findall(line[:LONGEST]) if _MARK.match(word) is None]
    odd = sum(_PLAIN.fullmatch(word) is None for word in words)
    if len(words) < _FEWEST_WORDS:
        return after and bool(words) and not odd
    return odd * _ODD <= len(words)


def _within(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """One run, cut at spaces when it is a single line that is too long."""
    while end - begin > LONGEST:
        cut = text.rfind(" ", begin + 1, begin + LONGEST) + 1 or begin + LONGEST
        yield begin, cut
        begin = cut
    if begin < end:
        yield begin, end
