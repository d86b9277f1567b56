"""What a caller typed into phrases of plain words. No operator of any search engine survives, so none can fail."""

import re

LONGEST = 1000
MOST_PHRASES = 32
_PIECES = re.compile(r'"([^"]*)"|(\S+)')
_WORDS = re.compile(r"[^\W_]+")


def phrases(text: str) -> list[list[str]]:
    """Each phrase as its words: words in double quotes belong together, and so do the parts of `max_tokens`.

    Only letters and digits remain. Text beyond 1000 characters and 32 phrases is ignored.
    """
    found = (_WORDS.findall(quoted or plain) for quoted, plain in _PIECES.findall(text[:LONGEST]))
    return [words for words in found if words][:MOST_PHRASES]


def quoted(words: list[str] | tuple[str, ...]) -> str:
    """A phrase as SQLite FTS5 reads it: one string, in which nothing has a meaning (sqlite.org/fts5.html, 3.1)."""
    return '"' + " ".join(words).replace('"', '""') + '"'
