"""Rules with conditions: which of them hold for a call. Deny overrides, and what cannot be decided denies.

Fails closed: an error in a condition refuses the call, is counted and stands in the record. Above: compile, policy.
Below: expressions (CEL), view.
"""

from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from ai_platform.documents import Document, suggest
from ai_platform.documents.errors import Problem
from ai_platform.domain.finding import DataClass, Severity
from ai_platform.policy.analysis import Mistake
from ai_platform.policy.expressions import ConditionFailed, Context, Expression
from ai_platform.policy.place import place_in
from ai_platform.policy.plan import Catalogue
from ai_platform.policy.schema import Effect, PolicyFile
from ai_platform.policy.view import MOST_VALUES, Unreadable, View
from ai_platform.policy.vocabulary import ARGUMENTS, FIELDS, OF_TOOLS

MOST_RULES = 200
MOST_STEPS = 20_000
MOST_TEXT = 20_000_000
"""How often the loops of one condition may go round, and how much text loops within loops may compare: about 10 ms."""

Path = tuple[str | int, ...]

_CLASSES: MappingProxyType[str, frozenset[str]] = MappingProxyType(
    {
        "classes": frozenset(kind.value for kind in DataClass),
        "severities": frozenset(kind.value for kind in Severity),
    }
)


class Undecided(Exception):
    """A condition could not be decided. rule: its name. `str(error)` says why, without a full stop."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


class Condition:
    """One expression with the name of the rule that it belongs to. reads_arguments: of a tool call.

    about_tools: it reads the server, the tool or its arguments, so that it says nothing about other calls.
    about_content: it reads what inspection found, so that it can be decided only after that.
    """

    def __init__(self, rule: str, expression: Expression) -> None:
        self.rule = rule
        self.source = expression.source
        reads = expression.analysis.reads
        self.about_tools = not OF_TOOLS.isdisjoint(reads)
        self.about_content = expression.analysis.touches("findings")
        self.reads = reads
        self.types = frozenset(name for kind, name, _ in expression.analysis.names if kind == "types")
        self._expression = expression
        self.reads_arguments = ARGUMENTS in reads
        self._roots = tuple(dict.fromkeys(name.partition(".")[0] for name in sorted(reads)))
        self._depth = max(1, expression.analysis.depth)
        self._most_values = min(MOST_VALUES, int(MOST_STEPS ** (1 / self._depth)))

    def applies(self, view: View) -> bool:
        """Whether it is to be decided now, for this kind of call."""
        if self.about_tools and view.target is None:
            return False
        return self.about_content == view.inspected and not (view.listing and self.reads_arguments)

    def holds(self, view: View, contexts: "Contexts") -> bool:
        """Raises Undecided."""
        why = self._too_much(view) if self.reads_arguments else ""
        try:
            if not why:
                return self._expression.run(contexts.ready(view, self._roots, arguments=self.reads_arguments))
            # Without the arguments an answer is one that no arguments could change: `call.tool == "x" && ...` of y.
            return self._expression.run(contexts.anew().ready(view, self._roots, arguments=False))
        except ConditionFailed as error:
            raise Undecided(self.rule, why or str(error)) from None

    def run(self, context: Context) -> bool:
        """With these variables and no others. Raises ConditionFailed: they do not decide it."""
        return self._expression.run(context)

    def _too_much(self, view: View) -> str:
        """Why this condition cannot look at the arguments of this call; empty when it can."""
        try:
            values = view.values
        except Unreadable as error:
            return str(error)
        if values > self._most_values:
            return f"the arguments hold more than {self._most_values} values"
        size = len(view.target.arguments) if view.target else 0
        return "the arguments hold too much text" if size * values ** (self._depth - 1) > MOST_TEXT else ""


class Contexts:
    """The variables of one call, handed to CEL once, however many conditions read them, and only the fields that one
    of them reads: handing over costs more than deciding.
    """

    def __init__(self, conditions: "Vocabulary") -> None:
        self._context = Context()
        self._conditions = conditions
        self._ready: set[str] = set()

    def anew(self) -> "Contexts":
        """The same without any variable."""
        return Contexts(self._conditions)

    def ready(self, view: View, roots: Sequence[str], *, arguments: bool) -> Context:
        for root in roots:
            if root == "call" and arguments:
                self._add("call with arguments", root, view, arguments=True)
            elif "call with arguments" not in self._ready or root != "call":
                self._add(root, root, view)
        return self._context

    def _add(self, key: str, root: str, view: View, *, arguments: bool = False) -> None:
        if key in self._ready:
            return
        read = self._conditions.fields[root]
        values = {name: value for name, value in view.variable(root).items() if name in read}
        if arguments:
            values["arguments"] = view.arguments
        self._context.add(root, _with_types(values, self._conditions.types) if root == "findings" else values)
        self._ready.add(key)


class Vocabulary:
    """What some conditions read together. fields: of each variable. types: detectors that they name."""

    def __init__(self, conditions: Iterable[Condition]) -> None:
        made = tuple(conditions)
        reads = frozenset[str]().union(*(condition.reads for condition in made))
        self.types = frozenset[str]().union(*(condition.types for condition in made))
        self.fields = {
            root: frozenset(name.removeprefix(f"{root}.") for name in reads if name.startswith(f"{root}."))
            for root in FIELDS
        }


def _with_types(findings: dict[str, Any], types: Iterable[str]) -> dict[str, Any]:
    """Every type that a condition names is there, 0 when nothing of it was found."""
    return findings | {"types": dict.fromkeys(types, 0) | findings["types"]} if "types" in findings else findings


class Rule(msgspec.Struct, frozen=True):
    """One entry of `rules`. message: the policy's own words, without a full stop."""

    name: str
    effect: Effect
    condition: Condition
    message: str


