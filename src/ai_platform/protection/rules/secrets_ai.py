"""Credentials of model providers."""

from ai_platform.domain.finding import DataClass, Severity, Tier
from ai_platform.protection.checks import random_looking
from ai_platform.protection.rule import Rule

RULES = (
    Rule(
        id="anthropic-api-key",
        type="ANTHROPIC_API_KEY",
        label="an Anthropic API key",
        data_class=DataClass.SECRET,
        tier=Tier.FORMAT,
        severity=Severity.CRITICAL,
        source="Anthropic documentation, API keys",
        triggers=(r"\bsk-ant-",),
        confirm=r"(?<![A-Za-z0-9])sk-ant-[a-z]{3,6}\d\d-[\w-]{24,128}(?![\w-])",
        check=random_looking,
        examples=("sk-ant-api03-Yq8Rk2Lm5Nw7Pz4Xc6Vb9Jh1Gf3Ds0Aq8Rk2Lm5Nw7Pz4Xc6Vb",),
        counter_examples=("sk-ant-api03-...", "sk-ant-"),
    ),
    Rule(
        id="openai-api-key",
        type="OPENAI_API_KEY",
        label="an OpenAI API key",
        data_class=DataClass.SECRET,
        tier=Tier.FORMAT,
        severity=Severity.CRITICAL,
        source="OpenAI documentation, API keys",
        triggers=(r"T3BlbkFJ",),
        finder=None,
        confirm=r"T3BlbkFJ[\w-]{20,128}(?![\w-])",
        check=random_looking,
        examples=("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",),
        counter_examples=("T3BlbkFJ",),
    ),
)
