"""What a condition reads and how much work it may be, found out before it ever runs.

CEL checks names only when it meets them; a policy must be known to be right when it loads. Above: expressions.
Below: vocabulary. Reads the text by its own few tokens (github.com/google/cel-spec, "Syntax"); the parser is CEL's.
"""

import re
from collections.abc import Iterable, Sequence

import msgspec

from ai_platform.documents import suggest
from ai_platform.policy.vocabulary import FIELDS, FUNCTIONS, MACROS, METHODS, MISTAKEN, WORDS

LONGEST = 2000
DEEPEST = 2
MOST_SUMS = 16
"""Letters in an expression, loops within loops, and signs that can make a text longer."""

_TOKEN = re.compile(
    r"(?P<space>\s+|//[^\n]*)"
    r"|(?P<text>[bB]?[rR]?(?:\"\"\"(?s:.*?)\"\"\"|'''(?s:.*?)''')"
    r"|[rR](?:\"[^\"\n]*\"|'[^'\n]*')|[bB]?(?:\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'))"
    r"|(?P<number>(?:0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)u?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|.)"
)


class Mistake(Exception):
    """at: offset into the expression. `str(error)` is a full sentence; suggestion: what was probably meant."""

    def __init__(self, sentence: str, at: int, suggestion: str | None = None) -> None:
        super().__init__(sentence)
        self.at = at
        self.suggestion = suggestion


class Token(msgspec.Struct, frozen=True):
    """kind: `text`, `number`, `name` or `sign`."""

    kind: str
    text: str
    at: int


class Analysis(msgspec.Struct, frozen=True):
    """reads: what it looks at, such as `caller.team`. variables: the names that may stand alone in it.

    names: members of findings that it names, as (`types`, `US_SSN`, offset). depth: loops within loops; what looks at
    the arguments within a loop counts as one more. patterns: (offset of `matches`, the literal given to it).
    """

    reads: frozenset[str]
    variables: frozenset[str]
    names: tuple[tuple[str, str, int], ...]
    depth: int
    patterns: tuple[tuple[int, Token], ...]

    def touches(self, root: str) -> bool:
        """Whether it reads anything of this variable."""
        return any(name.startswith(f"{root}.") for name in self.reads)


def tokens_of(source: str) -> list[Token]:
    """Raises Mistake for a text that does not end and for what is too long."""
    if len(source) > LONGEST:
        raise Mistake(f"A condition has at most {LONGEST} letters; this one has {len(source)}.", LONGEST)
    found: list[Token] = []
    for match in _TOKEN.finditer(source):
        kind = match.lastgroup or "sign"
        if kind != "space":
            found.append(Token(kind, match[0], match.start()))
        if kind == "sign" and match[0] in "\"'":
            raise Mistake("The text that begins here does not end.", match.start())
    return found


def analyse(source: str) -> Analysis:
    """What a condition reads, and that it says nothing that is unknown or without bounds.

    Raises:
        Mistake: with the place in the expression.

    """
    return _Reader(tokens_of(source)).read()


