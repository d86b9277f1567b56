"""The record of names of people. No engine looks for it: a language model does, where the operator brings one."""

from ai_platform.domain.finding import DataClass, Severity, Tier
from ai_platform.protection.rule import Rule

PERSON = Rule(
    id="person_name",
    type="PERSON",
    label="a person's name",
    data_class=DataClass.PII,
    tier=Tier.CONTEXT,
    severity=Severity.WARNING,  # so it is logged: a model is often wrong, and each name would be an alert
    source="the language model that protection.names.model names",
    examples=(),
)
