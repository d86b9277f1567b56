"""Where a place within a written value stands in its file: line and column of a letter in a YAML text.

Exact for values in one line and for blocks (`|`); for folded texts it is the line's, or the value's, beginning.
Above: compile.
"""

from ai_platform.documents.errors import Position


def place_in(text: str, value: Position, written: str, at: int) -> Position:
    """text: the file's. value: where the value begins. written: the value. at: offset of the letter in it."""
    lines = text.split("\n")
    line = lines[value.line - 1] if value.line <= len(lines) else ""
    first = line[value.column - 1 : value.column]
    if first in {"|", ">"}:
        return _in_block(lines, value, written, at)
    if "\n" in written:
        return value
    if first == "'":
        return Position(value.line, value.column + 1 + at + written[:at].count("'"))
    if first == '"':
        return Position(value.line, value.column + 1 + _escaped(line[value.column :], at))
    return Position(value.line, value.column + at) if line[value.column - 1 :].startswith(written[:at]) else value


def _in_block(lines: list[str], value: Position, written: str, at: int) -> Position:
    before = written[:at]
    number = value.line + before.count("\n")  # index of the line below, as the block begins in the next one
    if number >= len(lines):
        return value
    first = next((line for line in lines[value.line :] if line.strip()), "")
    indent = len(first) - len(first.lstrip(" "))
    return Position(number + 1, indent + 1 + at - (before.rfind("\n") + 1))


def _escaped(rest: str, at: int) -> int:
    """How many letters of the double-quoted text stand for its first `at` ones."""
    index = 0
    for _ in range(at):
        index += 2 if rest[index : index + 1] == "\\" else 1
    return index
