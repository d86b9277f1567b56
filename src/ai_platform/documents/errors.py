"""What is wrong with a document, where, and what was probably meant."""

import difflib
from collections.abc import Iterable
from typing import NamedTuple

from ai_platform.domain.errors import ConfigError


class Position(NamedTuple):
    """line and column as an editor counts them: from 1."""

    line: int
    column: int


class Problem(NamedTuple):
    """One thing that is wrong. sentence ends with a full stop; suggestion is the word that was probably meant."""

    position: Position
    sentence: str
    suggestion: str | None = None

    def __str__(self) -> str:
        return f"{self.sentence} Did you mean '{self.suggestion}'?" if self.suggestion else self.sentence


class DocumentError(ConfigError):
    """A document that cannot be used. `str(error)` is `name:line:column: sentence Did you mean 'word'?`.

    problems: every problem found, in the order of the text; the message is the first one's.
    excerpt: the line of the first one with a caret under it; excerpts: of each.
    """

    def __init__(self, name: str, text: str, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: problem.position))
        first = self.problems[0]
        self.name = name
        self.line, self.column = first.position
        self.suggestion = first.suggestion
        more = len(self.problems) - 1
        tail = f" ({more} more problem{'s' if more > 1 else ''} in this file.)" if more else ""
        super().__init__(f"{first}{tail}", where=f"{name}:{self.line}:{self.column}")
        self.excerpt = excerpt(text, first.position)
        self.excerpts = tuple(excerpt(text, problem.position) for problem in self.problems)


def excerpt(text: str, position: Position) -> str:
    """The line at `position` and a caret under the column; a window of it when the line is long."""
    lines = text.splitlines()
    line = lines[position.line - 1] if 0 < position.line <= len(lines) else ""
    start = max(0, position.column - 61)
    window = "".join(letter if letter.isprintable() else " " for letter in line[start : start + 120])
    return f"{window}\n{' ' * (position.column - 1 - start)}^"


def suggest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be, or None when nothing is near."""
    spelt: dict[str, list[str]] = {}
    for candidate in sorted(known):
        spelt.setdefault(_plain(candidate), []).append(candidate)
    close = difflib.get_close_matches(_plain(word)[:80], list(spelt), n=1, cutoff=0.6)
    if not close:
        return None
    return max(spelt[close[0]], key=lambda candidate: difflib.SequenceMatcher(None, word, candidate).ratio())


def _plain(word: str) -> str:
    return word.lower().replace("-", "_").replace(" ", "_")
