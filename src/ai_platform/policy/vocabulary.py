"""The words of a condition: which variables, fields and functions there are. docs/policy.md says what each means.

What is not listed here is refused when the policy loads, so that a mistyped name is an error and not a hole.
Above: analysis, view.
"""

from types import MappingProxyType

FIELDS: MappingProxyType[str, frozenset[str]] = MappingProxyType(
    {
        "caller": frozenset(
            {
                "id",
                "name",
                "email",
                "kind",
                "roles",
                "team",
                "project",
                "groups",
                "tenant",
                "region",
                "signed_in",
            }
        ),
        "call": frozenset(
            {
                "door",
                "operation",
                "model",
                "server",
                "tool",
                "arguments",
                "stream",
                "max_tokens",
                "bytes",
                "ip",
                "user_agent",
                "session",
            }
        ),
        "findings": frozenset({"count", "classes", "types", "severities"}),
        "time": frozenset({"now", "date", "hour", "minute", "weekday"}),
        "spend": frozenset({"user_tokens_today", "user_usd_today", "user_usd_month", "team_usd_month"}),
    }
)

ARGUMENTS = "call.arguments"
OF_TOOLS = frozenset({"call.server", "call.tool", ARGUMENTS})
"""A rule that reads one of these is about tool calls, and is not asked for anything else."""

MACROS = frozenset({"exists", "all", "exists_one", "filter"})
"""Loops. `map` is left out: it makes values, and with them work that nobody can bound."""

METHODS = frozenset(
    {
        "startsWith",
        "endsWith",
        "contains",
        "matches",
        "size",
        "lowerAscii",
        "upperAscii",
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getHours",
        "getMinutes",
        "getSeconds",
    }
)

FUNCTIONS = frozenset({"size", "has", "string", "int", "uint", "double", "timestamp", "duration"})

WORDS = frozenset({"true", "false", "null", "in"})

MISTAKEN = MappingProxyType({"and": "&&", "or": "||", "not": "!", "is": "==", "True": "true", "False": "false"})
"""What other languages write for it."""
