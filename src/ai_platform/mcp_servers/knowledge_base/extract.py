"""A file's bytes into title and text. Unknown endings, binary content and undecodable text are no documents."""

import re
from html.parser import HTMLParser
from pathlib import PurePosixPath

import msgspec

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
_UNSEEN = {"script", "style", "noscript", "template", "svg"}
_BREAKS = {"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "pre", "td", "th"}
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
        page = _Page()
        page.feed(text)
        page.close()
        return Extract(_line(page.title) or path.stem, _KINDS[ending], page.text())
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


class _Page(HTMLParser):
    """Collects the visible text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self._pieces: list[str] = []
        self._unseen = 0
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag == "title" and not self._unseen:
            self._in_title = True
        elif tag in _BREAKS:
            self._pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag == "title":
            self._in_title = False
        elif tag in _BREAKS:
            self._pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._unseen:
            self._pieces.append(data)

    def text(self) -> str:
        lines = (" ".join(line.split()) for line in "".join(self._pieces).split("\n"))
        return "\n".join(line for line in lines if line)
