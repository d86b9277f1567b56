"""Credentials of developer platforms: code hosting, payment, messaging."""

from ai_platform.domain.finding import DataClass, Severity, Tier
from ai_platform.protection.checks import random_looking
from ai_platform.protection.rule import Rule

RULES = (
    Rule(
        id="github-token",
        type="GITHUB_TOKEN",
        label="a GitHub token",
        data_class=DataClass.SECRET,
        tier=Tier.FORMAT,
        severity=Severity.CRITICAL,
        source="GitHub Docs, About authentication to GitHub: token formats",
        triggers=(r"\bgh[pousr]_[A-Za-z0-9]{4}",),
        confirm=r"(?<![A-Za-z0-9])gh[pousr]_[A-Za-z0-9]{36,251}(?![A-Za-z0-9])",
        check=random_looking,
        examples=("ghp_R2d9Xk7LmQ4vT8wZ1nB5cY3jH6fG0sAeUiOp",),
        counter_examples=("ghp_short", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ),
    Rule(
        id="slack-token",
        type="SLACK_TOKEN",
        label="a Slack token",
        data_class=DataClass.SECRET,
        tier=Tier.FORMAT,
        severity=Severity.CRITICAL,
        source="Slack API documentation, token types",
        triggers=(r"\bxox[abeoprs]-\d",),
        confirm=r"(?<![A-Za-z0-9])xox[abeoprs]-\d[A-Za-z0-9-]{9,250}(?![A-Za-z0-9-])",
        check=random_looking,
        examples=("xoxb-263594206564-2343594206574-FGqddMF8t08v8N7Oq4i57vs1MBS",),
        counter_examples=("xoxb-1", "xoxb-xxxxxxxxxxxx-xxxxxxxxxxxx"),
    ),
    Rule(
        id="stripe-secret-key",
        type="STRIPE_KEY",
        label="a Stripe secret key",
        data_class=DataClass.SECRET,
        tier=Tier.FORMAT,
        severity=Severity.CRITICAL,
        source="Stripe documentation, API keys",
        triggers=(r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{4}", r"\b[rs]k_prod_[A-Za-z0-9]{4}"),
        confirm=r"(?<![A-Za-z0-9])[rs]k_(?:live|test|prod)_[A-Za-z0-9]{10,247}(?![A-Za-z0-9])",
        check=random_looking,
        examples=("sk_live_4eC39HqLyjWDarjtT1zdp7dc",),
        counter_examples=("sk_live_xxxx", "pk_live_4eC39HqLyjWDarjtT1zdp7dc"),
    ),
)
