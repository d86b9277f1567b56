"""The policy file as it is written: the mission's full and short forms and the keys added beside them.

Shapes only; what they mean is decided in `compile.py`. docs/policy.md describes every key. Above: compile.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

import msgspec

from ai_platform.domain.approval import Covers
from ai_platform.domain.finding import CustomRule, RuleAction

Count = Annotated[int, msgspec.Meta(ge=0)] | Literal["unlimited"] | None
"""None = not set here; "unlimited" lifts a limit that holds for everybody else."""

Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class Detection(msgspec.Struct, frozen=True, kw_only=True):
    enabled: bool | None = None
    block_on_match: bool | None = None
    alert_security_team: bool | None = None
    patterns: tuple[str, ...] | None = None


class Residency(msgspec.Struct, frozen=True, kw_only=True):
    enforce: bool = False
    allowed_regions: tuple[str, ...] = ()


class Authentication(msgspec.Struct, frozen=True, kw_only=True):
    required: bool = True
    methods: tuple[Literal["saml", "oauth2", "oidc", "api_key"], ...] = ()


class Authorization(msgspec.Struct, frozen=True, kw_only=True):
    model: Literal["rbac"] = "rbac"
    roles_file: str | None = None


class AccessControl(msgspec.Struct, frozen=True, kw_only=True):
    authentication: Authentication = Authentication()
    authorization: Authorization = Authorization()


class Security(msgspec.Struct, frozen=True, kw_only=True):
    pii_detection: Detection = Detection()
    data_residency: Residency = Residency()
    access_control: AccessControl = AccessControl()


class PerUser(msgspec.Struct, frozen=True, kw_only=True):
    requests_per_hour: Count = None
    tokens_per_day: Count = None


class PerTeam(msgspec.Struct, frozen=True, kw_only=True):
    """cost_limit: what happens at cost_per_month_usd: `alert` lets the call pass (a soft limit), `block` refuses."""

    requests_per_hour: Count = None
    cost_per_month_usd: Decimal | None = None
    cost_limit: Literal["alert", "block"] | None = None


class UsageLimits(msgspec.Struct, frozen=True, kw_only=True):
    per_user: PerUser = PerUser()
    per_team: PerTeam = PerTeam()


class FilterScope(StrEnum):
    """Where a content filter looks; docs/policy.md says exactly what each reads."""

    GENERAL = "general"
    TOOL_ARGUMENTS = "tool_arguments"
    DATABASE_QUERIES = "database_queries"
    SQL = "sql"


class BlockPattern(msgspec.Struct, frozen=True, kw_only=True):
    """whole_words: the match must not stand inside a longer word (`prod` does not match `products`)."""

    pattern: Pattern
    scope: FilterScope = FilterScope.GENERAL
    message: str = ""
    name: str = ""
    whole_words: bool = True
    case_sensitive: bool = False


class ContentFilterSection(msgspec.Struct, frozen=True, kw_only=True):
    block_patterns: tuple[BlockPattern, ...] = ()


class AuditSection(msgspec.Struct, frozen=True, kw_only=True):
    retention_days: Annotated[int, msgspec.Meta(ge=1)] | None = None
    export_format: Literal["jsonl", "ocsf", "cef"] | None = None
    compliance_frameworks: tuple[
        Literal["gdpr", "hipaa", "soc2", "pci_dss", "iso_42001", "eu_ai_act", "owasp_llm", "ccpa", "glba"], ...
    ] = ()


class Effect(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


class RuleEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A rule with a condition in CEL. priority: of several that hold, the highest is named; deny comes before allow."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    effect: Effect
    when: str
    message: str = ""
    priority: int = 0


class NamedPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the short form: either scan_* / block_on_match / alert_security_team, or an approval.

    when: a condition in CEL that must hold too. covers: what one consent is for.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    scan_input: bool | None = None
    scan_output: bool | None = None
    block_on_match: bool | None = None
    alert_security_team: bool | None = None
    resources: tuple[str, ...] = ()
    requires_approval: bool | None = None
    approvers: tuple[str, ...] = ()
    when: str | None = None
    covers: Covers | None = None


class AccessRule(msgspec.Struct, frozen=True, kw_only=True):
    """Globs over names (model ids, `SERVER/TOOL`). allow None = says nothing here."""

    allow: tuple[Pattern, ...] | None = None
    deny: tuple[Pattern, ...] = ()


class AccessSection(AccessRule, frozen=True, kw_only=True):
    roles: dict[str, AccessRule] = {}
    teams: dict[str, AccessRule] = {}
    users: dict[str, AccessRule] = {}


class ProtectionSection(msgspec.Struct, frozen=True, kw_only=True):
    actions: tuple[RuleAction, ...] = ()
    custom: tuple[CustomRule, ...] = ()
    allow: tuple[Pattern, ...] = ()
    restore_in_tools: tuple[Pattern, ...] = ()


class Team(msgspec.Struct, frozen=True, kw_only=True):
    region: str = ""
    usage_limits: UsageLimits = UsageLimits()


class PolicyFile(msgspec.Struct, frozen=True, kw_only=True):
    version: str = ""
    security: Security = Security()
    usage_limits: UsageLimits = UsageLimits()
    content_filters: ContentFilterSection = ContentFilterSection()
    audit: AuditSection = AuditSection()
    policies: tuple[NamedPolicy, ...] = ()
    rules: tuple[RuleEntry, ...] = ()
    models: AccessSection = AccessSection()
    tools: AccessSection = AccessSection()
    protection: ProtectionSection = ProtectionSection()
    teams: dict[str, Team] = {}
    auto_mode: Literal["flag", "stop"] = "flag"
    contact: str = ""


class RoleEntry(msgspec.Struct, frozen=True, kw_only=True):
    permissions: tuple[str, ...] | str
    description: str = ""


class RolesFile(msgspec.Struct, frozen=True, kw_only=True):
    roles: dict[str, RoleEntry] = {}
