"""Everything that can go wrong with a call, as one tree. `entrypoints/errors.py` maps it to HTTP, JSON-RPC and MCP.

PlatformError
|- Refused                  the platform will not do it (a refusal carries its reason and what to do)
|  |- Unauthenticated       no, unknown, expired or revoked credential
|  |- Denied                policy, permission, model, content filter, residency
|  |- Blocked               sensitive data
|  |- ApprovalNeeded        must wait for a person
|  |- RateLimited           too many calls in a window; passes later
|  |- OverBudget            money or tokens used up; passes after the reset
|  `- InvalidCall           the request cannot be understood, or is too large
|     `- NotFound           what it names does not exist (or is another tenant's)
|- UpstreamError            the other side failed and no further target was left
|  |- UpstreamUnreachable   no connection (DNS, TLS, refused), or every breaker open
|  |- UpstreamTimeout       a deadline passed (connect, first byte, idle)
|  `- UpstreamBroken        the answer stopped in the middle or is not HTTP
|- AuditUnavailable         the trail cannot be made durable: no audit, no execution
|- StoreUnavailable         PostgreSQL (or another store) cannot be reached
`- ConfigError              a file or setting is wrong; the message says where and how to fix it
"""

from collections.abc import Sequence

from ai_platform.domain.decision import Refusal
from ai_platform.domain.finding import Finding


class PlatformError(Exception):
    """Base of the tree. `str(error)` is a sentence for the person who made the call."""


class Refused(PlatformError):
    """message: which rule, why, what to do. retry_after: seconds, None when a retry cannot help."""

    def __init__(self, reason: Refusal, message: str, *, rule: str = "", retry_after: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.rule = rule
        self.retry_after = retry_after


class Unauthenticated(Refused):
    pass


class Denied(Refused):
    pass


class Blocked(Refused):
    """Sensitive data. findings: what blocked (types and places, never values). news: what is new of this person
    (critical, or alerted), one for each value, whether it blocked or not. bytes_checked: of the body that was refused.
    """

    def __init__(
        self,
        message: str,
        findings: Sequence[Finding],
        *,
        rule: str = "",
        news: Sequence[Finding] = (),
        bytes_checked: int = 0,
    ) -> None:
        super().__init__(Refusal.SENSITIVE_DATA, message, rule=rule)
        self.findings = tuple(findings)
        self.news = tuple(news)
        self.bytes_checked = bytes_checked


class ApprovalNeeded(Refused):
    """Nobody has agreed yet. id: of the request, which lives until expires_at (epoch seconds)."""

    id = ""
    expires_at = 0.0


class RateLimited(Refused):
    pass


class OverBudget(Refused):
    """period: `day`, `week` or `month` of the limit that is used up, "" when only calls in flight hold the rest.

    resets_at: when it starts again, epoch seconds. shared: others use the same limit.
    """

    period = ""
    resets_at = 0.0
    shared = False


class InvalidCall(Refused):
    pass


class NotFound(InvalidCall):
    def __init__(self, message: str) -> None:
        super().__init__(Refusal.INVALID_REQUEST, message)


class UpstreamError(PlatformError):
    """target: the upstream's name. sent: the request may have been executed (and billed) there."""

    def __init__(self, message: str, *, target: str = "", sent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.target = target
        self.sent = sent
        self.retry_after = retry_after


class UpstreamUnreachable(UpstreamError):
    pass


class UpstreamTimeout(UpstreamError):
    pass


class UpstreamBroken(UpstreamError):
    pass


class AuditUnavailable(PlatformError):
    pass


class StoreUnavailable(PlatformError):
    pass


class ConfigError(PlatformError):
    """where: `file:line:column` when it is known."""

    def __init__(self, message: str, *, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where
