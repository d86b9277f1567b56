"""`ai-platform conformance`: how well a gateway serves Claude Code, as a score with the reason for every lost point."""

import asyncio
from contextlib import AsyncExitStack
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from ai_platform.cli.output import Json, emit_json, explained, fail
from ai_platform.conformance import Report, Target, recording_upstream, run
from ai_platform.conformance.runner import Result
from ai_platform.conformance.spawn import spawned
from ai_platform.domain.errors import ConfigError

CARDS = ("4111 1111 1111 1111", "5555 5555 5555 4444", "6011 1111 1111 1117", "4000 0566 5566 5556")
"""Test card numbers: the platform's default policy blocks each at first sight."""

_SIGNS = {"passed": "[green]passed[/]", "failed": "[bold red]FAILED[/]", "skipped": "[dim]skipped[/]"}


def conformance(  # noqa: PLR0917 - typer reads the parameters by name
    url: Annotated[str, typer.Argument(help="The gateway's base address; not needed with --spawn.")] = "",
    key: Annotated[str, typer.Option(envvar="ANTHROPIC_AUTH_TOKEN", help="A key the gateway accepts.")] = "",
    model: Annotated[str, typer.Option(help="A model the gateway serves.")] = "claude-sonnet-5-5",
    own_upstream: Annotated[
        int | None,
        typer.Option(help="Record on this port (0: any). The gateway must use http://127.0.0.1:PORT as its upstream."),
    ] = None,
    upstream_host: Annotated[str, typer.Option(help="Address the recording upstream listens on.")] = "127.0.0.1",
    spawn: Annotated[bool, typer.Option("--spawn", help="Start this platform with a temporary data folder.")] = False,
    refused_text: Annotated[
        list[str] | None, typer.Option(help="A text the gateway must refuse; checks how. Repeat it for further texts.")
    ] = None,
    refused_model: Annotated[str, typer.Option(help="A model the gateway must refuse; checks how.")] = "",
    only: Annotated[list[str] | None, typer.Option(help="Run the cases whose id matches this glob.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Longest wait for what should happen at once.")] = 10.0,
    at_least: Annotated[int, typer.Option(min=0, max=100, help="Exit with 1 below this score.")] = 100,
    as_json: Json = False,
) -> None:
    """Score a gateway: do Claude Code's requests, streams, errors and hang-ups pass as it needs them?

    [bold]--spawn[/] tests this platform in one command. To test any gateway completely, let it call the suite's own
    upstream: start the gateway with the upstream http://127.0.0.1:9100, then run
    [bold]ai-platform conformance URL --key KEY --own-upstream 9100[/]. Without --own-upstream the gateway is a black
    box (a real upstream bills a few hundred tokens) and fewer cases run.
    """
    if not spawn and not url:
        fail("Name the gateway's address, or use --spawn to test this platform.", code=2)
    if not spawn and not key:
        fail("The suite needs a key the gateway accepts: --key KEY, or ANTHROPIC_AUTH_TOKEN.", code=2)
    if url and not url.startswith(("http://", "https://")):
        fail(f"{url!r} is not an http:// or https:// address.", code=2)
    target = Target(
        url=url,
        key=key,
        model=model,
        refused_texts=tuple(refused_text or ()),
        refused_model=refused_model,
        seconds=seconds,
    )
    with explained():
        report = asyncio.run(
            _run(
                target,
                0 if spawn and own_upstream is None else own_upstream,
                upstream_host,
                spawn=spawn,
                only=only or [],
                shown=not as_json,
            )
        )
    if as_json:
        emit_json(report)
    else:
        _summary(report)
    raise typer.Exit(0 if report.score >= at_least and report.passed else 1)


async def _run(target: Target, port: int | None, host: str, *, spawn: bool, only: list[str], shown: bool) -> Report:
    async with AsyncExitStack() as stack:
        upstream = None
        if port is not None:
            upstream = recording_upstream(target.model)
            try:
                await stack.enter_async_context(upstream.listening(host, port))
            except OSError as error:
                raise ConfigError(
                    f"the recording upstream cannot listen on {host}:{port} ({error.strerror})."
                ) from error
        if spawn and upstream is not None:
            url, admin_key = await stack.enter_async_context(spawned(upstream.url))
            texts = target.refused_texts or tuple(f"The card is {card}." for card in CARDS)
            target = msgspec.structs.replace(target, url=url, key=admin_key, refused_texts=texts)
        return await run(target, upstream, only=only, progress=_show if shown else None)


def _show(result: Result) -> None:
    console = Console()
    console.print(f"{_SIGNS[result.verdict]} {result.id:28} {result.title}", highlight=False, soft_wrap=True)
    if result.verdict == "failed":
        console.print(
            f"        {result.detail}\n        why it matters: {result.why}", style="red", markup=False, soft_wrap=True
        )


def _summary(report: Report) -> None:
    console = Console()
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("gateway", report.url)
    table.add_row("score", f"[bold]{report.score} %[/] (by weight)")
    table.add_row("cases", f"{report.passed} passed, {report.failed} failed, {report.skipped} skipped")
    console.print()
    console.print(table)
    for result in report.cases:
        if result.verdict == "skipped":
            console.print(f"skipped {result.id}: {result.detail}", style="dim", highlight=False)
