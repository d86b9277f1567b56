"""The visible text of an HTML page, in one pass whose time grows with the page's size, whatever is in it.

Not a parser of HTML: the standard library's takes minutes for some pages of two megabytes. Above: extract.
"""

import html
import re

_UNSEEN = {"script", "style", "noscript", "template", "svg"}
_BREAKS = {"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "pre", "td", "th"}
_RAW = {"script", "style", "title"}
_TAG = re.compile(r"<(?P<end>/?)(?P<name>[a-zA-Z][a-zA-Z0-9:-]*)")
_REST = re.compile(r"""(?>[^>"']*)(?>(?>"[^"]*"|'[^']*')(?>[^>"']*))*+>""")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?")
_CLOSING = {name: re.compile(f"</{name}", re.IGNORECASE) for name in _RAW}


class Page:
    """title: of the page, "" when it has none. text: lines without markup."""

    def __init__(self, source: str) -> None:
        self.title = ""
        self._source = source
        self._pieces: list[str] = []
        self._unseen = 0
        self._quotes = True
        self._read()
        lines = (" ".join(line.split()) for line in _plain("".join(self._pieces)).split("\n"))
        self.text = "\n".join(line for line in lines if line)

    def _read(self) -> None:
        at = 0
        while (begin := self._source.find("<", at)) >= 0:
            self._show(at, begin)
            at = self._markup(begin)
        self._show(at, len(self._source))

    def _markup(self, begin: int) -> int:
        """Where the text goes on behind a `<`."""
        source = self._source
        if source.startswith("<!--", begin):
            return _behind(source, "-->", begin + 4)
        if source.startswith(("<!", "<?"), begin):
            return _behind(source, ">", begin + 2)
        tag = _TAG.match(source, begin)
        if tag is None:
            self._pieces.append("" if self._unseen else "<")
            return begin + 1
        name, closes = tag["name"].lower(), bool(tag["end"])
        end = self._end_of_tag(tag.end())
        if name in _UNSEEN:
            self._unseen = max(0, self._unseen - 1) if closes else self._unseen + 1
        elif name in _BREAKS:
            self._pieces.append("\n")
        return end if closes or name not in _RAW else self._raw(name, end)

    def _raw(self, name: str, begin: int) -> int:
        """What is within script, style and title is no markup."""
        closing = _CLOSING[name].search(self._source, begin)
        end = closing.start() if closing else len(self._source)
        if name == "title" and not self._unseen and not self.title:
            self.title = _plain(self._source[begin : min(end, begin + 4000)])
        return end

    def _end_of_tag(self, begin: int) -> int:
        """A `>` within quotes ends no tag, unless a quote is never closed; then quotes count no more."""
        if self._quotes:
            rest = _REST.match(self._source, begin)
            if rest is not None:
                return rest.end()
            self._quotes = False
        return _behind(self._source, ">", begin)

    def _show(self, begin: int, end: int) -> None:
        if not self._unseen:
            self._pieces.append(self._source[begin:end])


def _behind(source: str, sign: str, begin: int) -> int:
    end = source.find(sign, begin)
    return len(source) if end < 0 else end + len(sign)


def _plain(text: str) -> str:
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
