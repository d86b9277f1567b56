"""What a condition can look at of one call: the variables of docs/policy.md, made when the first condition reads them.

No field of ours is ever missing or null (an absent text is empty, an absent number 0), so that only what a client
sends can fail a condition. Above: conditions. Below: vocabulary.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import msgspec

from ai_platform.domain.call import Call
from ai_platform.domain.finding import DataClass, Finding, Severity
from ai_platform.domain.money import MICROS_PER_USD
from ai_platform.domain.principal import Principal
from ai_platform.policy.surfaces import Surfaces

PROPOSED = "tools.propose"
"""The operation of a tool call that the model asks for in its answer."""

MOST_VALUES = 10_000
DEEPEST = 32
"""Of the arguments of a tool call: beyond it, a condition that reads them fails."""


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller and their team have spent, calls under way included. Money in micro-dollars."""

    user_tokens_today: int = 0
    user_today: int = 0
    user_month: int = 0
    team_month: int = 0


def _nothing_spent(principal: Principal) -> Spent:
    del principal
    return Spent()


def _ignore(rule: str) -> None:
    del rule


class Surroundings(msgspec.Struct, frozen=True):
    """What a condition knows besides the call. now: epoch seconds. spent: by a caller and their team.

    failed: told the name of each rule whose condition could not be decided.
    """

    now: Callable[[], float]
    spent: Callable[[Principal], Spent] = _nothing_spent
    failed: Callable[[str], None] = _ignore


class Unreadable(Exception):
    """The arguments of the call cannot be handed to a condition. `str(error)` says why, without a full stop."""


class Target(msgspec.Struct, frozen=True):
    """What a tool call is about. arguments: JSON text."""

    server: str = ""
    tool: str = ""
    arguments: bytes = b"{}"


_SERVER = re.compile(r"[a-z][a-z0-9-]*")


def proposed_target(name: str, arguments: bytes) -> Target:
    """Of a tool call in a model's answer. Claude Code calls tools of MCP servers `mcp__CONNECTION__TOOL`, and through
    this platform's door to all servers `mcp__CONNECTION__SERVER__TOOL`; its own tools have no server.
    """
    if not name.startswith("mcp__"):
        return Target("", name, arguments)
    server, found, tool = name.removeprefix("mcp__").partition("__")
    inner, nested, rest = tool.partition("__")
    if nested and rest and _SERVER.fullmatch(inner):
        return Target(inner, rest, arguments)
    return Target(server, tool, arguments) if found else Target("", name, arguments)


class View:
    """variables: by name. target: the tool call to be decided, None when the call is none.

    inspected: what inspection found is known. listing: nobody calls yet; a list is being made.
    """

    def __init__(
        self,
        principal: Principal,
        call: Call,
        surroundings: Surroundings,
        *,
        operation: str = "",
        target: Target | None = None,
        findings: Sequence[Finding] | None = None,
        listing: bool = False,
    ) -> None:
        self.listing = listing
        self.target = target
        self.inspected = findings is not None
        self._principal = principal
        self._call = call
        self._surroundings = surroundings
        self._operation = operation or call.operation.value
        self._findings = findings or ()

    @cached_property
    def now(self) -> float:
        return self._surroundings.now()

    def variable(self, root: str) -> dict[str, Any]:
        """Everything but the arguments of a tool call."""
        return {
            "caller": self._caller,
            "call": self._of_call,
            "findings": self._found,
            "time": self._time,
            "spend": self._spend,
        }[root]()

    def _caller(self) -> dict[str, Any]:
        who = self._principal
        return {
            "id": who.id,
            "name": who.name,
            "email": (who.email or "").lower(),
            "kind": who.kind.value,
            "roles": list(who.roles),
            "team": who.team or "",
            "project": who.project or "",
            "groups": list(who.groups),
            "tenant": who.tenant,
            "region": who.region or "",
            "signed_in": who.signed_in,
        }

    def _of_call(self) -> dict[str, Any]:
        call, target = self._call, self.target or Target()
        return {
            "door": call.door.value,
            "operation": self._operation,
            "model": call.head.model or "",
            "server": target.server,
            "tool": target.tool,
            "stream": call.head.stream,
            "max_tokens": call.head.max_tokens or 0,
            "bytes": len(call.body),
            "ip": call.client.ip,
            "user_agent": call.client.user_agent,
            "session": call.client.session_id or "",
        }

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """Raises Unreadable."""
        if self.target is None:
            return {}
        try:
            value = msgspec.json.decode(self.target.arguments)
        except (msgspec.DecodeError, RecursionError):
            raise Unreadable("the arguments are not readable JSON") from None
        if not isinstance(value, dict):
            raise Unreadable("the arguments are no JSON object")
        return value

    @cached_property
    def values(self) -> int:
        """How many values the arguments hold. Raises Unreadable when they nest too deep."""
        return _count(self.arguments)

    @cached_property
    def surfaces(self) -> Surfaces:
        """What the tool call would do. Raises Unreadable."""
        target = self.target or Target()
        return Surfaces(f"{target.server}/{target.tool}", self.arguments)

    def _found(self) -> dict[str, Any]:
        found = self._findings
        return {
            "count": len(found),
            "classes": {kind.value: 0 for kind in DataClass} | Counter(each.data_class.value for each in found),
            "types": dict(Counter(each.type for each in found)),
            "severities": {kind.value: 0 for kind in Severity} | Counter(each.severity.value for each in found),
        }

    def _time(self) -> dict[str, Any]:
        moment = datetime.fromtimestamp(self.now, UTC)
        return {
            "now": moment,
            "date": moment.strftime("%Y-%m-%d"),
            "hour": moment.hour,
            "minute": moment.minute,
            "weekday": moment.isoweekday(),
        }

    def _spend(self) -> dict[str, Any]:
        spent = self._surroundings.spent(self._principal)
        return {
            "user_tokens_today": spent.user_tokens_today,
            "user_usd_today": spent.user_today / MICROS_PER_USD,
            "user_usd_month": spent.user_month / MICROS_PER_USD,
            "team_usd_month": spent.team_month / MICROS_PER_USD,
        }


def _count(value: Any) -> int:
    count = 0
    level = [value]
    for _ in range(DEEPEST):
        count += len(level)
        if count > MOST_VALUES:
            return count
        level = [item for each in level for item in _within(each)]
        if not level:
            return count
    raise Unreadable(f"the arguments nest deeper than {DEEPEST} levels")


def _within(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]
