"""What a call through the platform costs, beside nginx as a plain reverse proxy on the same upstream, in one run.

    python bench/gateway.py [--quick] [--only small,few,stream,turn,latency,many,start] [--repeat 3] [--json FILE]
                            [--litellm VENV] [--config FILE] [--profile FILE]

CPU is utime + stime of the proxy's processes divided by calls, at fixed concurrency; the database's share is shown
apart. docs/benchmarks.md explains the method. Linux only.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gateway_targets import HERE, Gateway, Origin, litellm, nginx, origin, platform

Row = dict[str, Any]
TARGETS = {
    "small": ("8 KB call, CPU / nginx", 15.0),
    "event": ("streamed event, CPU / nginx", 3.0),
    "turn": ("300 KB turn, CPU / nginx", 10.0),
    "p50": ("added latency p50, ms", 1.0),
    "p99": ("added latency p99, ms", 5.0),
    "rss": ("idle RSS without database, MB", 150.0),
    "start": ("warm start, s", 3.0),
}


def load(gateway: Gateway | Origin, job: dict[str, Any]) -> Row:
    """Run one job against a gateway; its figures with CPU seconds of the gateway over the measured part."""
    key = gateway.key if isinstance(gateway, Gateway) else "any"
    command = [sys.executable, str(HERE / "gateway_load.py"), json.dumps({"url": gateway.url, "key": key, **job})]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"the load generator failed on {gateway.url}")
        before = gateway.cpu() if isinstance(gateway, Gateway) else {}
        process.stdin.write("\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"the load generator failed on {gateway.url}")
        figures: Row = json.loads(line)
        time.sleep(0.3)  # what is written behind the answers counts as well
        after = gateway.cpu() if isinstance(gateway, Gateway) else {}
    figures["cpu"] = {name: after[name] - before[name] for name in before}
    if figures["failed"]:
        print(f"  ! {figures['failed']} of {figures['calls']} answers were not 200", file=sys.stderr)
    return figures


class Bench:
    """repeats: rounds of each case; gateways take turns, and the median round counts."""

    def __init__(self, upstream: Origin, gateways: list[Gateway], *, repeats: int, quick: bool) -> None:
        self.upstream = upstream
        self.gateways = gateways
        self.repeats = repeats
        self.scale = 0.3 if quick else 1.0
        self.results: dict[str, dict[str, Row]] = {}

    def case(self, name: str, job: dict[str, Any], *, unit: str = "calls", events: int = 21, pace: float = 0.0) -> None:
        """Measure CPU microseconds per `unit` on every gateway."""
        self.upstream.mode(events, pace)
        rounds: dict[str, list[Row]] = {gateway.name: [] for gateway in self.gateways}
        for _ in range(self.repeats):
            for gateway in self.gateways:
                figures = load(gateway, job)
                for part, used in figures["cpu"].items():
                    figures[f"{part}_us"] = used / max(1, figures[unit]) * 1e6
                figures["rate"] = figures["calls"] / figures["seconds"]
                rounds[gateway.name].append(figures)
        self.results[name] = {gateway: _median(figures) for gateway, figures in rounds.items()}
        self.show(name)

    def show(self, name: str) -> None:
        print(f"\n{name}")
        base = self.results[name]["nginx"]["own_us"] if "nginx" in self.results[name] else 0.0
        for gateway, row in self.results[name].items():
            ratio = f"{row['own_us'] / base:6.1f}x nginx" if base else ""
            spread = f"{row['own_us_min']:.0f}-{row['own_us_max']:.0f}"
            print(
                f"  {gateway:12} {row['own_us']:9.1f} us ({spread}) {ratio}   database {row['database_us']:7.1f} us"
                f"   {row['rate']:8.0f} calls/s   p50 {row['latency_ms'].get('p50', 0):8.2f} ms"
                f"   p99 {row['latency_ms'].get('p99', 0):8.2f} ms"
            )

    def ratio(self, name: str, gateway: str = "ai-platform") -> float | None:
        found = self.results.get(name, {})
        if gateway not in found or "nginx" not in found:
            return None
        return found[gateway]["own_us"] / found["nginx"]["own_us"]

    def small(self) -> None:
        job = {"kind": "closed", "concurrency": 16, "size": 8192, "seconds": 6 * self.scale}
        self.case("8 KB call, answered whole", job)
        self.case("8 KB call, a text never seen before", job | {"fresh": True})

    def few(self) -> None:
        """What a caller waits when nobody is in the way: two durable writes and the steps between them."""
        for callers in (1, 4):
            job = {"kind": "closed", "concurrency": callers, "size": 8192, "seconds": 4 * self.scale}
            self.case(f"8 KB call, callers at once: {callers}", job)

    def stream(self) -> None:
        rounds = max(1, round(3 * self.scale))
        for events in (21, 200):
            job = {
                "kind": "streams",
                "concurrency": 100,
                "size": 8192,
                "stream": True,
                "rounds": rounds * (5 if events == 21 else 1),
                "spread": 0.3,
            }
            self.case(f"8 KB call, {events} streamed events, one at a time", job, events=events, pace=0.015)
        self._per_event()

    def _per_event(self) -> None:
        short = self.results["8 KB call, 21 streamed events, one at a time"]
        long = self.results["8 KB call, 200 streamed events, one at a time"]
        rows: dict[str, Row] = {}
        for name, row in long.items():
            rows[name] = row | {
                part: (row[part] - short[name][part]) / (200 - 21)
                for part in ("own_us", "own_us_min", "own_us_max", "database_us")
            }
        self.results["each streamed event"] = rows
        self.show("each streamed event")

    def turn(self) -> None:
        job = {
            "kind": "turns",
            "concurrency": 8,
            "size": 300_000,
            "step": 2048,
            "rounds": max(5, round(40 * self.scale)),
        }
        self.case("300 KB turn with 2 KB new", job)
        for name, row in self.results["300 KB turn with 2 KB new"].items():
            print(f"  {name:12} first sight of 300 KB: median {statistics.median(row['first_sight_ms']):.1f} ms")

    def latency(self) -> None:
        """Added latency at half of the platform's own highest rate, calls starting at random times."""
        ours = next(gateway for gateway in self.gateways if gateway.name == "ai-platform")
        highest = load(ours, {"kind": "closed", "concurrency": 16, "size": 8192, "seconds": 3 * self.scale})
        rate = highest["calls"] / highest["seconds"] / 2
        job = {"kind": "open", "concurrency": 256, "rate": rate, "size": 8192, "seconds": 10 * self.scale}
        rows: dict[str, list[Row]] = {"direct": []} | {gateway.name: [] for gateway in self.gateways[:2]}
        for _ in range(self.repeats):
            rows["direct"].append(load(self.upstream, job))
            for gateway in self.gateways[:2]:
                rows[gateway.name].append(load(gateway, job))
        print(f"\nlatency of an 8 KB call at {rate:.0f} calls/s (half of the platform's highest rate), ms")
        summary: dict[str, Row] = {}
        for name, found in rows.items():
            summary[name] = {
                at: statistics.median(row["latency_ms"][at] for row in found) for at in ("p50", "p90", "p99")
            }
            added = {at: summary[name][at] - summary["direct"][at] for at in summary[name]}
            print(
                f"  {name:12}"
                + "".join(f"   {at} {summary[name][at]:7.2f} (+{added[at]:.2f})" for at in ("p50", "p90", "p99"))
            )
            summary[name]["added"] = added
        summary["durable write"] = disk = durable_write()
        print(f"  one durable write on this disk: p50 {disk['p50']:.2f} p99 {disk['p99']:.2f}; a call waits for two")
        self.results["latency"] = summary

    def many(self) -> None:
        """1,000 streams of 25 events a second: are they served, on how much of a core, how late?"""
        seconds = 20 * self.scale
        events = int(25 * seconds)
        self.upstream.mode(events, 0.04)
        job = {"kind": "streams", "concurrency": 1000, "size": 8192, "stream": True, "rounds": 1, "spread": 2.0}
        print(f"\n1,000 streams of 25 events/s for {seconds:.0f} s")
        rows: dict[str, Row] = {}
        for gateway in self.gateways[:2]:
            row = load(gateway, job)
            row["core_percent"] = row["cpu"]["own"] / row["seconds"] * 100
            row["delivered"] = row["events"] / (1000 * events)
            rows[gateway.name] = row
            print(
                f"  {gateway.name:12} delivered {row['delivered']:.2%}   {row['core_percent']:5.1f} % of a core"
                f"   {row['cpu']['own'] / row['events'] * 1e6:6.1f} us/event   gap p50 {row['gap_ms']['p50']:.1f}"
                f" p99 {row['gap_ms']['p99']:.1f} max {row['gap_ms']['max']:.1f} ms"
            )
        self.results["1,000 streams"] = rows


