"""`python -m ai_platform.simulator`: the simulated upstream as a program of its own."""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from ai_platform.simulator.server import serve
from ai_platform.simulator.settings import SimulatorSettings


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ai_platform.simulator",
        description="A simulated Claude upstream: Anthropic wire format, scripted answers, no model and no key.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    add("--port", type=int, default=0, help="port; 0 takes a free one")
    add("--pace", type=float, default=0.0, metavar="EVENTS_PER_SECOND", help="pace of streams; 0 = as fast as possible")
    add("--first-token-ms", type=int, default=0, metavar="N", help="wait before the first byte of an answer")
    add("--events-per-write", type=int, default=1, metavar="N", help="events that share one write")
    add("--chunk-bytes", type=int, default=0, metavar="N", help="split writes into pieces of at most N bytes")
    add("--record", metavar="DIR", help="write every request with its body to DIR (keep it private)")
    add("--keep-bodies", action="store_true", help="GET /_sim/requests?body=1 returns bodies")
    add("--require-key", action="append", default=[], metavar="K", help="accept only this key (may be repeated)")
    add("--ready-file", metavar="FILE", help="write {url, pid} as JSON to FILE once it listens")
    return parser


def _write_ready(path: Path, url: str) -> None:
    """Appears complete or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps({"url": url, "pid": os.getpid()}), encoding="utf-8")
    draft.replace(path)


async def _run(options: argparse.Namespace) -> None:
    settings = SimulatorSettings(
        events_per_second=options.pace,
        first_token_ms=options.first_token_ms,
        events_per_write=options.events_per_write,
        chunk_bytes=options.chunk_bytes,
        record_dir=options.record,
        keep_bodies=options.keep_bodies,
        require_keys=tuple(options.require_key),
    )
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serve(settings, options.host, options.port) as running:
        if options.ready_file:
            _write_ready(Path(options.ready_file), running.url)
        sys.stdout.write(f"Simulated Claude upstream (no model behind it) on {running.url}\n")
        sys.stdout.flush()
        await stop.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until SIGINT or SIGTERM. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        uvloop.run(_run(options))
    except OSError as error:
        sys.stderr.write(f"cannot listen on {options.host}:{options.port}: {error}\n")
        return 1
    if options.ready_file:
        Path(options.ready_file).unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
