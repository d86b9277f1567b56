"""What one inspection may spend on findings that are only recorded, so that a flood of them costs no more than text does.

Values that must not leave are always looked for. When the share of alerts is used up, one more alert says so (fail
closed: text that was not looked at counts as found); when that of logs is used up, further ones are not listed.
Above: scanner.py. Below: actions.
"""

import sys
from enum import IntEnum

from ai_platform.domain.finding import Action, Direction, ProtectionPlan
from ai_platform.protection.actions import REWRITING, resolve
from ai_platform.protection.rule import Rule

_LEAST, _MOST = 1_000, 10_000
_CHARACTERS = 600


class Purpose(IntEnum):
    """The most that a plan does about a rule's findings, for any direction and team: the place of its share."""

    CHANGES = 0
    ALERTS = 1
    LOGS = 2


def purpose(rule: Rule, plan: ProtectionPlan) -> Purpose:
    lists = (plan.actions, *plan.other_actions)
    teams = {None} | {entry.team for actions in lists for entry in actions}
    actions = {resolve(rule, plan, direction, team) for direction in Direction for team in teams}
    if not actions.isdisjoint(REWRITING):
        return Purpose.CHANGES
    return Purpose.ALERTS if Action.ALERT in actions else Purpose.LOGS


VALUES = len(Purpose)
"""The place of how many values of the first purpose may be found."""


def shares(size: int, values: int) -> list[int]:
    """How many confirmations each purpose has for a text of `size` characters; behind them, how many values it has."""
    share = min(_MOST, _LEAST + size // _CHARACTERS)
    return [sys.maxsize, share, share, values]
