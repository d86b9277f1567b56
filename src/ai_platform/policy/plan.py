"""What the policy file wants inspected -> ProtectionPlan. Carrying it out is the protection room's.

The full form (`security.pii_detection`) and the short form (`policies`) may stand side by side as long as they agree:
a contradiction is an error, never a silent winner.
"""

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

import msgspec

from ai_platform.documents import Document, suggest
from ai_platform.documents.errors import Problem
from ai_platform.domain.finding import CustomRule, ProtectionPlan, RuleAction
from ai_platform.policy.patterns import BadPattern, Expression, PatternSet, check_pattern
from ai_platform.policy.schema import PolicyFile

SHORT_NAMES = ("ssn", "credit_card", "email", "api_key", "aws_key", "private_key")

Path = tuple[str | int, ...]


class Catalogue(msgspec.Struct, frozen=True):
    """The detectors that exist, to tell a mistyped name from a real one. Empty = not known here: names pass.

    unusable: what is wrong with an organisation's own detector, in the words of who would carry it out.
    """

    types: frozenset[str] = frozenset()
    rules: frozenset[str] = frozenset()
    unusable: Callable[[CustomRule], Iterable[str]] = lambda _: ()

    @property
    def names(self) -> frozenset[str]:
        return self.types | self.rules | frozenset(SHORT_NAMES)


def plan_of(document: Document[PolicyFile], version: str, catalogue: Catalogue) -> tuple[ProtectionPlan, list[Problem]]:
    """The plan, and what is wrong with it; the plan must not be used when anything is."""
    problems: list[Problem] = []
    written = document.value.protection
    detection = document.value.security.pii_detection
    settings = _settings(document, problems)
    problems += _check_names(document, catalogue)
    problems += _check_reach(document)
    for index, rule in enumerate(written.custom):
        problems += _check_custom(document, index, rule, catalogue)
    plan = ProtectionPlan(
        patterns=None if detection.patterns is None else frozenset(detection.patterns),
        actions=written.actions,
        custom=written.custom,
        allow=written.allow,
        restore_in_tools=written.restore_in_tools,
        version=version,
    )
    return msgspec.structs.replace(plan, **settings), problems


def _settings(document: Document[PolicyFile], problems: list[Problem]) -> dict[str, bool]:
    """Each switch from wherever it is written; two places must say the same."""
    said: dict[str, tuple[bool, Path]] = {}
    for switch, value, path in _switches(document.value):
        before = said.setdefault(switch, (value, path))
        if before[0] != value:
            other = document.position(*before[1]).line
            sentence = f"This contradicts line {other}, which says {str(before[0]).lower()}; keep one of the two."
            problems.append(document.problem(sentence, *path))
    if "enabled" in said and not said["enabled"][0]:
        for switch in ("scan_input", "scan_output"):
            if said.get(switch, (False, ()))[0]:
                sentence = "Scanning is asked for here while security.pii_detection.enabled is false."
                problems.append(document.problem(sentence, *said[switch][1]))
    return {switch: value for switch, (value, _) in said.items()}


def _switches(value: PolicyFile) -> Iterator[tuple[str, bool, Path]]:
    detection = value.security.pii_detection
    full = {
        "enabled": ("enabled", detection.enabled),
        "block_on_match": ("block_on_match", detection.block_on_match),
        "alert": ("alert_security_team", detection.alert_security_team),
    }
    for switch, (key, said) in full.items():
        if said is not None:
            yield switch, said, ("security", "pii_detection", key)
    for index, policy in enumerate(value.policies):
        short = {
            "scan_input": ("scan_input", policy.scan_input),
            "scan_output": ("scan_output", policy.scan_output),
            "block_on_match": ("block_on_match", policy.block_on_match),
            "alert": ("alert_security_team", policy.alert_security_team),
        }
        for switch, (key, said) in short.items():
            if said is not None:
                yield switch, said, ("policies", index, key)


def _check_names(document: Document[PolicyFile], catalogue: Catalogue) -> Iterator[Problem]:
    custom = frozenset(rule.name for rule in document.value.protection.custom)
    if not catalogue.types and not catalogue.rules:
        return
    known = catalogue.names | custom
    for index, name in enumerate(document.value.security.pii_detection.patterns or ()):
        if name not in known:
            path = ("security", "pii_detection", "patterns", index)
            yield document.problem(f"There is no detector '{name[:60]}'.", *path, suggestion=suggest(name, known))
    for index, action in enumerate(document.value.protection.actions):
        path = ("protection", "actions", index)
        for key, glob, names in (
            ("type", action.type, catalogue.types | custom),
            ("rule", action.rule, catalogue.rules | custom),
        ):
            if glob is not None and not any(fnmatchcase(name, glob) for name in names):
                near = suggest(glob, names)
                yield document.problem(f"No detector has a {key} like '{glob[:60]}'.", *path, key, suggestion=near)


def _check_reach(document: Document[PolicyFile]) -> Iterator[Problem]:
    """An allow list that lets everything through, and entries of which an earlier one decides every case."""
    written = document.value.protection
    for index, value in enumerate(written.allow):
        if not value.strip("*?"):
            wrong = f"'{value[:60]}' lets every value through; security.pii_detection.enabled: false says so plainly."
            yield document.problem(wrong, "protection", "allow", index)
    for index, action in enumerate(written.actions):
        earlier = next((number for number in range(index) if _covers(written.actions[number], action)), None)
        if earlier is not None:
            sentence = (
                f"This entry never decides: entry {earlier + 1} fits everything that it fits. Put it before that one."
            )
            yield document.problem(sentence, "protection", "actions", index)


def _covers(earlier: RuleAction, later: RuleAction) -> bool:
    """Does `earlier` fit whatever `later` fits? Globs are compared as written."""
    asked = (name for name in RuleAction.__struct_fields__ if name != "action")
    return all(getattr(earlier, name) in (None, getattr(later, name)) for name in asked)


def _check_custom(
    document: Document[PolicyFile], index: int, rule: CustomRule, catalogue: Catalogue
) -> Iterator[Problem]:
    path: Path = ("protection", "custom", index)
    names = [each.name for each in document.value.protection.custom]
    if rule.name in SHORT_NAMES or rule.name in names[:index]:
        yield document.problem(f"The name '{rule.name[:60]}' is taken; choose another.", *path, "name")
    expression = Expression(rule.pattern, whole_words=False, case_sensitive=True, spans=False)
    try:
        check_pattern(expression)
    except BadPattern as error:
        yield document.problem(f"The pattern of '{rule.name[:60]}' cannot be used: {error}.", *path, "pattern")
        return
    matcher = PatternSet([expression])
    for key, texts, wanted in (
        ("examples", rule.examples, True),
        ("counter_examples", rule.counter_examples, False),
    ):
        for number, text in enumerate(texts):
            if bool(matcher.find(text)) != wanted:
                says = "does not match this example" if wanted else "matches this counter-example"
                yield document.problem(f"The pattern of '{rule.name[:60]}' {says}.", *path, key, number)
                return
    for says in catalogue.unusable(rule):
        yield document.problem(f"The detector '{rule.name[:60]}' is of no use: {says}.", *path, "pattern")
