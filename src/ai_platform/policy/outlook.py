"""What the rules with conditions mean for somebody before they call: which hold, and which depend on what.

A condition is run with what is known of the call and nothing else, so that an answer is one that the rest could not
change. It decides nothing: calls are decided by `conditions`. Above: policy. Below: conditions, expressions.
"""

from typing import Literal

import msgspec

from ai_platform.policy.conditions import Condition, Rules
from ai_platform.policy.expressions import ConditionFailed, Context
from ai_platform.policy.schema import Effect
from ai_platform.policy.view import View
from ai_platform.policy.vocabulary import FIELDS

CALLER = frozenset(f"caller.{name}" for name in FIELDS["caller"])


class RuleOutlook(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that holds, or may. needs: the fields that decide, such as `time.hour`; empty when it holds anyway.

    when: its condition, on one line. message: the policy's own words.
    """

    rule: str
    effect: Effect
    state: Literal["holds", "depends"]
    needs: tuple[str, ...]
    when: str
    message: str


def outlook(rules: Rules, view: View, known: frozenset[str]) -> list[RuleOutlook]:
    """The rules that could have a say, in the order in which they are asked; those that cannot hold are left out.

    known: which fields of the call the view can tell; those of the caller always are.
    """
    found: list[RuleOutlook] = []
    for rule in rules.rules:
        condition = rule.condition
        if condition.about_tools and view.target is None:
            continue
        needs = tuple(sorted(condition.reads - known - CALLER))
        holds = _run(condition, view, known | CALLER, open_ended=bool(needs))
        if holds is not False:
            found.append(
                RuleOutlook(
                    rule=rule.name,
                    effect=rule.effect,
                    state="holds" if holds else "depends",
                    needs=() if holds else needs,
                    when=" ".join(condition.source.split()),
                    message=rule.message,
                )
            )
    return found


def _run(condition: Condition, view: View, known: frozenset[str], *, open_ended: bool) -> bool | None:
    """None: it depends on what is not known. open_ended: there is such."""
    if open_ended and "has(" in condition.source.replace(" ", ""):
        return None  # `has` would take what is not known for what is not there
    context = Context()
    reads = condition.reads & known
    for root in sorted({name.partition(".")[0] for name in condition.reads}):
        values = {name: value for name, value in view.variable(root).items() if f"{root}.{name}" in reads}
        context.add(root, values)
    try:
        return condition.run(context)
    except ConditionFailed:
        return None
