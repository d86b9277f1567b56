"""What speaks against a definition: a rule, how bad it is, and where."""

import msgspec

from ai_platform.domain.finding import Severity

_AROUND = 60


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """rule: see docs/mcp.md. path: where in the definition. excerpt: the text around it; may hold what is hidden."""

    rule: str
    severity: Severity
    why: str
    path: str
    excerpt: str


class Rule(msgspec.Struct, frozen=True):
    """One reason for a flag. why: a sentence for the person who decides."""

    id: str
    severity: Severity
    why: str

    def flag(self, text: str, at: int, path: str, severity: Severity | None = None) -> Flag:
        excerpt = text[max(0, at - _AROUND) : at + _AROUND]
        return Flag(rule=self.id, severity=severity or self.severity, why=self.why, path=path, excerpt=excerpt)
