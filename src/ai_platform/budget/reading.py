"""Questions to the ledger, as SQL. Groups and filters are names of this module, values are always parameters."""

from datetime import UTC, datetime

from ai_platform.budget.settings import Period
from ai_platform.budget.spending import By, Costs, Filters, UsageRow
from ai_platform.budget.windows import DAY, window_of
from ai_platform.domain.principal import HOME
from ai_platform.stores.postgres import Database

GROUPS = {
    By.PERSON: "principal",
    By.TEAM: "team",
    By.MODEL: "coalesce(model_served, model_asked)",
    By.DAY: "to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    By.KEY: "key_id",
    By.SESSION: "session_id",
    By.AGENT: "agent_id",
    By.PROJECT: "project",
    By.UPSTREAM: "nullif(upstream, '')",
    By.TOOL: "upstream || '/' || tool",
}

FILTERS = {
    "person": "principal = {}",
    "team": "team = {}",
    "model": "{} IN (model_asked, model_served)",
    "key": "key_id = {}",
    "project": "project = {}",
    "session": "session_id = {}",
    "agent": "agent_id = {}",
    "upstream": "upstream = {}",
    "tool": "upstream || '/' || tool = {}",
}

SUMS = """
    count(*) AS requests, sum(input_tokens)::bigint AS input_tokens, sum(output_tokens)::bigint AS output_tokens,
    sum(cache_read_tokens)::bigint AS cache_read_tokens,
    sum(cache_write_5m_tokens)::bigint AS cache_write_5m_tokens,
    sum(cache_write_1h_tokens)::bigint AS cache_write_1h_tokens,
    sum(thinking_tokens)::bigint AS thinking_tokens, sum(web_searches)::bigint AS web_searches,
    sum(micros)::bigint AS micros, count(*) FILTER (WHERE estimated) AS estimated,
    count(*) FILTER (WHERE interrupted) AS interrupted, count(*) FILTER (WHERE unknown_price) AS unknown_price,
    count(*) FILTER (WHERE simulated) AS simulated
"""
HISTORY_DAYS = 28


async def read_usage(
    database: Database, tenant: str, by: By, *, since: float, until: float, filters: Filters, limit: int
) -> list[UsageRow]:
    where, values = _where(tenant, filters, since, until)
    order = "1" if by is By.DAY else "micros DESC, requests DESC, 1"
    rows = await database.within(tenant).fetch(
        f'SELECT {GROUPS[by]} AS "group", {SUMS} FROM aip.spend WHERE {where} GROUP BY 1'  # noqa: S608 - names above
        f" ORDER BY {order} LIMIT ${len(values) + 1}",
        *values,
        limit,
    )
    return [UsageRow(**dict(row)) for row in rows]


async def read_costs(database: Database, tenant: str, *, now: float, top: int) -> Costs:
    month = window_of(Period.MONTH, now).start
    today = window_of(Period.DAY, now).start
    filters = Filters()
    where, values = _where(tenant, filters, min(month, today - HISTORY_DAYS * DAY), now + DAY)
    rows = await database.within(tenant).fetch(
        "SELECT extract(epoch FROM date_trunc('day', at AT TIME ZONE 'UTC'))::bigint AS day,"  # noqa: S608 - as above
        f" sum(micros)::bigint AS micros FROM aip.spend WHERE {where} GROUP BY 1",
        *values,
    )
    spent: dict[int, int] = {row["day"]: row["micros"] for row in rows}
    first = min((day for day in spent if day < today), default=today)
    days = range(max(first, today - HISTORY_DAYS * DAY), today, DAY)
    people = await read_usage(database, tenant, By.PERSON, since=month, until=now + DAY, filters=filters, limit=top)
    return Costs(
        today=spent.get(today, 0),
        month=sum(micros for day, micros in spent.items() if day >= month),
        days=tuple(spent.get(day, 0) for day in days),
        top=tuple(people),
    )


def _where(tenant: str, filters: Filters, since: float, until: float) -> tuple[str, list[object]]:
    values: list[object] = [_moment(since), _moment(until)]
    parts = ["at >= $1", "at < $2"]
    if tenant != HOME:
        parts.append("tenant <> 'default'")  # says so to the planner: the index is of the others only
    for name, condition in FILTERS.items():
        value = getattr(filters, name)
        if value is not None:
            values.append(value)
            parts.append(condition.format(f"${len(values)}"))
    return " AND ".join(parts), values


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
