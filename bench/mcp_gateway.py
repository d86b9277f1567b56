"""What a tool call through the platform costs, beside the direct call with the same official SDK, in one run.

    python bench/mcp_gateway.py [--quick] [--only calls,sessions,servers,leak] [--repeat 3] [--calls 100000]
                                [--json FILE]

CPU is user and system time of all processes that a call needs: client and server when it is direct; client, platform
and server through it. docs/benchmarks.md explains the method. Linux only.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gateway_targets import HERE, Gateway, platform
from mcp_gateway_server import TOOLS
from rich.console import Console
from rich.table import Table

Row = dict[str, Any]
SERVER = str(HERE / "mcp_gateway_server.py")
RELAY = str(HERE / "mcp_gateway_relay.py")
ERAS = {"2025-11-25": "legacy", "2026-07-28": "2026-07-28"}
SERVERS = 50
SESSIONS = 200
MOST_RATIO = 3.0
MOST_GROWTH = 0.05
"""Of resident memory over the leak's second half, after the caches have filled in its first."""

NOWHERE = "http://127.0.0.1:9"
"""The platform's upstream for models, which nobody asks here."""


class Verdict(NamedTuple):
    title: str
    value: str
    target: str
    met: bool


@contextmanager
def direct_server() -> Generator[Gateway]:
    with _started(SERVER, "--http") as (url, pid):
        yield Gateway("direct", url, "any", pid, apart=SERVER)


@contextmanager
def relay(mode: str, behind: Gateway | None) -> Generator[Gateway]:
    """The SDK at both ends and nothing between. behind: the server it goes on to, None = a program of its own."""
    with _started(RELAY, mode, *([behind.url] if behind else [])) as (url, pid):
        yield Gateway("relay", url, "any", pid, apart=SERVER)


