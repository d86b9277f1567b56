"""The policy's verdict on a call, and the limits it sets. Every verdict carries a reason a person can read."""

from enum import StrEnum

import msgspec

from ai_platform.domain.approval import ApprovalDemand
from ai_platform.domain.finding import ProtectionPlan
from ai_platform.domain.money import Micros


class Refusal(StrEnum):
    """Why a call was refused. One per kind of refusal; audit, metrics and errors name it."""

    UNAUTHENTICATED = "unauthenticated"
    KEY_EXPIRED = "key_expired"
    KEY_REVOKED = "key_revoked"
    PERMISSION_MISSING = "permission_missing"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    TOOL_NOT_ALLOWED = "tool_not_allowed"
    MODEL_UNKNOWN = "model_unknown"
    CONTENT_FILTER = "content_filter"
    SENSITIVE_DATA = "sensitive_data"
    REGION_NOT_ALLOWED = "region_not_allowed"
    RATE_LIMIT = "rate_limit"
    TOKEN_LIMIT = "token_limit"
    BUDGET = "budget"
    APPROVAL_REQUIRED = "approval_required"
    APPROVAL_DENIED = "approval_denied"
    CONDITION = "condition"
    INVALID_REQUEST = "invalid_request"
    TOO_LARGE = "too_large"
    INSPECTION_FAILED = "inspection_failed"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    OVERLOADED = "overloaded"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Usage limits that hold for one call. None = no limit.

    Requests are per rolling hour; tokens per UTC day; cost per UTC calendar month, in micro-dollars.
    cost_soft: True alerts and lets the call pass (the mission's "alert + soft limit"), False refuses.
    """

    user_requests_per_hour: int | None = None
    user_tokens_per_day: int | None = None
    team_requests_per_hour: int | None = None
    team_cost_per_month: Micros | None = None
    team_cost_soft: bool = True


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """An allowed call: which rule allowed it, under which version of the policy, within which limits.

    approval: somebody has to agree first.
    """

    rule: str
    reason: str
    policy_version: str
    limits: Limits = Limits()
    plan: ProtectionPlan = ProtectionPlan()
    approval: ApprovalDemand | None = None