class _Reader:
    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._reads: set[str] = set()
        self._names: list[tuple[str, str, int]] = []
        self._patterns: list[tuple[int, Token]] = []
        self._bound: set[str] = set()
        self._loops: list[bool] = []
        self._depth = 0

    def read(self) -> Analysis:
        self._bind()
        if sum(token.text == "+" for token in self._tokens) > MOST_SUMS:
            raise Mistake(f"A condition adds at most {MOST_SUMS} times.", self._tokens[0].at)
        for index, token in enumerate(self._tokens):
            if token.kind == "name":
                self._name(index, token)
            elif token.text == "(":
                self._open(index)
            elif token.text == ")" and self._loops:
                self._loops.pop()
            elif token.text == "=":
                raise Mistake("A single '=' compares nothing.", token.at, "==")
            elif token.text in "&|" and token.kind == "sign":
                raise Mistake(f"A single '{token.text}' joins nothing.", token.at, token.text * 2)
        variables = frozenset(FIELDS) | self._bound
        return Analysis(frozenset(self._reads), variables, tuple(self._names), self._depth, tuple(self._patterns))

    def _text(self, index: int) -> str:
        return self._tokens[index].text if 0 <= index < len(self._tokens) else ""

    def _bind(self) -> None:
        """The names that loops give to what they look at: `x` of `roles.exists(x, ...)`."""
        for index, token in enumerate(self._tokens):
            is_loop = token.text in MACROS and self._text(index - 1) == "." and self._text(index + 1) == "("
            if not is_loop or self._text(index + 3) != ",":
                continue
            bound = self._tokens[index + 2]
            if bound.text in FIELDS or bound.text in WORDS:
                raise Mistake(f"'{bound.text}' is taken; give what the loop looks at another name.", bound.at)
            self._bound.add(bound.text)

    def _open(self, index: int) -> None:
        loops = self._text(index - 1) in MACROS and self._text(index - 2) == "."
        self._loops.append(loops)
        self._depth = max(self._depth, sum(self._loops))
        if sum(self._loops) > DEEPEST:
            at = self._tokens[index].at
            raise Mistake(f"Loops (exists, all, ...) stand at most {DEEPEST} deep within each other.", at)

    def _name(self, index: int, token: Token) -> None:
        called = self._text(index + 1) == "("
        if self._text(index - 1) == ".":
            if called:
                self._method(index, token)
            return
        if called:
            _known("function", token, FUNCTIONS, also=METHODS | MACROS)
        elif token.text in FIELDS:
            self._field(index, token)
        elif token.text not in WORDS and token.text not in self._bound:
            if token.text in MISTAKEN:
                raise Mistake(f"'{token.text}' is not a word of CEL.", token.at, MISTAKEN[token.text])
            _known("variable", token, FIELDS)

    def _method(self, index: int, token: Token) -> None:
        if token.text == "map":
            raise Mistake("'map' cannot be used in a condition.", token.at, "exists")
        _known("function", token, METHODS | MACROS)
        if token.text == "matches":
            pattern = self._tokens[index + 2] if index + 3 < len(self._tokens) else token
            if pattern.kind != "text" or self._text(index + 3) != ")":
                raise Mistake("'matches' takes its pattern as one text, written here.", token.at)
            self._patterns.append((token.at, pattern))

    def _field(self, index: int, token: Token) -> None:
        """`caller.team`: the field must be written with a point, so that it can be known."""
        field = self._tokens[index + 2] if index + 2 < len(self._tokens) else token
        fields = FIELDS[token.text]
        if self._text(index + 1) != "." or field.kind != "name" or self._text(index + 3) == "(":
            example = f"{token.text}.{min(fields)}"
            raise Mistake(f"'{token.text}' is no value by itself; name a field of it, such as {example}.", token.at)
        _known(f"field of '{token.text}'", field, fields)
        self._reads.add(f"{token.text}.{field.text}")
        if (token.text, field.text) == ("call", "arguments"):
            opened = 1
            while self._text(index - opened) == "(":
                opened += 1
            closed = all(self._text(index + 2 + number) == ")" for number in range(1, opened))
            if opened > 1 and closed and self._text(index - opened) == "has":
                raise Mistake("'call.arguments' is always there; ask for one of them.", field.at)
            if any(self._loops):
                self._depth = max(self._depth, sum(self._loops) + 1)
        if token.text == "findings" and field.text != "count":
            self._member(index + 3, field)

    def _member(self, index: int, field: Token) -> None:
        """`findings.types.US_SSN` or `findings.types["US_SSN"]`: known by name, so that it is 0 and never missing."""
        if self._text(index) == "." and self._text(index + 2) != "(":
            name = self._tokens[index + 1]
            self._names.append((field.text, name.text, name.at))
        elif self._text(index) == "[" and self._text(index + 2) == "]" and self._tokens[index + 1].kind == "text":
            name = self._tokens[index + 1]
            self._names.append((field.text, name.text.strip("\"'"), name.at))
        elif not (self._text(index) == "." and self._text(index + 1) in MACROS | {"size"}):
            raise Mistake(f"Name one of the {field.text}, such as findings.{field.text}.NAME.", field.at)


def _known(what: str, token: Token, known: Iterable[str], *, also: Iterable[str] = ()) -> None:
    names = frozenset(known)
    if token.text in names:
        return
    near = suggest(token.text, [*names, *also])
    rest = "" if near else f" Known: {', '.join(sorted(names))}."
    raise Mistake(f"There is no {what} '{token.text[:60]}'.{rest}", token.at, near)
