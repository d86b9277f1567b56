"""Reading a document, and finding its places again when its meaning turns out to be wrong."""

from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from msgspec import inspect

from ai_platform.documents.convert import Converter
from ai_platform.documents.errors import DocumentError, Position, Problem
from ai_platform.documents.nodes import MAX_BYTES, Items, Mapping, Node, NotADocument, parse
from ai_platform.domain.errors import ConfigError

T = TypeVar("T")


class Document(Generic[T]):
    """A valid document: its value, its text, and where each part of it stands.

    A path is the keys and list indices from the top: `("content_filters", "block_patterns", 0, "scope")`.
    """

    def __init__(self, name: str, text: str, root: Node, value: T) -> None:
        self.name = name
        self.text = text
        self.value = value
        self._root = root

    def has(self, *path: str | int) -> bool:
        """The text itself sets this key (a default does not count)."""
        return self._find(path)[2]

    def position(self, *path: str | int, key: bool = False) -> Position:
        """Where the value (or, with key, the key) stands; of the nearest part that exists when the path does not."""
        at_key, node, _ = self._find(path)
        return at_key if key else node.position

    def where(self, *path: str | int, key: bool = False) -> str:
        """`name:line:column` of the value at `path`."""
        line, column = self.position(*path, key=key)
        return f"{self.name}:{line}:{column}"

    def problem(self, sentence: str, *path: str | int, suggestion: str | None = None, key: bool = False) -> Problem:
        return Problem(self.position(*path, key=key), sentence, suggestion)

    def error(self, sentence: str, *path: str | int, suggestion: str | None = None, key: bool = False) -> DocumentError:
        """The error to raise when the value at `path` cannot be meant (a full sentence with a full stop)."""
        return self.errors([self.problem(sentence, *path, suggestion=suggestion, key=key)])

    def errors(self, problems: list[Problem]) -> DocumentError:
        return DocumentError(self.name, self.text, problems)

    def _find(self, path: tuple[str | int, ...]) -> tuple[Position, Node, bool]:
        node, at_key = self._root, self._root.position
        for part in path:
            if isinstance(node, Mapping):
                index = next((i for i, key in enumerate(node.keys) if key.text == part), None)
                if index is None:
                    return at_key, node, False
                at_key, node = node.keys[index].position, node.nodes[index]
            elif isinstance(node, Items) and isinstance(part, int) and part < len(node.nodes):
                node = node.nodes[part]
                at_key = node.position
            else:
                return at_key, node, False
        return at_key, node, True


def load(source: Path | str, kind: type[T], *, name: str = "") -> T:
    """The value of a file (a Path) or of a text (a str). See `read` for the errors."""
    return read(source, kind, name=name).value


def read(source: Path | str, kind: type[T], *, name: str = "") -> Document[T]:
    """The document in a file (a Path) or a text (a str). kind: a msgspec Struct, or `dict[str, Struct]`.

    name: what errors call it; the file's path, or `<text>`, when not given.

    Raises:
        DocumentError: not YAML, too large, an unknown or repeated key, a wrong type; with position and suggestion.
        ConfigError: the file cannot be read.

    """
    title = name or (str(source) if isinstance(source, Path) else "<text>")
    text = read_text(source, name=title) if isinstance(source, Path) else source
    try:
        root = parse(text)
    except NotADocument as error:
        raise DocumentError(title, text, [error.problem]) from error
    converter = Converter()
    value = converter.convert(root, _shape(kind))
    if converter.problems:
        raise DocumentError(title, text, converter.problems)
    return Document(title, text, root, value)


@lru_cache(maxsize=64)
def _shape(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def read_text(path: Path, *, name: str = "") -> str:
    """The text of a file of bounded size.

    Raises:
        ConfigError: it cannot be read, is too large, or is not UTF-8.

    """
    title = name or str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"The file cannot be read: {error.strerror or error}.", where=title) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"The file is larger than {MAX_BYTES // 1024} KiB.", where=f"{title}:1:1")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise ConfigError("The file is not UTF-8 text.", where=f"{title}:{line}:{column}") from error
