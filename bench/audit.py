"""What the audit trail costs: events per second and CPU per append by concurrency, verification, tampering.

    python bench/audit.py [--quick] [--json FILE] [--tampers N]

A fresh embedded PostgreSQL, fsync and synchronous_commit on. The baseline, in the same run: the same rows by plain
awaited INSERTs of one connection without log, keys or group commit. CPU is the writer process's own (the server's
is not in it), the least of several rounds, because other programs on the machine only ever add to it.
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from ai_platform.audit import AuditReader, open_trail, verifier
from ai_platform.audit.bundle import unpack
from ai_platform.audit.settings import AuditSettings
from ai_platform.audit.trail import PostgresTrail
from ai_platform.audit.verify import Report
from ai_platform.audit.walk import Calls, Walk
from ai_platform.domain.event import Event, EventType
from ai_platform.domain.identifiers import new_id
from ai_platform.stores.postgres import SystemDatabase, connect, connect_system
from ai_platform.stores.rows import Insert
from ai_platform.testing.postgres import postgres_for_tests

Row = dict[str, Any]
FACTS: Row = {
    "door": "messages",
    "operation": "messages.create",
    "model": "claude-opus-5-5",
    "message_length": 8192,
    "user_roles": ["developer"],
    "team": "core",
    "project": None,
    "tenant": "default",
    "key_id": "key_01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "policy_version": "3f2a9c",
    "policy_rule": "default",
    "sensitive_data_detected": False,
    "sensitive_data_types": [],
    "sensitive_data_counts": {},
    "result": "ok",
    "status": 200,
    "latency_ms": 1234.5,
    "upstream": "anthropic",
    "region": "us",
    "tokens_used": 4321,
    "input_tokens": 4000,
    "output_tokens": 321,
    "cost_usd": "0.022420",
}
PERSONAL = {"user_email": "ann@example.com", "user_name": "Ann", "ip_address": "192.0.2.7", "user_agent": "cli/1.0"}
LEDGER = """
CREATE TABLE aip.bench_ledger (
    tenant text NOT NULL, call_id text, at timestamptz DEFAULT now(), micros bigint, model text, tokens bigint);
CREATE TABLE aip.bench_plain (LIKE aip.audit_leaf INCLUDING ALL);
CALL aip.isolate('aip.bench_ledger');
GRANT SELECT, INSERT ON aip.bench_ledger, aip.bench_plain TO aip_gateway
"""
PLAIN = """
INSERT INTO bench_plain (log, index, event_id, event_type, at, call_id, subject_ref, retention, expires, leaf,
    tenant)
