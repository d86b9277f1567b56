"""Every permission of the platform, `scope:resource:action`, and the short names roles.yaml may use for them.

Default deny: a principal may do what its roles list and nothing else; `*` is every permission. What the servers
behind the MCP door offer is granted by pattern: `tools:SERVER/TOOL:call`, where `*` is any text.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache


class Permission(StrEnum):
    CLAUDE_INVOKE = "claude:messages:create"
    CLAUDE_MODELS = "claude:models:read"
    CLAUDE_FILES = "claude:files:use"
    CLAUDE_BATCHES = "claude:batches:use"
    SERVERS_READ = "mcp:servers:read"
    SERVERS_WRITE = "mcp:servers:write"
    SERVERS_APPROVE = "mcp:servers:approve"
    SERVERS_QUARANTINE = "mcp:servers:quarantine"
    CODE_READ = "code:repository:read"
    CODE_WRITE = "code:repository:write"
    BRANCH_CREATE = "code:branch:create"
    PR_CREATE = "code:pull_request:create"
    PR_COMMENT = "code:pull_request:comment"
    PR_APPROVE = "code:pull_request:approve"
    LOGS_READ = "telemetry:logs:read"
    METRICS_READ = "telemetry:metrics:read"
    AUDIT_READ = "audit:trail:read"
    AUDIT_EXPORT = "audit:trail:export"
    USAGE_READ = "spend:usage:read"
    USAGE_READ_OWN = "spend:usage:read_own"
    KEYS_READ = "identity:keys:read"
    KEYS_WRITE = "identity:keys:write"
    INCIDENTS_READ = "security:incidents:read"
    INCIDENTS_WRITE = "security:incidents:write"
    SIGN_IN_READ = "identity:sign_in:read"
    SIGN_IN_WRITE = "identity:sign_in:write"
    BREAK_GLASS_WRITE = "identity:break_glass:write"
    PEOPLE_READ = "identity:people:read"
    PEOPLE_WRITE = "identity:people:write"
    TEAMS_READ = "identity:teams:read"
    TEAMS_WRITE = "identity:teams:write"
    PROVISION = "identity:scim:provision"
    POLICY_READ = "policy:document:read"
    POLICY_WRITE = "policy:document:write"
    PLATFORM_OPERATE = "platform:process:operate"
    PLATFORM_AUDIT = "platform:audit:read"
    TENANTS_READ = "platform:tenants:read"
    TENANTS_WRITE = "platform:tenants:write"
    TENANTS_ENTER = "platform:tenants:enter"
    APPROVALS_USE = "approvals:request:use"
    APPROVALS_READ = "approvals:request:read"


EVERYTHING = "*"

PLATFORM_WIDE = frozenset(permission for permission in Permission if permission.startswith("platform:"))
"""About all tenants at once: they are good in the operator's own tenant only, whatever a role or key says."""


class Offer(StrEnum):
    """What an MCP server offers. The value is the permission's scope; names are tools', URIs, prompts'."""

    TOOL = "tools"
    RESOURCE = "resources"
    PROMPT = "prompts"

    def permission(self, server: str, name: str) -> str:
        """What a caller needs for it: `tools:kb/search_kb:call`, `resources:kb/kb://docs/7:read`."""
        return f"{self.value}:{server}/{name}:{_ACTIONS[self]}"


_ACTIONS = {Offer.TOOL: "call", Offer.RESOURCE: "read", Offer.PROMPT: "get"}
OFFERED = re.compile(
    r"tools:(?=\S*[/*])\S{1,250}:call|resources:(?=\S*[/*])\S{1,500}:read|prompts:(?=\S*[/*])\S{1,250}:get"
)
"""A permission of the MCP door, with or without `*`."""


DEPLOY = re.compile(r"deploy:[A-Za-z0-9_.*-]+:[A-Za-z0-9_.*-]+")
"""`deploy:SERVICE:ENVIRONMENT`, which the bundled deployments server asks for."""

DEPLOYMENTS = Offer.TOOL.permission("deployments", "*")


def is_by_name(permission: str) -> bool:
    """A permission that names what it is for, unlike those of `Permission`."""
    return OFFERED.fullmatch(permission) is not None or DEPLOY.fullmatch(permission) is not None


def with_implied(permission: str) -> frozenset[str]:
    """Who may deploy anything may call the server for it, which holds each call against `deploy:`."""
    return frozenset({permission, DEPLOYMENTS} if DEPLOY.fullmatch(permission) else {permission})


def covers(granted: str, wanted: str) -> bool:
    """Whether one permission includes another; either may hold `*`. `tools:*:call` includes `tools:kb/*:call`."""
    if granted in {wanted, EVERYTHING}:
        return True
    return "*" in granted and _pattern(granted).fullmatch(wanted) is not None


def grants(permissions: Iterable[str], wanted: str) -> bool:
    """Whether one of the permissions covers the wanted one."""
    return any(covers(granted, wanted) for granted in permissions)


@lru_cache(maxsize=4096)
def _pattern(granted: str) -> re.Pattern[str]:
    """Linear: each `*` with the fixed text after it is atomic, so that the first place that fits is the only one."""
    head, *rest = (re.escape(part) for part in re.split(r"\*+", granted))
    middle = "".join(f"(?>.*?{part})" for part in rest[:-1])
    return re.compile(f"{head}{middle}.*{rest[-1]}", re.DOTALL)


READING = frozenset(
    offer.permission(server, "*")
    for server, offer in (
        ("knowledge-base", Offer.TOOL),
        ("knowledge-base", Offer.RESOURCE),
        ("knowledge-base", Offer.PROMPT),
        ("prompts", Offer.PROMPT),
    )
)
"""The bundled servers that only read. Every other server is closed until a role names it."""

ALIASES: dict[str, frozenset[str]] = {
    "read_code": frozenset(
        {
            Permission.CODE_READ,
            Permission.CLAUDE_INVOKE,
            Permission.CLAUDE_MODELS,
            Permission.USAGE_READ_OWN,
            Permission.APPROVALS_USE,
            *READING,
        }
    ),
    "write_code": frozenset(
        {
            Permission.CODE_WRITE,
            Permission.CLAUDE_INVOKE,
            Permission.CLAUDE_MODELS,
            Permission.CLAUDE_FILES,
            Permission.CLAUDE_BATCHES,
            Permission.USAGE_READ_OWN,
        }
    ),
    "create_branch": frozenset({Permission.BRANCH_CREATE}),
    "create_pr": frozenset({Permission.PR_CREATE}),
    "comment_pr": frozenset(
        {Permission.PR_COMMENT, Permission.CLAUDE_INVOKE, Permission.CLAUDE_MODELS, Permission.APPROVALS_USE}
    ),
    "approve_pr": frozenset({Permission.PR_APPROVE}),
    "read_logs": frozenset({Permission.LOGS_READ, Permission.METRICS_READ}),
    "read_audit_trail": frozenset(
        {
            Permission.AUDIT_READ,
            Permission.AUDIT_EXPORT,
            Permission.PLATFORM_AUDIT,
            Permission.POLICY_READ,
            Permission.INCIDENTS_READ,
            Permission.INCIDENTS_WRITE,
            Permission.APPROVALS_READ,
            Permission.APPROVALS_USE,
        }
    ),
    "scim": frozenset({Permission.PROVISION}),
    "use_tools": frozenset(offer.permission("*", "*") for offer in Offer),
}
"""Short name -> what it grants. Who may read or write code may also ask Claude about it, and use tools for it."""
