"""What to do about a finding: the plan's list first, then the rule's own default, then its severity.

Defaults on input: critical blocks, high alerts, the rest is logged. On output critical is redacted in mid-stream:
an answer that is cut off helps nobody. A critical rule of tier `context` (api_key) blocks only where the plan names it.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase

import msgspec

from ai_platform.domain.finding import Action, Direction, ProtectionPlan, RuleAction, Severity
from ai_platform.protection.rule import Rule
from ai_platform.protection.rules import ALIASES

REWRITING = frozenset({Action.BLOCK, Action.REDACT, Action.MASK, Action.TOKENISE})

_STRENGTH = {action: place for place, action in enumerate(Action)}


def plan_for(plan: ProtectionPlan, upstreams: Sequence[str]) -> ProtectionPlan:
    """The plan as it holds for a call that one of these upstreams will get; the same object where none is named.

    A call may fail over before its first byte, with the body it has: so each upstream it may go to has a say.
    """
    if all(entry.upstream is None for entry in plan.actions):
        return plan
    first, *others = dict.fromkeys(
        tuple(_for_upstream(entry, upstream) for entry in plan.actions) for upstream in upstreams or ("",)
    )
    return msgspec.structs.replace(plan, actions=first, other_actions=tuple(others))


def _for_upstream(entry: RuleAction, upstream: str) -> RuleAction:
    """An entry of another upstream stays, without effect, so that entries keep their numbers."""
    if entry.upstream is None or not fnmatchcase(upstream, entry.upstream):
        return entry
    return msgspec.structs.replace(entry, upstream=None)


def tokenises(plan: ProtectionPlan) -> bool:
    """May this plan put tokens in the place of values?"""
    return any(entry.action is Action.TOKENISE for entry in (*plan.actions, *plan.custom))


def wanted(rule: Rule, plan: ProtectionPlan) -> bool:
    """Does the plan look for this rule at all?"""
    return plan.patterns is None or _named(rule, plan.patterns)


def resolve(rule: Rule, plan: ProtectionPlan, direction: Direction, team: str | None) -> Action:
    return decide(rule, plan, direction, team)[0]


def decide(rule: Rule, plan: ProtectionPlan, direction: Direction, team: str | None) -> tuple[Action, str]:
    """(the action, why)."""
    lists = (plan.actions, *plan.other_actions)
    return min(
        (_decided(actions, rule, plan, direction, team) for actions in lists), key=lambda said: _STRENGTH[said[0]]
    )


def _decided(
    actions: Sequence[RuleAction], rule: Rule, plan: ProtectionPlan, direction: Direction, team: str | None
) -> tuple[Action, str]:
    for number, entry in enumerate(actions, 1):
        if _applies(entry, rule, direction, team):
            return entry.action, f"entry {number} of the policy's actions"
    if rule.action is not None and not (plan.patterns and _named(rule, plan.patterns)):
        return rule.action, "the detector's own default"
    match rule.severity:
        case Severity.CRITICAL if not plan.block_on_match:
            return Action.REDACT, "the default for critical findings where the policy does not block"
        case Severity.CRITICAL if direction is Direction.INPUT:
            return Action.BLOCK, "the default for critical findings on the way to the model"
        case Severity.CRITICAL:
            return Action.REDACT, "the default for critical findings in answers"
        case Severity.HIGH:
            return Action.ALERT, "the default for findings of high severity"
        case _:
            return Action.LOG, f"the default for findings of severity {rule.severity.value}"


def _named(rule: Rule, patterns: frozenset[str]) -> bool:
    return any(
        name in (rule.id, rule.type) or rule.type in ALIASES.get(name, ()) or rule.id in ALIASES.get(name, ())
        for name in patterns
    )


def _applies(entry: RuleAction, rule: Rule, direction: Direction, team: str | None) -> bool:
    """An own detector is known by its name as a type too. What names an upstream holds once `plan_for` has asked."""
    return (
        (entry.rule is None or fnmatchcase(rule.id, entry.rule))
        and (entry.type is None or fnmatchcase(rule.type, entry.type) or fnmatchcase(rule.id, entry.type))
        and entry.data_class in (None, rule.data_class)
        and entry.severity in (None, rule.severity)
        and entry.direction in (None, direction)
        and entry.team in (None, team)
        and entry.upstream is None
    )
