"""Incremental inspection of one growing text: how much of it is final, and which edits it needs.

The result equals inspecting the whole text at once, for any split: a position is final when nothing that follows can
create or change a finding before it. Above: stream.py. Below: scanner.
"""

import re

from ai_platform.domain.finding import Direction, Finding
from ai_platform.protection.replace import replacement
from ai_platform.protection.rule import LOOK_BACK
from ai_platform.protection.scanner import Scanner

Edit = tuple[int, int, str]

_HOLD = re.compile(r"-----BEGIN [^\0]{0,16384}\Z|(?:[A-Z0-9+(][A-Z0-9().-]{0,22} ){0,12}\S*\Z")


class Watcher:
    """edits: (start, end, new text), ascending, in offsets of the whole stream. found: findings not yet collected."""

    def __init__(self, scanner: Scanner, team: str | None) -> None:
        self.edits: list[Edit] = []
        self.found: list[Finding] = []
        self._scanner = scanner
        self._team = team
        self._text = ""
        self._base = 0
        self._safe = 0

    def feed(self, text: str) -> int:
        """Append; returns the offset before which everything is final."""
        raise NotImplementedError

    def close(self) -> int:
        raise NotImplementedError


class TextWatcher(Watcher):
    def feed(self, text: str) -> int:
        self._text += text
        hold = _HOLD.search(self._text, max(0, self._safe - self._base))
        return self._advance(self._base + (hold.start() if hold else len(self._text)))

    def close(self) -> int:
        return self._advance(self._base + len(self._text))

    def _advance(self, limit: int) -> int:
        if limit <= self._safe:
            return self._safe
        scanner = self._scanner
        hits = scanner.hits(self._text)
        if hits:
            for hit in scanner.settle(hits, Direction.OUTPUT, self._team):
                start, end = self._base + hit.start, self._base + hit.end
                if start < self._safe:
                    continue
                if end > limit:
                    limit = min(limit, start)
                    break
                if start >= limit:
                    break
                finding = scanner.finding(self._text, hit, Direction.OUTPUT, self._team)
                self.found.append(Finding(**{**_fields(finding), "start": start, "end": end}))
                new = replacement(finding, self._text[hit.start : hit.end])
                if new is not None:
                    self.edits.append((start, end, new))
        self._safe = limit
        drop = limit - self._base - LOOK_BACK
        if drop > LOOK_BACK:
            self._text = self._text[drop:]
            self._base += drop
        return limit


class JsonWatcher(TextWatcher):
    """Tool input as it is streamed: JSON text, inspected as written."""


def _fields(finding: Finding) -> dict[str, object]:
    return {name: getattr(finding, name) for name in finding.__struct_fields__}
