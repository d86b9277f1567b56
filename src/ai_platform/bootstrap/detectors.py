"""What the policy room is told about the detectors, so that a policy that loads is one that can be carried out."""

from collections.abc import Iterator

from ai_platform.domain.finding import CustomRule
from ai_platform.policy.plan import Catalogue
from ai_platform.protection.custom import problems
from ai_platform.protection.rules import ALL
from ai_platform.protection.rules.people import PERSON


def catalogue(*, names: bool = True) -> Catalogue:
    """The names of all detectors, and whether an organisation's own one can be used.

    names: whether names of people are looked for; where they are not, no policy may count on it.
    """
    rules = (*ALL, PERSON) if names else ALL
    return Catalogue(
        types=frozenset(rule.type for rule in rules),
        rules=frozenset(rule.id for rule in rules),
        unusable=_unusable,
    )


def _unusable(rule: CustomRule) -> Iterator[str]:
    for _, problem in problems([rule]):
        yield problem