VALUES (-1, $1, $2, $3, now(), $4, NULL, '1y', current_date + 365, $5, 'default')
"""


def events(count: int) -> list[Event]:
    """Half intents, half outcomes, of twenty people."""
    now = time.time()
    return [
        Event(
            id=new_id("evt", now),
            type=EventType.CHAT_RESPONSE if number % 2 else EventType.CHAT_REQUEST,
            at=now,
            call_id=f"call_{number // 2:026d}",
            subject=f"person_{number % 20}",
            personal=PERSONAL,
            facts=FACTS,
        )
        for number in range(count)
    ]


async def timed(work: list[Event], concurrency: int, append: Callable[[Event], Awaitable[None]]) -> Row:
    waiting: Iterator[Event] = iter(work)
    latencies: list[float] = []

    async def worker() -> None:
        for each in waiting:
            began = time.perf_counter()
            await append(each)
            latencies.append(time.perf_counter() - began)

    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    cut = statistics.quantiles(latencies, n=100)
    return {
        "events_s": round(len(work) / wall),
        "cpu_us": round(cpu / len(work) * 1e6, 1),
        "p50_ms": round(cut[49] * 1e3, 2),
        "p99_ms": round(cut[98] * 1e3, 2),
    }


def best(rounds: list[Row]) -> Row:
    return {
        "events_s": max(row["events_s"] for row in rounds),
        **{name: min(row[name] for row in rounds) for name in ("cpu_us", "p50_ms", "p99_ms")},
    }


async def appends(trail: PostgresTrail, system: SystemDatabase, scale: int) -> list[Row]:
    rows: list[Row] = []

    async def with_row(made: Event) -> None:
        values = ("default", made.call_id, 22420, "claude-opus-5-5", 4321)
        await trail.append([made], [Insert("bench_ledger", ("tenant", "call_id", "micros", "model", "tokens"), values)])

    async def plain(made: Event) -> None:
        body = json.dumps(made.facts).encode()
        await baseline.execute(PLAIN, next(numbers), made.id, made.type.value, made.call_id, body)

    numbers = iter(range(10**9))
    baseline = await system.session()
    ways: list[tuple[str, Callable[[Event], Awaitable[None]], tuple[int, ...]]] = [
        ("plain INSERT, no log (baseline)", plain, (1,)),
        ("trail", lambda made: trail.append([made]), (1, 10, 50, 200)),
        ("trail with a ledger row", with_row, (1, 50)),
    ]
    for name, way, levels in ways:
        for concurrency in levels:
            count = scale * min(concurrency, 20)
            rounds = [await timed(events(count), concurrency, way) for _ in range(5)]
            rows.append({"what": name, "concurrency": concurrency, **best(rounds)})
    baseline.terminate()
    return rows


async def reading(system: SystemDatabase, reader: AuditReader, folder: Path) -> list[Row]:
    report: Report | None = None
    began = time.process_time()
    async for step in reader.verify():
        report = step if isinstance(step, Report) else None
    assert report is not None
    assert report.intact, report.problems
    cpu = time.process_time() - began
    log = report.logs[0]
    rows = await system.fetch("SELECT index, leaf, leaf_hash FROM audit_leaf WHERE log = 0 ORDER BY index LIMIT 50000")
    core = []
    for _ in range(5):
        walk = Walk(log.log, (), calls=Calls())
        began = time.perf_counter()
        walk.feed(rows)
        core.append(time.perf_counter() - began)
    began = time.perf_counter()
    text = b"".join([chunk async for chunk in reader.bundle()]).decode()
    count = unpack(text.split("\n")[:-1], folder)
    bundled = time.perf_counter() - began
    began = time.perf_counter()
    keys = verifier.read_keys(reader.public_key())
    assert verifier.verify_path(folder, keys)["intact"]
    alone = time.perf_counter() - began
    event_id = await system.fetchval("SELECT event_id FROM audit_leaf WHERE log = 0 AND index = 1000")
    began = time.perf_counter()
    proof = json.dumps(await reader.proof(event_id, tenant="default"))
    proving = time.perf_counter() - began
    return [
        {"what": "verify, core (hash, tree, pairing)", "events_s": round(len(rows) / min(core))},
        {"what": "verify, whole, from PostgreSQL", "events_s": round(report.events / report.seconds)},
        {"what": "  its CPU, us an event", "value": round(cpu / report.events * 1e6, 1)},
        {"what": "stand-alone verifier on a bundle", "events_s": round(count / alone)},
        {"what": "bundle written", "events_s": round(count / bundled)},
        {"what": f"proof in a log of {log.events}: ms", "value": round(proving * 1e3, 1)},
        {"what": "  bytes", "value": len(proof)},
    ]


def tampering(folder: Path, public_key: str, count: int) -> Row:
    """Random changes to single bytes and to the order, presence and repetition of lines of a bundle."""
    dice = random.Random(count)
    keys = verifier.read_keys(public_key)
    names = ("leaves.jsonl", "checkpoints.jsonl", "manifest.note")
    missed = 0
    for _ in range(count):
        path = folder / dice.choice(names)
        original = path.read_bytes()
        changed = original
        while changed == original:
            changed = tampered(original, dice)
        path.write_bytes(changed)
        missed += verifier.verify_path(folder, keys)["intact"]
        path.write_bytes(original)
    assert verifier.verify_path(folder, keys)["intact"]
    return {"what": f"{count} random tampers, missed", "value": missed}


def tampered(data: bytes, dice: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    first, second = dice.randrange(len(lines)), dice.randrange(len(lines))
    kind = dice.randrange(5)
    if kind == 0:
        spot = dice.randrange(len(data))
        return data[:spot] + bytes([data[spot] ^ 1 << dice.randrange(8)]) + data[spot + 1 :]
    if kind == 1:
        del lines[first]
    elif kind == 2:
        lines[first], lines[second] = lines[second], lines[first]
    elif kind == 3:
        lines.insert(first, lines[second])
    else:
        del lines[first:]
    return b"".join(lines)


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[tuple[SystemDatabase, PostgresTrail, AuditReader]]:
    async with postgres_for_tests(folder / "postgres") as postgres, postgres.fresh_database() as fresh:
        owner = await asyncpg.connect(fresh.owner_dsn)
        await owner.execute(LEDGER)
        await owner.close()
        database, system = await connect(fresh.gateway_dsn), await connect_system(fresh.system_dsn)
        trail = await open_trail(system, folder / "data", AuditSettings())
        yield system, trail, AuditReader.open(database, system, folder / "data")
        await trail.close()
        for opened in (system, database):
            await opened.close()


async def covered(trail: PostgresTrail) -> None:
    trail.checkpoint()
    while not trail.is_covered():  # noqa: ASYNC110 - a benchmark may poll
        await asyncio.sleep(0.01)


async def measure(*, quick: bool, tampers: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with place(folder) as (system, trail, reader):
            rows = await appends(trail, system, 200 if quick else 1000)
            await covered(trail)
            rows += await reading(system, reader, folder / "bundle")
        async with place(folder / "small") as (system, trail, reader):
            for made in events(200):
                await trail.append([made])
            await covered(trail)
            text = b"".join([chunk async for chunk in reader.bundle()]).decode()
            unpack(text.split("\n")[:-1], folder / "tampered")
            rows.append(tampering(folder / "tampered", reader.public_key(), tampers))
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tampers", type=int, default=2000)
    chosen = parser.parse_args()
    rows = uvloop.run(measure(quick=chosen.quick, tampers=chosen.tampers))
    print(f"{'':38}{'at once':>8}{'events/s':>10}{'CPU us':>9}{'p50 ms':>8}{'p99 ms':>8}")
    for row in rows:
        cells = [row.get(name, "") for name in ("concurrency", "events_s", "cpu_us", "p50_ms", "p99_ms")]
        widths = (8, 10, 9, 8, 8)
        print(
            f"{row['what']:38}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)), end=""
        )
        print(f"{row['value']:>10}" if "value" in row else "")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