@contextmanager
def _started(script: str, *options: str) -> Generator[tuple[str, int]]:
    with subprocess.Popen([sys.executable, script, *options], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"], process.pid
        finally:
            process.terminate()


def settings(url: str) -> Row:
    """The same server at its address and as a program, and SERVERS more names for the first."""
    names = ["http", *(f"more-{number:02}" for number in range(SERVERS))]
    servers: list[Row] = [{"name": name, "url": url, "first_use": True} for name in names]
    servers.append({"name": "program", "command": [sys.executable, SERVER], "trusted": True, "first_use": True})
    return {"mcp": {"servers": servers, "max_sessions_each": 10 * SESSIONS}}


@contextmanager
def load(job: Row) -> Generator["subprocess.Popen[str]"]:
    """A load generator that is ready to begin."""
    command = [sys.executable, str(HERE / "mcp_gateway_load.py"), json.dumps(job)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"the load generator failed: {job}")
        yield process


def finished(process: "subprocess.Popen[str]") -> Row:
    """Let it begin, and read what it says in the end."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise SystemExit("the load generator failed")
    figures: Row = json.loads(line)
    if figures["failed"]:
        sys.stderr.write(f"  ! {figures['failed']} of {figures['calls']} calls failed\n")
    return figures


class Bench:
    def __init__(self, console: Console, direct: Gateway, ours: Gateway, *, quick: bool, repeats: int) -> None:
        self.console = console
        self.direct = direct
        self.ours = ours
        self.quick = quick
        self.repeats = repeats
        self.results: Row = {}
        self.verdicts: list[Verdict] = []

    # --- CPU of a call ----------------------------------------------------------------------------------------------

    def calls(self) -> None:
        table = Table(title="CPU of a tool call, ms", title_justify="left")
        for name in ("server", "era", "way"):
            table.add_column(name)
        for name in ("client", "between", "server", "all", "x direct", "database", "calls/s", "p50 ms", "p99 ms"):
            table.add_column(name, justify="right")
        for kind in ("http", "program"):
            for era, mode in ERAS.items():
                with relay(mode, self.direct if kind == "http" else None) as least:
                    rounds = [self._round(kind, mode, least) for _ in range(self.repeats)]
                ranked = sorted(rounds, key=lambda found: _all(found["platform"]) / _all(found["direct"]))
                found = self.results[f"call {kind} {era}"] = ranked[len(ranked) // 2]
                ratio = _all(found["platform"]) / _all(found["direct"])
                title = f"tool call, {kind}, {era}: CPU / direct"
                self.verdicts.append(Verdict(title, f"{ratio:.2f}", "3", ratio <= MOST_RATIO))
                for way, row in found.items():
                    _show(table, (kind, era, way), row, f"{_all(row) / _all(found['direct']):.2f}")
                table.add_section()
        self.console.print(table)

    def _round(self, kind: str, mode: str, least: Gateway) -> dict[str, Row]:
        """Directly, through the relay, through the platform."""
        each = 100 if self.quick else 300
        job = {"kind": "calls", "sessions": 4, "each": each, "mode": mode, "key": "any", "tool": "echo_1"}
        reached: Row = {"url": self.direct.url} if kind == "http" else {"command": [sys.executable, SERVER]}
        theirs = job | {"url": f"{self.ours.url}/mcp/{kind}", "key": self.ours.key}
        return {
            "direct": self._cost(self.direct, job | reached),
            "relay": self._cost(least, job | {"url": least.url}),
            "platform": self._cost(self.ours, theirs),
        }

    def _cost(self, asked: Gateway, job: Row) -> Row:
        """Milliseconds of CPU per request by who spent them."""
        with load(job) as process:
            client = Gateway("client", "", "", process.pid, apart=SERVER)
            looked = (client, self.direct) if asked is self.direct else (client, self.direct, asked)
            before = [one.cpu() for one in looked]
            figures = finished(process)
            spent = [
                {group: (late - early[group]) * 1000 / figures["calls"] for group, late in one.cpu().items()}
                for one, early in zip(looked, before, strict=True)
            ]
        figures["cpu_ms"] = {
            "client": spent[0]["own"],
            "between": spent[-1]["own"],
            "server": sum(one["apart"] for one in spent),
            "database": spent[-1]["database"],
        }
        return figures | {"rate": figures["calls"] / figures["seconds"]}

    # --- many -------------------------------------------------------------------------------------------------------

    def sessions(self) -> None:
        table = Table(title=f"{SESSIONS} sessions at once", title_justify="left")
        for name in ("era", "calls", "failed", "calls/s", "p50 ms", "p99 ms", "opening ms", "platform ms/call", "MB"):
            table.add_column(name, justify="right" if name != "era" else "left")
        for era, mode in ERAS.items():
            job = {"kind": "calls", "sessions": SESSIONS, "each": 3 if self.quick else 20, "mode": mode}
            held = self.ours.rss()["own"]
            row = self._cost(
                self.ours, job | {"url": f"{self.ours.url}/mcp/http", "key": self.ours.key, "tool": "echo_1"}
            )
            grown = (self.ours.rss()["own"] - held) / 1e6
            self.results[f"{SESSIONS} sessions {era}"] = row | {"grown_mb": grown}
            table.add_row(
                era, *_figures(row), f"{row['opening_ms']:.1f}", f"{row['cpu_ms']['between']:.2f}", f"+{grown:.0f}"
            )
            title = f"{SESSIONS} sessions at once, {era}: calls answered"
            self.verdicts.append(
                Verdict(title, f"{row['calls'] - row['failed']}/{row['calls']}", "all", not row["failed"])
            )
        self.console.print(table)

    def servers(self) -> None:
        table = Table(title=f"{SERVERS} servers and more behind one endpoint", title_justify="left")
        for name in ("request", "done", "failed", "per s", "p50 ms", "p99 ms", "platform ms"):
            table.add_column(name, justify="right" if name != "request" else "left")
        shown = (SERVERS + 2) * TOOLS
        asked = {
            f"list of {shown} tools": {"kind": "lists", "expected": shown, "each": 5 if self.quick else 50},
            "call of one of them": {"kind": "calls", "tool": f"more-{SERVERS // 2:02}__echo_1", "each": 50},
        }
        for title, what in asked.items():
            job = {"sessions": 4, "mode": "2026-07-28", "url": f"{self.ours.url}/mcp", "key": self.ours.key} | what
            row = self.results[title] = self._cost(self.ours, job)
            table.add_row(title, *_figures(row), f"{row['cpu_ms']['between']:.2f}")
            self.verdicts.append(
                Verdict(f"{SERVERS} servers: {title}", f"{row['failed']} failed", "0", not row["failed"])
            )
        self.console.print(table)

    # --- what is left behind ----------------------------------------------------------------------------------------

    def leak(self, calls: int) -> None:
        """Half of the calls, a look, the other half: what still grows then grows without end."""
        table = Table(title="after many calls", title_justify="left")
        for name in ("calls", "MB", "descriptors", "tasks", "threads"):
            table.add_column(name, justify="right")
        self._many(max(1_000, calls // 10))
        begun = time.perf_counter()
        looks = [(0, self._look())]
        failed = 0
        for part in (1, 2):
            failed += self._many(calls // 2)
            looks.append((part * (calls // 2), self._look()))
        for done, look in looks:
            memory = look["bytes"] / 1e6
            table.add_row(
                f"{done:,}", f"{memory:.1f}", str(look["descriptors"]), str(look["tasks"]), str(look["threads"])
            )
        self.console.print(table)
        first, middle, last = (look for _, look in looks)
        growth = last["bytes"] / middle["bytes"] - 1
        self.results["leak"] = {"looks": looks, "seconds": time.perf_counter() - begun}
        title = f"memory, second {calls // 2:,} calls"
        self.verdicts.append(Verdict(title, f"{growth:+.1%}", f"+{MOST_GROWTH:.0%}", growth <= MOST_GROWTH))
        self.verdicts.append(Verdict(f"{calls:,} calls: without an answer", str(failed), "0", not failed))
        for name in ("descriptors", "tasks", "threads"):
            more = last[name] - first[name]
            self.verdicts.append(Verdict(f"{name}, {calls:,} calls", f"{more:+}", "+8", more <= 8))

    def _many(self, calls: int) -> int:
        """Nine in ten bare and stateless, the rest in sessions that come and go, over HTTP and to the program."""
        failed = 0
        for kind in ("http", "program"):
            job = {"url": f"{self.ours.url}/mcp/{kind}", "key": self.ours.key, "tool": "echo_1", "lanes": 8}
            with load(job | {"kind": "bare", "calls": calls * 9 // 20}) as process:
                failed += finished(process)["failed"]
            coming = {"kind": "coming", "sessions": max(8, calls // 200), "each": 10, "mode": "legacy"}
            with load(job | coming) as process:
                failed += finished(process)["failed"]
        return failed

    def _look(self) -> dict[str, int]:
        """At the platform's own process, once what ends is over."""
        place = Path(f"/proc/{self.ours.pid}")
        told = Path(os.environ["BENCH_TASKS"])
        looks: list[dict[str, int]] = []
        for _ in range(4):
            time.sleep(0.5)
            told.unlink(missing_ok=True)
            os.kill(self.ours.pid, signal.SIGUSR1)
            while not told.exists():
                time.sleep(0.01)
            looks.append(
                {
                    "bytes": self.ours.rss()["own"],
                    "descriptors": len(list((place / "fd").iterdir())),
                    "tasks": int(told.read_text(encoding="ascii")),
                    "threads": len(list((place / "task").iterdir())),
                }
            )
        return {name: min(look[name] for look in looks) for name in looks[0]}


def _all(row: Row) -> float:
    """What a call costs the client, the server and what is between them; the database is shown apart."""
    spent = row["cpu_ms"]
    return spent["client"] + spent["between"] + spent["server"]


def _figures(row: Row) -> tuple[str, ...]:
    latency = row["latency_ms"]
    return (
        str(row["calls"]),
        str(row["failed"]),
        f"{row['rate']:.0f}",
        f"{latency['p50']:.1f}",
        f"{latency['p99']:.1f}",
    )


def _show(table: Table, what: tuple[str, str, str], row: Row, ratio: str) -> None:
    spent, latency = row["cpu_ms"], row["latency_ms"]
    parts = (spent["client"], spent["between"], spent["server"], _all(row))
    rest = (ratio, f"{spent['database']:.2f}", f"{row['rate']:.0f}", f"{latency['p50']:.1f}", f"{latency['p99']:.1f}")
    table.add_row(*what, *(f"{part:.2f}" for part in parts), *rest)


def show_verdicts(console: Console, verdicts: list[Verdict]) -> None:
    table = Table(title="against the targets", title_justify="left")
    for name in ("figure", "measured", "target", ""):
        table.add_column(name, justify="right" if name in {"measured", "target"} else "left")
    for verdict in verdicts:
        table.add_row(
            verdict.title, verdict.value, verdict.target, "[green]met[/]" if verdict.met else "[red]missed[/]"
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer calls, one round")
    parser.add_argument("--only", default="calls,sessions,servers,leak", help="cases, comma-separated")
    parser.add_argument("--repeat", type=int, default=3, help="rounds of each CPU case; the median ratio counts")
    parser.add_argument("--calls", type=int, default=0, help="of the search for leaks (100,000; 5,000 with --quick)")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    options = parser.parse_args()
    console = Console(width=130)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        os.environ["BENCH_TASKS"] = str(folder / "tasks")
        direct = stack.enter_context(direct_server())
        config = folder / "config.json"
        config.write_text(json.dumps(settings(direct.url)), encoding="utf-8")
        ours = stack.enter_context(platform(NOWHERE, options=["--config", str(config)]))
        ours.apart = SERVER
        bench = Bench(console, direct, ours, quick=options.quick, repeats=1 if options.quick else options.repeat)
        wanted = options.only.split(",")
        for name in ("calls", "sessions", "servers"):
            if name in wanted:
                getattr(bench, name)()
        if "leak" in wanted:
            bench.leak(options.calls or (5_000 if options.quick else 100_000))
    show_verdicts(console, bench.verdicts)
    if options.json:
        facts = {"at": time.strftime("%Y-%m-%d %H:%M"), "cases": bench.results, "targets": bench.verdicts}
        options.json.write_text(json.dumps(facts, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
