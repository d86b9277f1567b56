"""Incremental inspection of JSON text as a model streams a tool's input: each string is watched as a text of its own.

Gives what BodyInspector gives for the complete JSON: values are read under their keys, escapes as what they mean, long
numbers outside of strings too; replacements are written so that the JSON stays valid. Above: stream.py. Below: watcher.
"""

import re
from bisect import bisect_right

import msgspec

from ai_platform.domain.finding import Finding
from ai_platform.protection.exchange import Exchange
from ai_platform.protection.leaves import LONG_NUMBER, lead_of
from ai_platform.protection.literals import scan_string
from ai_platform.protection.replace import as_json
from ai_platform.protection.scanner import Scanner
from ai_platform.protection.watcher import Edit, TextWatcher

_STRING_PART = re.compile(
    r"[^\"\\]+|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[^u]|(\")", re.DOTALL
)
_HALF_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\Z")
_HALF_REST = re.compile(r"(?:\\(?:u(?:[dD](?:[c-fC-F][0-9a-fA-F]?)?)?)?)?\Z")
_OUTSIDE = re.compile(r"[^\"]+")
_NUMBER_TAIL = re.compile(r"[\d.eE+-]+\Z")
_NUMBER = re.compile(r"[\d.eE+-]*")
_BEGINNING = 8
_LONGEST_KEY = 200
_LONGEST_NUMBER = 40
"""Longer than any that is a value."""


class JsonWatcher:
    """The interface of TextWatcher; offsets are those of the raw JSON text."""

    def __init__(self, scanner: Scanner, team: str | None, *, exchange: Exchange | None = None, tool: str = "") -> None:
        """tool: the one that the arguments are for, by name."""
        self.edits: list[Edit] = []
        self.found: list[Finding] = []
        self._scanner = scanner
        self._team = team
        self._exchange = exchange
        self._tool = tool
        self._raw = ""
        self._base = 0
        self._inside: _String | None = None
        self._outside = ""  # how the text since the last string begins
        self._last_string = ""
        self._final = 0
        self._endless = False  # inside of a number that is too long to be a value

    def feed(self, text: str) -> int:
        self._raw += text
        return self._advance(last=False)

    def close(self) -> int:
        return self._advance(last=True)

    def _advance(self, *, last: bool) -> int:
        more = True
        while more and self._raw:
            more = self._between(last=last) if self._inside is None else self._string(self._inside, last=last)
        if last and self._inside is not None:
            self._leave(self._inside)
        return self._final

    def _take(self, size: int) -> None:
        self._raw = self._raw[size:]
        self._base += size

    def _between(self, *, last: bool) -> bool:
        """Text outside of strings, up to the next quote. False when more input is needed."""
        if self._endless:
            digits = _NUMBER.match(self._raw)
            self._take(digits.end() if digits else 0)
            self._endless = not self._raw
            self._final = self._base
            return True
        match = _OUTSIDE.match(self._raw)
        if match is None:
            self._take(1)  # the opening quote
            key = self._last_string if self._outside.strip() == ":" else ""
            self._inside = _String(self._watcher(lead_of(key)), self._base)
        else:
            outside = match.group()
            number = None if last or len(outside) < len(self._raw) else _NUMBER_TAIL.search(outside)
            if number and len(number.group()) > _LONGEST_NUMBER:
                number, self._endless = None, True
            if number:
                outside = outside[: number.start()]
            self._outside = (self._outside + outside).lstrip()[:_BEGINNING]
            if len(outside) > 8:
                self._numbers(outside)
            self._take(len(outside))
            if number:
                self._final = self._base
                return False
        self._final = self._base
        return True

    def _watcher(self, lead: str) -> TextWatcher:
        return TextWatcher(self._scanner, self._team, lead=lead, exchange=self._exchange, tool=self._tool)

    def _numbers(self, outside: str) -> None:
        key = self._last_string if self._outside[:1] == ":" else ""
        for number in LONG_NUMBER.finditer(outside.encode("latin-1", "replace")):
            watcher = self._watcher(lead_of(key, quoted=False))
            watcher.feed(number.group().decode())
            watcher.close()
            edits = [(begin, stop, f'"{new}"') for begin, stop, new in watcher.edits]
            self._collect(watcher.found, edits, number.start())

    def _collect(self, found: list[Finding], edits: list[Edit], offset: int) -> None:
        start = self._base + offset
        self.edits += [(begin + start, end + start, new) for begin, end, new in edits]
        self.found += [
            msgspec.structs.replace(finding, start=finding.start + start, end=finding.end + start) for finding in found
        ]

    def _string(self, inside: "_String", *, last: bool) -> bool:
        """The content of a string, up to its closing quote. False when more input is needed."""
        taken = 0
        closed = False
        for match in _STRING_PART.finditer(self._raw):
            if match.start() != taken or match[1]:
                closed = bool(match[1]) and match.start() == taken
                break
            if not last and _HALF_PAIR.match(match.group()) and _HALF_REST.match(self._raw, match.end()):
                break
            taken = match.end()
            inside.add(match.group())
        if last and not closed:
            inside.add(self._raw[taken:], plain=True)
            taken = len(self._raw)
        self._take(taken)
        if closed:
            self._leave(inside)
            self._take(1)
            self._final = self._base
            return True
        self._final = max(self._final, inside.flush())
        self._gather(inside)
        return False

    def _leave(self, inside: "_String") -> None:
        inside.finish()
        self._gather(inside)
        self._last_string, self._outside = inside.beginning, ""
        self._inside = None
        self._final = self._base

    def _gather(self, inside: "_String") -> None:
        found, edits = inside.results()
        self.found += found
        self.edits += edits


class _String:
    """One string: its decoded text goes to `watcher`; offsets come back as those of the raw stream."""

    def __init__(self, watcher: TextWatcher, base: int) -> None:
        """base: offset of the string's first character in the raw stream."""
        self.beginning = ""
        self._watcher = watcher
        self._pieces: list[str] = []
        self._ends = [(0, base)]  # (decoded, raw) behind each escape: from there both grow alike
        self._decoded = 0
        self._raw = base

    def add(self, piece: str, *, plain: bool = False) -> None:
        """A run without escapes, or one escape."""
        text = piece
        if piece[:1] == "\\" and not plain:
            try:
                text = scan_string(piece + '"', 0, False)[0]
            except ValueError:
                text = piece[1]
        self._pieces.append(text)
        self._decoded += len(text)
        self._raw += len(piece)
        if text is not piece:
            self._ends.append((self._decoded, self._raw))

    def flush(self) -> int:
        """Watch what was added; the raw offset before which everything is final."""
        text = "".join(self._pieces)
        self._pieces = []
        if len(self.beginning) < _LONGEST_KEY:
            self.beginning = (self.beginning + text)[:_LONGEST_KEY]
        return self._origin(self._watcher.feed(text))

    def finish(self) -> None:
        self.flush()
        self._watcher.close(tail='"' if self._watcher.led else "")

    def results(self) -> tuple[list[Finding], list[Edit]]:
        watcher = self._watcher
        found = [
            msgspec.structs.replace(finding, start=self._origin(finding.start), end=self._origin(finding.end))
            for finding in watcher.found
        ]
        edits = [(self._origin(start), self._origin(end), as_json(new)) for start, end, new in watcher.edits]
        watcher.found, watcher.edits = [], []
        return found, edits

    def _origin(self, decoded: int) -> int:
        at, raw = self._ends[bisect_right(self._ends, (decoded, 1 << 62)) - 1]
        return raw + decoded - at
