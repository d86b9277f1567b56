"""`ai-platform usage`: who spent what. `ai-platform prices`: what things cost, and what one call would."""

import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec import to_builtins
from rich.console import Console

from ai_platform.budget.spending import By
from ai_platform.cli.output import Json, count_of, emit_json, emit_table, explained, fail
from ai_platform.client import AdminClient
from ai_platform.domain.money import to_usd
from ai_platform.domain.usage import Usage
from ai_platform.pricing import PriceBook, PricingSettings, load_price_book
from ai_platform.pricing.schema import Row

Data = Annotated[Path | None, typer.Option(help="Data folder of the platform.", show_default=False)]

_NUMBERS = ("calls", "input", "output", "read", "written", "usd")
"""Columns: `read` and `written` are cache tokens."""

_PRICES = {"input": "input", "output": "output", "read": "cache_read", "5m_write": "write_5m", "1h_write": "write_1h"}
"""Heading -> field of a price row."""
_EMPTY = (
    "No calls in this period. Point a client at the platform (`ai-platform connect claude-code`), widen the period"
    " (--since 30d), or leave a filter out."
)


def usage(
    *,
    by: Annotated[By, typer.Option(help="What to add up by.")] = By.PERSON,
    since: Annotated[str, typer.Option(help="A date, a time, an age (24h, 7d, 2w), today or month.")] = "month",
    until: Annotated[str | None, typer.Option(help="The same; exclusive. [default: now]", show_default=False)] = None,
    team: Annotated[str | None, typer.Option(help="Only this team.", show_default=False)] = None,
    person: Annotated[str | None, typer.Option(help="Only this person (id).", show_default=False)] = None,
    model: Annotated[str | None, typer.Option(help="Only this model, as asked or served.", show_default=False)] = None,
    tool: Annotated[str | None, typer.Option(help="Only this tool, SERVER/TOOL.", show_default=False)] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Show what was spent, by person, team, model, day or anything else a call has.

    Money is exact to the micro-dollar: the sums are those of the ledger's rows. `read` and `written` are tokens of the
    prompt cache; `input` is what no cache held.
    """
    with explained(), AdminClient(data) as client:
        answer = client.get(
            "/admin/usage", by=by.value, since=since, until=until, team=team, person=person, model=model, tool=tool
        )
    if as_json:
        emit_json(answer)
        return
    rows = [_row(row, by) for row in answer["rows"]]
    if len(rows) > 1:
        rows.append(_row(answer["total"] | {"name": "total"}, by))
    title = f"Usage by {by.value}, {answer['since']} to {answer['until']}"
    emit_table(title, (by.value, *_NUMBERS), rows, empty=_EMPTY, right=_NUMBERS)
    for note in _notes(answer["total"]):
        Console().print(note, style="dim", highlight=False)


def prices(
    *,
    model: Annotated[str | None, typer.Option(help="Price one call of this model.", show_default=False)] = None,
    input_tokens: Annotated[int, typer.Option("--input", min=0, help="Uncached input tokens.")] = 1_000_000,
    output_tokens: Annotated[int, typer.Option("--output", min=0, help="Output tokens.")] = 0,
    cache_read: Annotated[int, typer.Option(min=0, help="Tokens read from the cache.")] = 0,
    write_5m: Annotated[int, typer.Option(min=0, help="Tokens written to the cache for 5 minutes.")] = 0,
    write_1h: Annotated[int, typer.Option(min=0, help="Tokens written to the cache for an hour.")] = 0,
    searches: Annotated[int, typer.Option(min=0, help="Web searches.")] = 0,
    batch: Annotated[bool, typer.Option("--batch", help="As an item of a message batch.")] = False,
    fast: Annotated[bool, typer.Option("--fast", help="In fast mode.")] = False,
    geo: Annotated[str, typer.Option(help="inference_geo: us or global.")] = "",
    platform: Annotated[str, typer.Option(help="anthropic, bedrock, vertex or foundry.")] = "anthropic",
    region: Annotated[str, typer.Option(help="Region of the endpoint; empty or `global` is global.")] = "",
    on: Annotated[str | None, typer.Option(help="Day, e.g. 2026-10-01. [default: today]", show_default=False)] = None,
    file: Annotated[list[Path] | None, typer.Option(help="Price file of the organisation; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """List the price book, or price one call (--model) and show the arithmetic. Needs no running platform."""
    at = _day(on)
    with explained():
        book = load_price_book(PricingSettings(files=tuple(file or ())))
    if model is None:
        _list(book, at, as_json=as_json)
        return
    used = Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cache_read,
        cache_write_5m_tokens=write_5m,
        cache_write_1h_tokens=write_1h,
        web_search_requests=searches,
        tier="batch" if batch else "standard",
        speed="fast" if fast else "standard",
        geo=geo,
    )
    price = book.price(model, used, platform=platform, region=region, at=at)
    lines = [
        {"what": line.what, "number": line.number, "usd_per_million": _dollars(line.rate / 1_000_000)}
        | {"cost_usd": _dollars(line.number * line.rate / Decimal(10**12), at_least=6)}
        for line in price.lines
    ]
    answer = {
        "model": model,
        "usd": to_usd(price.micros),
        "micros": price.micros,
        "rows": list(price.rows),
        "unknown": price.unknown,
        "lines": lines,
    }
    if as_json:
        emit_json(answer)
        return
    numbers = ("number", "usd_per_million", "cost_usd")
    emit_table(f"{model}: ${to_usd(price.micros)}", ("what", *numbers), lines, empty="Nothing used.", right=numbers)
    Console().print("by " + ", ".join(price.rows), style="dim", highlight=False)
    if price.unknown:
        warning = "This model has no price: it is priced at the dearest of its family until a row is added for it."
        Console().print(warning, style="yellow", highlight=False)


def _list(book: PriceBook, at: float, *, as_json: bool) -> None:
    rows = book.rows(at)
    modifiers, tools = book.modifiers(at), book.tools(at)
    if as_json:
        found = [{"ref": ref} | to_builtins(row, str_keys=True) for ref, row in rows]
        emit_json({"version": book.version, "rows": found, "modifiers": modifiers, "tools": tools})
        return
    shown = [
        {"model": _model(ref, row)} | {name: _dollars(getattr(row, field)) for name, field in _PRICES.items()}
        for ref, row in rows
    ]
    title = f"Price book {book.version}: US dollars per million tokens"
    emit_table(title, ("model", *_PRICES), shown, empty="The price book is empty.", right=tuple(_PRICES))
    stacked = ", ".join(dict.fromkeys(f"{modifier.name} x{modifier.times.normalize():f}" for modifier in modifiers))
    used = ", ".join(f"{tool.tool} ${_dollars(tool.per_thousand)} a thousand" for tool in tools)
    Console().print(f"Modifiers stack: {stacked}. Server tools: {used}.", style="dim", highlight=False)


def _model(ref: str, row: Row) -> str:
    where = f" ({', '.join((*row.platforms, *row.regions))})" if row.platforms or row.regions else ""
    prompt = f" >{row.prompt_over:,}" if row.prompt_over else ""
    return f"{ref.partition('@')[0]}{prompt}{where}"


def _row(row: dict[str, Any], by: By) -> dict[str, Any]:
    return {
        by.value: row.get("name") or "-",
        "calls": f"{row['requests']:,}",
        "input": f"{row['input_tokens']:,}",
        "output": f"{row['output_tokens']:,}",
        "read": f"{row['cache_read_tokens']:,}",
        "written": f"{row['cache_write_5m_tokens'] + row['cache_write_1h_tokens']:,}",
        "usd": row["usd"],
    }


def _notes(total: dict[str, Any]) -> list[str]:
    words = {
        "estimated": "settled by estimate (the answer ended before its last counts)",
        "interrupted": "interrupted",
        "unknown_price": "of a model without a price, at the dearest known: add a row (docs/spend.md)",
        "simulated": "answered by the simulated upstream: no real money",
    }
    return [f"{count_of(total[name], 'call')} {text}." for name, text in words.items() if total[name]]


def _dollars(amount: Decimal, *, at_least: int = 2) -> str:
    """With `at_least` decimals, and every further digit there is."""
    rounded = round(amount, at_least)
    return f"{rounded:f}" if rounded == amount else f"{amount.normalize():f}"


def _day(text: str | None) -> float:
    if text is None:
        return time.time()
    try:
        day = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--on {text!r} is no day; write it as 2026-10-01.", code=2)
    return (day if day.tzinfo else day.replace(tzinfo=UTC)).timestamp()
