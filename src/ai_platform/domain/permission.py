"""Every permission of the platform, `scope:resource:action`, and the short names roles.yaml may use for them.

Default deny: a principal may do what its roles list and nothing else; `*` is every permission.
"""

from enum import StrEnum


class Permission(StrEnum):
    CLAUDE_INVOKE = "claude:messages:create"
    CLAUDE_MODELS = "claude:models:read"
    CLAUDE_FILES = "claude:files:use"
    CLAUDE_BATCHES = "claude:batches:use"
    TOOLS_CALL = "mcp:tools:call"
    RESOURCES_READ = "mcp:resources:read"
    PROMPTS_GET = "mcp:prompts:get"
    SERVERS_READ = "mcp:servers:read"
    SERVERS_WRITE = "mcp:servers:write"
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
    POLICY_READ = "policy:document:read"
    POLICY_WRITE = "policy:document:write"
    PLATFORM_OPERATE = "platform:process:operate"


EVERYTHING = "*"

_TOOLS = frozenset({Permission.TOOLS_CALL, Permission.RESOURCES_READ, Permission.PROMPTS_GET})

ALIASES: dict[str, frozenset[Permission]] = {
    "read_code": frozenset(
        {Permission.CODE_READ, Permission.CLAUDE_INVOKE, Permission.CLAUDE_MODELS, Permission.USAGE_READ_OWN}
    )
    | _TOOLS,
    "write_code": frozenset(
        {
            Permission.CODE_WRITE,
            Permission.CLAUDE_INVOKE,
            Permission.CLAUDE_MODELS,
            Permission.CLAUDE_FILES,
            Permission.CLAUDE_BATCHES,
            Permission.USAGE_READ_OWN,
        }
    )
    | _TOOLS,
    "create_branch": frozenset({Permission.BRANCH_CREATE}),
    "create_pr": frozenset({Permission.PR_CREATE}),
    "comment_pr": frozenset({Permission.PR_COMMENT, Permission.CLAUDE_INVOKE, Permission.CLAUDE_MODELS}),
    "approve_pr": frozenset({Permission.PR_APPROVE}),
    "read_logs": frozenset({Permission.LOGS_READ, Permission.METRICS_READ}),
    "read_audit_trail": frozenset({Permission.AUDIT_READ, Permission.AUDIT_EXPORT, Permission.POLICY_READ}),
}
"""Short name -> what it grants. Who may read or write code may also ask Claude about it, and use tools for it."""
