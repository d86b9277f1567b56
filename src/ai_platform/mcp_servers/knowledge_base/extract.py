"""A file's bytes into title and text. Unknown endings, binary content and undecodable text are no documents."""

import re
from pathlib import PurePosixPath

import msgspec

from ai_platform.mcp_servers.knowledge_base.page import Page

_KINDS = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".mdx": "text/markdown",
    ".txt": "text/plain",
    ".text": "text/plain",
    ".rst": "text/x-rst",
    ".adoc": "text/asciidoc",
    ".org": "text/org",
    ".html": "text/plain",  # read as text, without its markup
    ".htm": "text/plain",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".json": "application/json",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".toml": "application/toml",
    ".xml": "application/xml",
}
_FRONT_TITLE = re.compile(r"\A---\r?\n(?:.*\r?\n)*?title:[ \t]*(?P<title>[^\r\n]+)")
_HEADING = re.compile(r"^(?:#{1,6}[ \t]+|=[ \t]+)(?P<title>[^\r\n]+?)[ \t#]*$", re.MULTILINE)
_UNDERLINED = re.compile(r"^(?P<title>[^\s#=\-*][^\r\n]*)\r?\n[=\-~]{3,}[ \t]*$", re.MULTILINE)
_TITLE_WITHIN = 4000
_TITLE_CHARACTERS = 200


class Extract(msgspec.Struct, frozen=True):
    title: str
    kind: str
    body: str


def is_readable(name: str) -> bool:
    """The ending is one of those that can be read."""
    return PurePosixPath(name).suffix.lower() in _KINDS


def extract(name: str, data: bytes) -> Extract | None:
    """Title, media type and text; None when the bytes are no text. name: the file's name, for its ending."""
    path = PurePosixPath(name)
    ending = path.suffix.lower()
    if ending not in _KINDS or b"\0" in data:
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    if ending in {".html", ".htm"}:
        page = Page(text)
        return Extract(_line(page.title) or path.stem, _KINDS[ending], page.text)
    return Extract(_title(text, ending) or path.stem, _KINDS[ending], text)


def _title(text: str, ending: str) -> str:
    if ending in {".csv", ".tsv", ".json", ".yaml", ".yml", ".toml", ".xml", ".txt", ".text"}:
        return ""
    head = text[:_TITLE_WITHIN]
    found = _FRONT_TITLE.search(head) if "\n---" in head else None
    if found is None:
        headings = [match for match in (_HEADING.search(head), _UNDERLINED.search(head)) if match]
        found = min(headings, key=lambda match: match.start(), default=None)
    return _line(found["title"]).strip("\"'") if found else ""


def _line(text: str) -> str:
    return " ".join(text.split())[:_TITLE_CHARACTERS]
