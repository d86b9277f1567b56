"""United States: Social Security numbers."""

from ai_platform.domain.finding import DataClass, Severity, Tier
from ai_platform.protection.checks import us_ssn
from ai_platform.protection.rule import Anchor, Rule

_SSA = "Social Security Administration, POMS RM 10201.030 (structure), 2011 randomisation rules"

RULES = (
    Rule(
        id="us-ssn",
        type="US_SSN",
        label="a US Social Security number",
        data_class=DataClass.PII,
        tier=Tier.FORMAT,
        severity=Severity.CRITICAL,
        source=_SSA,
        triggers=(r"\b\d{3}-\d{2}-\d{4}\b",),
        confirm=r"(?<![\w.,/+#$%&@=:-])(?<![\w]:)\d{3}-\d{2}-\d{4}(?![\w/%@]|[-.,:]\w)|(?<==)\d{3}-\d{2}-\d{4}(?![\w/%@]|[-.,:]\w)|(?<=:)\d{3}-\d{2}-\d{4}(?![\w/%@]|[-.,:]\w)",
        check=us_ssn,
        negative=r"part|sku|model|ticket|ref|serial|isbn|order|invoice|case|item|version|ean|upc",
        examples=("My SSN is 536-22-8491.", "123-45-6789", "ssn=219-09-1234", "\n536-22-8491\n"),
        counter_examples=(
            "078-05-1120",
            "000-12-3456",
            "666-12-3456",
            "900-12-3456",
            "123-00-4567",
            "part 123-45-6789",
        ),
    ),
    Rule(
        id="us-ssn-keyword",
        type="US_SSN",
        label="a US Social Security number",
        data_class=DataClass.PII,
        tier=Tier.CONTEXT,
        severity=Severity.CRITICAL,
        source=_SSA,
        triggers=(r"\bssn\b", r"social.security"),
        nocase=True,
        anchor=Anchor.END,
        confirm=r"(?:[ _]?(?:number|no|num|nr|card|id|#))?\W{0,4}(?:is|was|of)?\W{0,3}(?P<v>\d{3}[ .]\d{2}[ .]\d{4}|\d{9})(?![\w/]|[-.,]\w)",
        check=us_ssn,
        examples=("SSN: 536228491", "social security number is 536 22 8491"),
        counter_examples=("ssn: 000228491", "order 536228491"),
    ),
)
