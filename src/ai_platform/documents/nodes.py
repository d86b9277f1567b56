"""Text -> tree of nodes with positions, bounded in size, depth and alias expansion. No types, no meaning.

Built from PyYAML's event stream and not by its composer: duplicate keys are seen, depth is checked before recursion,
and an alias costs as much as what it stands for, so that a small file cannot become a large one.
"""

import re
from collections.abc import Iterator

import msgspec
import yaml

from ai_platform.documents.errors import Position, Problem

MAX_BYTES = 2 * 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 200_000

_INVISIBLE_BREAK = re.compile("[\x85\u2028\u2029]")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Scalar(msgspec.Struct):
    """plain: written without quotes, so that it may mean a number, a boolean or nothing."""

    position: Position
    text: str
    plain: bool
    weight: int = 1


class Items(msgspec.Struct):
    position: Position
    nodes: list["Node"]
    weight: int = 1


class Mapping(msgspec.Struct):
    """keys and nodes have the same length; keys are unique."""

    position: Position
    keys: list[Scalar]
    nodes: list["Node"]
    weight: int = 1


Node = Scalar | Items | Mapping


class NotADocument(Exception):
    """The text has no usable tree: not YAML, or more than the bounds allow."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def parse(text: str) -> Node:
    """The tree of the one document in `text`; an empty text is an empty mapping.

    Raises:
        NotADocument: with the position and the reason.

    """
    if len(text) > MAX_BYTES:
        raise _wrong(Position(1, 1), f"The file is larger than {MAX_BYTES // 1024} KiB.")
    if found := _INVISIBLE_BREAK.search(text):  # YAML would end a line here and no editor would show it
        raise _wrong(_position_of(text, found.start()), "There is an invisible line separator here; remove it.")
    builder = _Builder()
    try:
        for event in _events(text):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = _at(mark) if mark else Position(1, 1)
        raise _wrong(position, _explain(error, _letter(text, position))) from error
    except yaml.reader.ReaderError as error:
        position = _position_of(text, int(error.position))
        raise _wrong(position, "There is a character here that YAML does not allow.") from error
    except UnicodeEncodeError as error:
        raise _wrong(_position_of(text, error.start), "There is a character here that is not Unicode text.") from error
    return builder.root or Mapping(Position(1, 1), [], [])


def _events(text: str) -> Iterator[yaml.Event]:
    return yaml.parse(text, Loader=_LOADER)


class _Builder:
    """Collections being built lie on a stack; a finished node goes into the one below it."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[Items | Mapping] = []
        self._names: list[str | None] = []
        self._keys: list[dict[str, Position]] = []
        self._waiting: list[Scalar | None] = []
        self._anchors: dict[str, Node] = {}

    def feed(self, event: yaml.Event) -> None:
        position = _at(event.start_mark)
        match event:
            case yaml.ScalarEvent():
                _no_tag(event, position)
                scalar = Scalar(position, event.value, plain=not event.style)
                self._remember(event.anchor, scalar)
                self._place(scalar, position)
            case yaml.SequenceStartEvent():
                _no_tag(event, position)
                self._push(Items(position, []), event.anchor)
            case yaml.MappingStartEvent():
                _no_tag(event, position)
                self._push(Mapping(position, [], []), event.anchor)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._pop()
            case yaml.AliasEvent():
                self._place(self._aliased(event.anchor, position), position)
            case yaml.DocumentStartEvent() if self.root is not None:
                raise _wrong(position, "A second document begins here; one file holds one document.")
            case _:
                pass

    def _push(self, node: Items | Mapping, anchor: str | None) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _wrong(node.position, f"The file nests deeper than {MAX_DEPTH} levels.")
        if self._is_key_next():
            raise _wrong(node.position, "A key must be a plain word, not a list or a mapping.")
        self._open.append(node)
        self._names.append(anchor)
        self._keys.append({})
        self._waiting.append(None)

    def _pop(self) -> None:
        node = self._open.pop()
        self._keys.pop()
        self._waiting.pop()
        self._remember(self._names.pop(), node)
        self._place(node, node.position)

    def _place(self, node: Node, position: Position) -> None:
        """Put a finished node where it belongs. position: of the alias when it is one, for errors."""
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        parent.weight += node.weight
        if parent.weight > MAX_NODES:
            raise _wrong(position, f"The file holds more than {MAX_NODES} values once its aliases are written out.")
        if isinstance(parent, Items):
            parent.nodes.append(node)
        elif (key := self._waiting[-1]) is not None:
            parent.keys.append(key)
            parent.nodes.append(node)
            self._waiting[-1] = None
        else:
            self._waiting[-1] = self._new_key(node, position)

    def _new_key(self, node: Node, position: Position) -> Scalar:
        if not isinstance(node, Scalar):
            raise _wrong(position, "A key must be a plain word, not a list or a mapping.")
        if node.plain and node.text == "<<":
            raise _wrong(position, "Merge keys ('<<') are not supported; write the keys out.")
        seen = self._keys[-1]
        if (first := seen.get(node.text)) is not None:
            sentence = f"The key '{_short(node.text)}' is already set in line {first.line}; keep one of the two."
            raise _wrong(position, sentence)
        seen[node.text] = position
        return Scalar(position, node.text, node.plain)

    def _is_key_next(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1], Mapping) and self._waiting[-1] is None

    def _remember(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _aliased(self, anchor: str, position: Position) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            raise _wrong(position, f"The alias '*{_short(anchor)}' names no value above it.")
        return node


def _no_tag(event: yaml.NodeEvent, position: Position) -> None:
    if event.tag is not None:  # pyright: ignore[reportAttributeAccessIssue] - the three events fed here have one
        raise _wrong(position, "Tags ('!...') are not supported; the platform knows which type each key has.")


def _at(mark: yaml.Mark) -> Position:
    return Position(mark.line + 1, mark.column + 1)


def _position_of(text: str, index: int) -> Position:
    before = text[:index]
    return Position(before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1)


def _letter(text: str, position: Position) -> str:
    lines = text.splitlines()[position.line - 1 : position.line]
    return lines[0][position.column - 1 : position.column] if lines else ""


def _explain(error: yaml.MarkedYAMLError, letter: str) -> str:
    problem = error.problem or "it cannot be read"
    context = error.context or ""
    if letter == "\t":
        return "A tab stands where YAML needs spaces; indent with spaces only."
    if "cannot start any token" in problem:
        return f"A value cannot begin with '{letter}'; put it in quotes."
    if "escape" in problem:
        return "A double-quoted text holds an unknown escape; use single quotes or write the backslash twice."
    if problem.startswith("mapping values are not allowed"):
        return "A ':' stands where no key can be; check the indentation, and quote a text that holds ': '."
    if "could not find expected ':'" in problem:
        return "A key without ':' ends here; write 'key: value'."
    if "flow" in context and error.context_mark:
        opened = _at(error.context_mark)
        return f"The '[' or '{{' of line {opened.line}, column {opened.column} is not closed before this."
    if "quoted scalar" in context and error.context_mark:
        return f"The quote opened in line {error.context_mark.line + 1} is not closed."
    if "block" in context:
        return "The indentation does not fit the lines above; keys of one section begin in one column."
    return f"This is not valid YAML: {problem}{f' ({context})' if context else ''}."


def _wrong(position: Position, sentence: str) -> NotADocument:
    return NotADocument(Problem(position, sentence))


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}..."
