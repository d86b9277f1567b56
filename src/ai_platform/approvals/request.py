"""A request for consent: what is asked, and what became of it."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from ai_platform.domain.approval import ApprovalDemand, Covers
from ai_platform.domain.call import Call
from ai_platform.domain.principal import Principal


class State(StrEnum):
    """void: what was agreed to does not hold any more (the policy or the approver's standing changed)."""

    PENDING = "pending"
    APPROVED = "approved"
    USED = "used"
    DENIED = "denied"
    EXPIRED = "expired"
    VOID = "void"


OPEN = frozenset({State.PENDING, State.APPROVED})


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A call that needs consent, under this version of the policy."""

    caller: Principal
    call: Call
    demand: ApprovalDemand
    policy_version: str
    digest: bytes


class Asker(Protocol):
    """Whoever carries the call: asked while it waits.

    waits: whether the call can wait at all; a caller that cannot be told is refused at once.
    """

    @property
    def waits(self) -> bool: ...

    async def tell(self, sentence: str) -> None:
        """What the call waits for; once at the beginning and then every few seconds."""
        ...

    async def shown(self) -> bytes:
        """What the approver reads: JSON text, findings masked. Raises Refused: it could not be inspected."""
        ...

    async def check(self) -> None:
        """Asked at the moment of use. Raises Refused when the call itself would not be admitted any more."""
        ...


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """As it is kept. Times are epoch seconds. expires_at: of the wait, and once approved of the consent."""

    id: str
    tenant: str
    digest: bytes
    state: State
    rule: str
    approvers: tuple[str, ...]
    covers: Covers
    policy_version: str
    principal_id: str
    key_id: str | None
    person: bytes | None
    team: str | None
    door: str
    operation: str
    server: str | None
    tool: str | None
    model: str | None
    call_id: str
    tool_use_id: str | None
    session_id: str | None
    requested_at: float
    expires_at: float
    decided_at: float | None = None
    decided_by: str | None = None
    decided_key: str | None = None
    note: str | None = None
    used_at: float | None = None
    used_by: str | None = None
    uses: int = 0

    @property
    def what(self) -> str:
        """`SERVER/TOOL`, or the model, for people."""
        return f"{self.server}/{self.tool}" if self.server else self.model or self.operation


COLUMNS = tuple(Request.__struct_fields__)
_TIMES = frozenset({"requested_at", "expires_at", "decided_at", "used_at"})
_READ = ", ".join(f"extract(epoch FROM {name}) AS {name}" if name in _TIMES else name for name in COLUMNS)
SELECT = f"SELECT {_READ}"
RETURNING = f"RETURNING {_READ}"
"""All columns of a request but what is shown, times as epoch seconds."""


def request_of(row: Any) -> Request:
    """A row of SELECT."""
    values: dict[str, Any] = dict(row)
    for name in _TIMES:
        values[name] = None if values[name] is None else float(values[name])
    values["state"] = State(values["state"])
    values["covers"] = Covers(values["covers"])
    values["approvers"] = tuple(values["approvers"])
    return Request(**values)


def named(approvers: Sequence[str]) -> str:
    """`security-team or user:cfo@example.com`, for people."""
    return " or ".join(approvers)
