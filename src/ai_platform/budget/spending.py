"""What the ledger keeps and answers: plain facts, no SQL."""

from enum import StrEnum

import msgspec

from ai_platform.domain.money import to_usd


class Interrupted(msgspec.Struct, frozen=True, kw_only=True):
    """A call whose process died before its outcome was durable; settled by its estimate.

    tool: of a call through the MCP door: what of the server `upstream` was called; None for a model's.
    """

    call_id: str
    at: float
    tenant: str
    principal: str
    team: str | None
    key_id: str | None
    model: str | None
    micros: int
    tokens: int
    upstream: str = ""
    tool: str | None = None


class By(StrEnum):
    """What usage is grouped by."""

    PERSON = "person"
    TEAM = "team"
    MODEL = "model"
    DAY = "day"
    KEY = "key"
    SESSION = "session"
    AGENT = "agent"
    PROJECT = "project"
    UPSTREAM = "upstream"
    TOOL = "tool"


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Each given field must be equal; None = any. model: as asked for or as served. tool: `SERVER/TOOL`."""

    person: str | None = None
    team: str | None = None
    model: str | None = None
    key: str | None = None
    project: str | None = None
    session: str | None = None
    agent: str | None = None
    upstream: str | None = None
    tool: str | None = None


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of the calls of one group. group: None = calls that have no such thing (no team, no session)."""

    group: str | None
    requests: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    thinking_tokens: int
    web_searches: int
    micros: int
    estimated: int
    interrupted: int
    unknown_price: int
    simulated: int

    @property
    def usd(self) -> str:
        return to_usd(self.micros)


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """Amounts in micro-dollars. days: spending of each complete UTC day before today, oldest first."""

    today: int
    month: int
    days: tuple[int, ...]
    top: tuple[UsageRow, ...]
