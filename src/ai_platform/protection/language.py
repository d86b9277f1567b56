"""A language model of the operator's, from a folder: where names of people stand in prose. Needs the extra `names`.

Nothing is downloaded, and no package is imported by a name that a setting holds. One thread at a time may ask.
Above: people.py, bootstrap, the `scan` command. Below: prose.py.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from ai_platform.domain.errors import ConfigError
from ai_platform.domain.extras import only_missing
from ai_platform.domain.finding import Direction, Finding, ProtectionPlan
from ai_platform.protection.prose import pieces
from ai_platform.protection.rule import Hit, Span
from ai_platform.protection.rules.people import PERSON
from ai_platform.protection.scanner import Scanner

_ALONE = re.compile("[\ud800-\udfff]")
"""Half of a character: JSON may hold it, and spaCy takes no such text."""

_PERSONS = frozenset({"PERSON", "PER"})
"""What models call a person: the English ones the former, most others the latter."""

_WORDS = re.compile(r"(?<![^\W_])[^\W\d_]+(?![^\W_])")
_NO_NAME = re.compile(r"[^\w\s.'’,-]|[\d_]|[a-z](?<!\bMc)(?<!\bMac)(?<!\bDe)(?<!\bDi)(?<!\bLa)(?<!\bLe)(?<!\bVan)[A-Z]")
"""Digits, marks of code, and a capital inside of a word."""

_BEFORE, _BEHIND = frozenset("`_/\\.@#$<[{="), frozenset("`_/\\@#=([{<>")
"""What stands beside a word of code, a path or an address."""

_ACRONYM = 3

_UNUSED = ("tagger", "parser", "senter", "morphologizer", "attribute_ruler", "lemmatizer", "trainable_lemmatizer")
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What spaCy raises for a folder that is no model, or one of another version."""


class NameModel:
    """pipeline: a spaCy pipeline."""

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline

    def spans(self, piece: str) -> list[Span]:
        """Where names stand in a piece of prose (code points)."""
        piece = _ALONE.sub("?", piece)
        with self._pipeline.memory_zone():  # else words of every text would be kept for ever
            found = [
                _first_line(piece, one.start_char, one.end_char)
                for one in self._pipeline(piece).ents
                if one.label_ in _PERSONS
            ]
        words = frozenset(_WORDS.findall(piece)) if found else frozenset[str]()
        return [span for span in found if _may_be_name(piece, *span, words)]


def _first_line(piece: str, start: int, end: int) -> Span:
    """Models take the beginning of the next line along."""
    name = piece[start:end].lstrip()
    start = end - len(name)
    return start, start + len(name.split("\n", 1)[0].rstrip())


def _may_be_name(piece: str, start: int, end: int, words: frozenset[str]) -> bool:
    """Not what is written as code or an acronym is, nor one word that the text also has without its capital.

    Made for texts about software, where models take three names of things for people for each person.
    """
    name = piece[start:end].strip(".,-'’")
    if _NO_NAME.search(name) or piece[max(start - 1, 0) : start] in _BEFORE or piece[end : end + 1] in _BEHIND:
        return False
    if not any(word[:1].isupper() and not (word.isupper() and len(word) >= _ACRONYM) for word in name.split()):
        return False
    return " " in name or name.lower() not in words


class NamesToo(Scanner):
    """Finds names of people in plain texts as well, where they overlap nothing else."""

    def __init__(self, plan: ProtectionPlan, model: NameModel) -> None:
        super().__init__(plan)
        self._model = model

    def scan(self, text: str, *, direction: Direction = Direction.INPUT, team: str | None = None) -> list[Finding]:
        found = super().scan(text, direction=direction, team=team)
        if not (self.plan.enabled and self.looks_for(PERSON)):
            return found
        named = [
            self.finding(text, Hit(begin + start, begin + stop, PERSON), direction, team)
            for begin, end in pieces(text)
            for start, stop in self._model.spans(text[begin:end])
            if self.accepts(PERSON, text, begin + start, begin + stop)
        ]
        taken = [(finding.start, finding.end) for finding in found]
        apart = [each for each in named if not any(start < each.end and each.start < end for start, end in taken)]
        return sorted([*found, *apart], key=lambda finding: finding.start)


def load_model(folder: Path, *, what: str) -> NameModel:
    """what: how messages call the setting. Takes seconds. Raises ConfigError."""
    try:
        spacy: Any = import_module("spacy")  # here, because it takes seconds and nearly nobody wants it
    except ImportError as error:
        only_missing(error, "spacy")
        raise ConfigError(f'{what} needs an extra: pip install "ai-platform[names]".') from None
    if not (folder / "config.cfg").is_file():
        raise ConfigError(
            f"{what}: {folder} is no spaCy model: name the folder that holds its config.cfg"
            " (of the package en_core_web_sm it is en_core_web_sm/en_core_web_sm-VERSION)."
        )
    try:
        pipeline = spacy.load(folder, exclude=list(_UNUSED))
    except _UNREADABLE as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise ConfigError(f"{what}: {folder} cannot be loaded with spaCy {spacy.__version__}: {said}") from error
    labels = {label for given in pipeline.pipe_labels.values() for label in given}
    if not labels & _PERSONS:
        raise ConfigError(f"{what}: the model in {folder} knows no names of people (no label PERSON or PER).")
    return NameModel(pipeline)
