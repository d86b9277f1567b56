"""What to do about a finding: the plan's list first, then the rule's own default, then its severity.

Defaults on input: critical blocks, high alerts, the rest is logged. On output critical is redacted in mid-stream:
an answer that is cut off helps nobody. A critical rule of tier `context` (api_key) blocks only where the plan names it.
"""

from fnmatch import fnmatchcase

from ai_platform.domain.finding import Action, Direction, ProtectionPlan, RuleAction, Severity
from ai_platform.protection.rule import Rule
from ai_platform.protection.rules import ALIASES

REWRITING = frozenset({Action.BLOCK, Action.REDACT, Action.MASK, Action.TOKENISE})


def wanted(rule: Rule, plan: ProtectionPlan) -> bool:
    """Does the plan look for this rule at all?"""
    return plan.patterns is None or _named(rule, plan.patterns)


def resolve(rule: Rule, plan: ProtectionPlan, direction: Direction, team: str | None) -> Action:
    for entry in plan.actions:
        if _applies(entry, rule, direction, team):
            return entry.action
    if rule.action is not None and not (plan.patterns and _named(rule, plan.patterns)):
        return rule.action
    match rule.severity:
        case Severity.CRITICAL:
            return Action.BLOCK if plan.block_on_match and direction is Direction.INPUT else Action.REDACT
        case Severity.HIGH:
            return Action.ALERT
        case _:
            return Action.LOG


def _named(rule: Rule, patterns: frozenset[str]) -> bool:
    return any(
        name in (rule.id, rule.type) or rule.type in ALIASES.get(name, ()) or rule.id in ALIASES.get(name, ())
        for name in patterns
    )


def _applies(entry: RuleAction, rule: Rule, direction: Direction, team: str | None) -> bool:
    return (
        (entry.rule is None or fnmatchcase(rule.id, entry.rule))
        and (entry.type is None or fnmatchcase(rule.type, entry.type))
        and entry.data_class in (None, rule.data_class)
        and entry.severity in (None, rule.severity)
        and entry.direction in (None, direction)
        and entry.team in (None, team)
    )
