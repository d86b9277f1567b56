"""Credentials of cloud platforms."""

from ai_platform.domain.finding import DataClass, Severity, Tier
from ai_platform.protection.checks import random_looking
from ai_platform.protection.rule import Rule

RULES = (
    Rule(
        id="aws-access-key-id",
        type="AWS_ACCESS_KEY",
        label="an AWS access key",
        data_class=DataClass.SECRET,
        tier=Tier.FORMAT,
        severity=Severity.CRITICAL,
        source="AWS IAM User Guide, Identifiers: unique ID prefixes",
        triggers=(r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{4}",),
        confirm=r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])",
        check=random_looking,
        examples=("AKIAY3T6Q5B7C2D4WXYZ", "aws_access_key_id = ASIAQ7WERTY2UIOPLKJH"),
        counter_examples=("AKIAIOSFODNN7EXAMPLE", "AKIAXXXXXXXXXXXXXXXX", "AKIA123"),
    ),
    Rule(
        id="google-api-key",
        type="GOOGLE_API_KEY",
        label="a Google API key",
        data_class=DataClass.SECRET,
        tier=Tier.FORMAT,
        severity=Severity.CRITICAL,
        source="Google Cloud documentation, API keys",
        triggers=(r"\bAIza[\w-]{4}",),
        confirm=r"(?<![A-Za-z0-9])AIza[\w-]{35}(?![\w-])",
        check=random_looking,
        examples=("key=AIzaSyB9x8Y7w6V5u4T3s2R1q0PoNmLkJiHgFeD",),
        counter_examples=("AIzaSy-short",),
    ),
)
