"""Secrets that no vendor's prefix gives away: a secret-like name is assigned a random-looking value."""

from ai_platform.domain.finding import Action, DataClass, Severity, Tier
from ai_platform.protection.checks import entropy, not_placeholder
from ai_platform.protection.rule import Anchor, Rule


def _key_like(value: str) -> bool:
    return (
        any(c.isdigit() for c in value)
        and any(c.isalpha() for c in value)
        and entropy(value) >= 3.0
        and not_placeholder(value)
    )


RULES = (
    Rule(
        id="api-key-assigned",
        type="API_KEY",
        label="an API key",
        data_class=DataClass.SECRET,
        tier=Tier.CONTEXT,
        severity=Severity.CRITICAL,
        source="common practice: a variable named api_key with a long random value",
        triggers=(r"api[ _-]?key", r"api[_-]?token", r"api[_-]?secret"),
        nocase=True,
        anchor=Anchor.END,
        confirm=r"""['"]?\s{0,3}(?::=|=>|=|:|is)\s{0,3}(?P<v>(?<=['"])[A-Za-z0-9_-]{20,128}|['"]?\b[A-Za-z0-9_-]{20,128})(?![\w.(\[-])""",
        check=_key_like,
        action=Action.ALERT,
        examples=('api_key = "q8Rk2Lm5Nw7Pz4Xc6Vb9Jh1G"', "API-KEY: 7f3a9c2e5b8d1046af92c3e7"),
        counter_examples=(
            "api_key = os.environ['API_KEY']",
            'api_key = "your-api-key-goes-here-1234"',
            "api_key_id = 12",
        ),
    ),
)
