"""Every detector, one file per family. `ALL` is the whole catalogue in a fixed order; ids are unique."""

from ai_platform.protection.rule import Rule
from ai_platform.protection.rules import (
    bank,
    cards,
    contact,
    health,
    identity_europe,
    identity_us,
    identity_world,
    keys,
    network,
    secrets_ai,
    secrets_apps,
    secrets_clouds,
    secrets_code,
    secrets_config,
    secrets_delivery,
    secrets_generic,
    secrets_hosting,
    secrets_messaging,
    secrets_payment,
    secrets_platforms,
    secrets_tools,
    secrets_webhooks,
    services_ai,
    services_business,
    services_cloud,
    services_dev,
    services_named,
    services_social,
)

FAMILIES = (
    cards,
    bank,
    identity_us,
    identity_europe,
    identity_world,
    health,
    contact,
    network,
    keys,
    secrets_clouds,
    secrets_hosting,
    secrets_code,
    secrets_tools,
    secrets_payment,
    secrets_messaging,
    secrets_ai,
    secrets_platforms,
    secrets_delivery,
    secrets_apps,
    secrets_config,
    secrets_webhooks,
    services_cloud,
    services_dev,
    services_business,
    services_social,
    services_ai,
    services_named,
    secrets_generic,
)

ALL: tuple[Rule, ...] = tuple(rule for family in FAMILIES for rule in family.RULES)

ALIASES: dict[str, frozenset[str]] = {
    "ssn": frozenset({"US_SSN"}),
    "credit_card": frozenset({"CREDIT_CARD"}),
    "email": frozenset({"EMAIL_ADDRESS"}),
    "phone": frozenset({"PHONE_NUMBER"}),
    "iban": frozenset({"IBAN_CODE"}),
    "aws_key": frozenset({"AWS_ACCESS_KEY"}),
    "private_key": frozenset({"PRIVATE_KEY"}),
    "api_key": frozenset(
        rule.type for rule in ALL if rule.data_class == "SECRET" and rule.type not in {"AWS_ACCESS_KEY", "PRIVATE_KEY"}
    ),
}
"""The mission's short names -> types. `api_key` stands for every kind of secret but AWS and private keys."""