class Rules:
    """reads_content: some rule can be decided only after inspection. reads_tools: some rule is about tool calls."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._deny = tuple(rule for rule in rules if rule.effect is Effect.DENY)
        self._allow = tuple(rule for rule in rules if rule.effect is Effect.ALLOW)
        self._vocabulary = Vocabulary(rule.condition for rule in rules)
        self.reads_content = any(rule.condition.about_content for rule in self._deny)
        self.reads_tools = any(rule.condition.about_tools for rule in self._deny)

    def __bool__(self) -> bool:
        return bool(self.rules)

    def denied(self, view: View, *, tools_only: bool = False) -> Rule | None:
        """The first deny rule that holds. tools_only: of those about tools (the call itself was decided before).

        Raises:
            Undecided: one of them could not be decided.

        """
        return self._first(self._deny, view, tools_only=tools_only)

    def allowed(self, view: View) -> Rule | None:
        """The first allow rule that holds. Raises Undecided, as `denied` does."""
        return self._first(self._allow, view)

    def _first(self, rules: Sequence[Rule], view: View, *, tools_only: bool = False) -> Rule | None:
        asked = [
            rule for rule in rules if rule.condition.applies(view) and (rule.condition.about_tools or not tools_only)
        ]
        if not asked:
            return None
        contexts = Contexts(self._vocabulary)
        return next((rule for rule in asked if rule.condition.holds(view, contexts)), None)


def rules_of(document: Document[PolicyFile], catalogue: Catalogue) -> tuple[Rules, list[Problem]]:
    """The rules of a policy file, the most important first, and what is wrong with them."""
    written = document.value.rules
    problems: list[Problem] = []
    if len(written) > MOST_RULES:
        problems.append(document.problem(f"There are {len(written)} rules; at most {MOST_RULES} are allowed.", "rules"))
        return Rules(()), problems
    rules: list[tuple[int, Rule]] = []
    names: dict[str, int] = {}
    for index, entry in enumerate(written):
        first = names.setdefault(entry.name, index)
        if first != index:
            line = document.position("rules", first).line
            sentence = f"The rule '{entry.name}' is already written in line {line}."
            problems.append(document.problem(sentence, "rules", index, "name"))
        path: Path = ("rules", index, "when")
        condition, mistakes = condition_of(document, path, f"rules.{entry.name}", entry.when, catalogue)
        problems += mistakes
        if condition is not None and entry.effect is Effect.ALLOW and condition.about_content:
            sentence = "A rule that allows cannot read 'findings': it is asked before the call is inspected."
            problems.append(document.problem(sentence, *path))
        if condition is not None:
            message = entry.message.strip().rstrip(".")
            rules.append((-entry.priority, Rule(entry.name, entry.effect, condition, message)))
    rules.sort(key=lambda pair: pair[0])
    return Rules([rule for _, rule in rules]), problems


def condition_of(
    document: Document[PolicyFile], path: Path, rule: str, source: str, catalogue: Catalogue
) -> tuple[Condition | None, list[Problem]]:
    """The condition written at `path`, or what is wrong with it and where."""
    try:
        expression = Expression(source)
        if mistakes := list(_unknown_names(document, expression.analysis.names, catalogue)):
            raise mistakes[0]
    except Mistake as mistake:
        place = place_in(document.text, document.position(*path), source, mistake.at)
        return None, [Problem(place, str(mistake), mistake.suggestion)]
    return Condition(rule, expression), []


def _unknown_names(
    document: Document[PolicyFile], names: Iterable[tuple[str, str, int]], catalogue: Catalogue
) -> Iterator[Mistake]:
    custom = {rule.name for rule in document.value.protection.custom}
    for kind, name, at in names:
        known = _CLASSES.get(kind) or ((catalogue.types | custom) if catalogue.types else frozenset({name}))
        if name not in known:
            near = suggest(name, known)
            rest = "" if near else f" Known: {', '.join(sorted(known)[:12])}."
            yield Mistake(f"There is nothing called '{name[:60]}' in findings.{kind}.{rest}", at, near)