def durable_write() -> Row:
    """Milliseconds of a write that reaches the disk, made as the database makes those of its log: in place, 8 KB."""
    times: list[float] = []
    with tempfile.TemporaryFile() as file:
        file.write(bytes(8 * 1024 * 1024))
        file.flush()
        os.fsync(file.fileno())
        for number in range(300):
            time.sleep(0.002)
            began = time.perf_counter()
            os.pwrite(file.fileno(), bytes(8192), number * 8192)
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    ranked = sorted(times)
    return {"p50": ranked[len(ranked) // 2], "p99": ranked[int(len(ranked) * 0.99)]}


def _median(rounds: list[Row]) -> Row:
    """The round with the median cost, with the span of all rounds."""
    ranked = sorted(rounds, key=lambda row: row["own_us"])
    middle = ranked[len(ranked) // 2]
    return middle | {"own_us_min": ranked[0]["own_us"], "own_us_max": ranked[-1]["own_us"]}


def starting(upstream: str, options: list[str]) -> Row:
    """Start twice on one data folder; the second is the warm start. Memory is read a second after it."""
    with tempfile.TemporaryDirectory(prefix="aip-") as folder:
        data = Path(folder) / "data"
        with platform(upstream, data=data, options=options) as first:
            cold = first.start
        with platform(upstream, data=data, options=options) as second:
            time.sleep(1.0)
            row = {"cold": cold, "warm": second.start, "rss": second.rss()}
    megabytes = {name: size / 1e6 for name, size in row["rss"].items()}
    print(
        f"\nstart: first {row['cold']:.2f} s, warm {row['warm']:.2f} s;"
        f" idle memory {megabytes['own']:.0f} MB, database {megabytes['database']:.0f} MB"
    )
    return row


def verdicts(bench: Bench, start: Row | None) -> dict[str, float]:
    """The figures that have a target."""
    found: dict[str, float | None] = {
        "small": bench.ratio("8 KB call, answered whole"),
        "event": bench.ratio("each streamed event"),
        "turn": bench.ratio("300 KB turn with 2 KB new"),
    }
    if added := bench.results.get("latency", {}).get("ai-platform", {}).get("added"):
        found |= {"p50": added["p50"], "p99": added["p99"]}
    if start is not None:
        found |= {"rss": start["rss"]["own"] / 1e6, "start": start["warm"]}
    return {name: value for name, value in found.items() if value is not None}


def show_verdicts(found: dict[str, float]) -> None:
    print("\nagainst the targets")
    for name, value in found.items():
        title, most = TARGETS[name]
        print(f"  {'ok  ' if value <= most else 'MISS'} {title:36} {value:8.2f}   (target <= {most:g})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a third of the time, one round")
    parser.add_argument("--only", default="small,few,stream,turn,latency,many,start", help="cases, comma-separated")
    parser.add_argument("--repeat", type=int, default=3, help="rounds of each CPU case")
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--nginx", default=shutil.which("nginx") or "/usr/sbin/nginx", help="nginx binary")
    parser.add_argument("--litellm", type=Path, help="virtual environment with litellm[proxy], to measure it too")
    parser.add_argument("--config", type=Path, help="configuration file for the platform")
    parser.add_argument("--profile", type=Path, help="run only the platform, under cProfile; result to this file")
    options = parser.parse_args()
    more = ["--config", str(options.config)] if options.config else []
    wanted = options.only.split(",")
    with ExitStack() as stack:
        upstream = stack.enter_context(origin())
        gateways: list[Gateway] = []
        if not options.profile:
            gateways.append(stack.enter_context(nginx(upstream.url, options.nginx)))
        gateways.append(stack.enter_context(platform(upstream.url, options=more, profile=options.profile)))
        if options.litellm:
            gateways.append(stack.enter_context(litellm(upstream.url, options.litellm)))
        bench = Bench(upstream, gateways, repeats=1 if options.quick else options.repeat, quick=options.quick)
        cases: dict[str, Callable[[], None]] = {
            "small": bench.small,
            "few": bench.few,
            "stream": bench.stream,
            "turn": bench.turn,
            "latency": bench.latency,
            "many": bench.many,
        }
        for name in wanted:
            if name in cases:
                cases[name]()
        start = starting(upstream.url, more) if "start" in wanted and not options.profile else None
    found = verdicts(bench, start)
    show_verdicts(found)
    if options.json:
        facts = {"at": time.strftime("%Y-%m-%d %H:%M"), "start": start, "targets": found, "cases": bench.results}
        options.json.write_text(json.dumps(facts, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
