"""What one inspection may spend on findings that are only recorded, so that a flood of them costs no more than text does.

Values that must not leave are always looked for. When the effort for a text is used up, one more alert says so instead
of further ones (fail closed: text that was not looked at counts as found); when the share of logs is used up, further
ones are not listed. Above: scanner.py. Below: actions.
"""

import sys
from enum import IntEnum

from ai_platform.domain.finding import Action, Direction, ProtectionPlan
from ai_platform.protection.actions import REWRITING, resolve
from ai_platform.protection.rule import Rule

_LEAST_EFFORT, _MOST_EFFORT = 18_000, 300_000
_CHARACTERS_OF_EFFORT = 11
_LEAST_LOGS, _MOST_LOGS = 1_000, 10_000
_CHARACTERS_OF_A_LOG = 600
_CHARACTERS_OF_A_VALUE = 40


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


EFFORT, VALUES = Purpose.ALERTS, len(Purpose)
"""The places of what all purposes spend together, which ends alerts; and of how many values of the first may be found."""

ATTEMPT = (1, 30, 3)
"""What one confirmation takes by purpose, in microseconds, so that it is the same on every machine."""

FOUND = 7
"""What a value that must not leave takes besides."""


def shares(size: int, values: int) -> list[int]:
    """What each purpose may use for a text of `size` characters: effort, confirmations of logs; and how many values.

    values: the most for any text. A short one may hold two in five of that, or one in forty characters.
    """
    dense = max(values * 2 // 5, size // _CHARACTERS_OF_A_VALUE)
    effort = min(_MOST_EFFORT, max(_LEAST_EFFORT, size // _CHARACTERS_OF_EFFORT))
    return [sys.maxsize, effort, min(_MOST_LOGS, _LEAST_LOGS + size // _CHARACTERS_OF_A_LOG), min(values, dense)]
