"""`ai-platform up`: start everything in this process, say where it is and how to use it, stop on Ctrl-C."""

import asyncio
import contextlib
import gc
import importlib
import os
import signal
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec
import typer
import uvloop
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from ai_platform import __version__
from ai_platform.cli.output import explained, fail
from ai_platform.client.admin import default_data_dir
from ai_platform.config import Settings, load_settings


class Platform(Protocol):
    """What this command needs to know of a running platform, see bootstrap."""

    url: str
    admin_key: str
    new_admin_key: str | None
    simulated: bool

    @property
    def upstream_text(self) -> str: ...

    @property
    def policy_text(self) -> str: ...

    def hurry(self) -> None: ...


def up(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. [default: 8080]")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder: keys, PostgreSQL, audit keys, logs.")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML); see docs/configuration.md.")] = None,
    upstream: Annotated[
        str | None,
        typer.Option(help="URL of an Anthropic-compatible server; its key comes from ANTHROPIC_API_KEY."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Policy file; otherwise looked for as docs/policy.md says.")
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write {url, admin_key, pid} as JSON here once calls can be served.")
    ] = None,
) -> None:
    """Start the platform: gateway, embedded PostgreSQL and, without a key for a real one, a simulated upstream.

    The first start makes the data folder and an admin key. Ctrl-C stops everything; a restart on the same data
    folder keeps keys, ledger and audit log.
    """
    with explained():
        settings = load_settings(
            config, data=data or default_data_dir(), host=host, port=port, upstream=upstream, policy=policy
        )
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve(settings, ready_file))
        except OSError as error:
            fail(f"Cannot listen on {settings.server.host}:{settings.server.port}: {error.strerror or error}.")
        finally:
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)


async def _serve(settings: Settings, ready_file: Path | None) -> None:
    # The wiring is loaded for this command alone: with it every other one, also those that Claude Code calls for its
    # key, would take half a second longer.
    bootstrap: Any = importlib.import_module("ai_platform.bootstrap.platform")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    console = Console(stderr=True)
    status = console.status("Starting: PostgreSQL, keys, audit log, upstreams")
    with status if console.is_terminal else contextlib.nullcontext():
        stack = contextlib.AsyncExitStack()
        platform: Platform = await stack.enter_async_context(bootstrap.running_platform(settings, os.environ))
    _settle_collector()
    async with stack:
        if ready_file is not None:
            _write_ready(ready_file, platform)
        _announce(Console(), platform, settings)
        await stop.wait()
        console.print("Stopping: finishing the calls under way (Ctrl-C again to cut them off).", style="dim")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, platform.hurry)


def _settle_collector() -> None:
    """What was made at the start lives as long as the process: the collector need not look at it at every call."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _write_ready(path: Path, platform: Platform) -> None:
    """Atomically and readable by this user only: it holds the admin key."""
    content = msgspec.json.encode({"url": platform.url, "admin_key": platform.admin_key, "pid": os.getpid()})
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # nobody else's file, nor a link
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)


def _announce(console: Console, platform: Platform, settings: Settings) -> None:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("address", f"[bold]{platform.url}[/]")
    facts.add_row("upstream", platform.upstream_text)
    facts.add_row("policy", platform.policy_text)
    facts.add_row("data", _short(settings.data))
    if platform.new_admin_key:
        facts.add_row("admin key", f"[bold]{platform.new_admin_key}[/]")
        facts.add_row("", f"[dim]shown once; kept in {_short(settings.data)}/admin.key[/]")
    console.print(Panel(facts, title=f"ai-platform {__version__}", title_align="left", expand=False))
    if platform.simulated:
        console.print(
            "[bold black on yellow] SIMULATED UPSTREAM [/] No model answers here: answers are made up by a simulator."
            "\nSet ANTHROPIC_API_KEY, or name an upstream in a configuration file, to reach a real one.",
            soft_wrap=True,
        )
    console.print("\nPoint Claude Code at it (a key for each person: ai-platform keys create NAME):\n", highlight=False)
    console.print(f"  export ANTHROPIC_BASE_URL={platform.url}", highlight=False, soft_wrap=True)
    console.print(
        "  export ANTHROPIC_AUTH_TOKEN=$(ai-platform keys create me --quiet)\n", highlight=False, soft_wrap=True
    )


def _short(path: Path) -> str:
    """The path as a person writes it."""
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)
