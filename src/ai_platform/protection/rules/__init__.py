"""Every detector, one file per family. `ALL` is the whole catalogue in a fixed order; ids are unique."""

from ai_platform.protection.rule import Rule
from ai_platform.protection.rules import (
    cards,
    contact,
    identity_us,
    keys,
    secrets_ai,
    secrets_cloud,
    secrets_dev,
    secrets_generic,
)

FAMILIES = (cards, identity_us, contact, keys, secrets_cloud, secrets_dev, secrets_ai, secrets_generic)

ALL: tuple[Rule, ...] = tuple(rule for family in FAMILIES for rule in family.RULES)

ALIASES: dict[str, frozenset[str]] = {
    "ssn": frozenset({"US_SSN"}),
    "credit_card": frozenset({"CREDIT_CARD"}),
    "email": frozenset({"EMAIL_ADDRESS"}),
    "aws_key": frozenset({"AWS_ACCESS_KEY"}),
    "private_key": frozenset({"PRIVATE_KEY"}),
}
"""The mission's short names -> types. `api_key` stands for every rule of class SECRET but the two above."""
