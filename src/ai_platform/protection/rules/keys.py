"""Private keys and signed tokens."""

from ai_platform.domain.finding import DataClass, Severity, Tier
from ai_platform.protection.rule import Rule

RULES = (
    Rule(
        id="private-key-pem",
        type="PRIVATE_KEY",
        label="a private key",
        data_class=DataClass.SECRET,
        tier=Tier.FORMAT,
        severity=Severity.CRITICAL,
        source="RFC 7468 (textual encodings), RFC 4880 section 6.2 (OpenPGP armour), OpenSSH PROTOCOL.key",
        triggers=(r"-----BEGIN ",),
        confirm=r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"(?=(?:[^-]|-(?!----)){64,})(?:[^-]|-(?!----)){64,16384}(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----)?",
        examples=(
            "-----BEGIN RSA PRIVATE KEY-----\n"
            + "MIIEpAIBAAKCAQEA7bq3n2kF9sX0cV5tY8uW1rZ4eQ6oP3aS\n" * 3
            + "-----END RSA PRIVATE KEY-----",
        ),
        counter_examples=("-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----", "-----BEGIN PUBLIC KEY-----"),
    ),
)
