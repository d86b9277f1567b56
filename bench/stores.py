"""The embedded PostgreSQL and `Database.write`: start, restart, end after kill -9 of the owner, rows per second.

`python bench/stores.py [--uvloop]`. Needs nothing but the package; takes about fifteen seconds. The table is one
audit-like row of some 350 bytes with two indexes, synchronous_commit and fsync on.
"""

import argparse
import asyncio
import datetime as dt
import fcntl
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg
import uvloop

from ai_platform.stores.embedded import embedded_postgres
from ai_platform.stores.postgres import Database, connect
from ai_platform.stores.rows import Insert
from ai_platform.testing.postgres import postgres_for_tests

COLUMNS = ("id", "at", "who", "kind", "facts", "body")
TABLE = """
CREATE TABLE aip.load (id bigint PRIMARY KEY, at timestamptz NOT NULL, who text, kind text, facts jsonb, body bytea);
CREATE INDEX ON aip.load (at);
GRANT SELECT, INSERT ON aip.load TO aip_gateway;
"""
OWNER = """
import asyncio, sys
from pathlib import Path
from ai_platform.stores.embedded import embedded_postgres

async def own():
    async with embedded_postgres(Path(sys.argv[1])) as server:
        print(server.pid, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(own())
"""


def killed(folder: Path) -> float:
    """Seconds from kill -9 of an owner until no process of its server is left."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    owner.stdout.readline()
    with (folder / "server.lock").open("rb+") as lock:
        begun = time.perf_counter()
        owner.kill()
        owner.wait()
        fcntl.flock(lock, fcntl.LOCK_EX)  # every server process holds it
        return time.perf_counter() - begun


async def lifetimes(folder: Path) -> dict[str, float]:
    """Seconds: first start (initdb included), restart, clean stop, kill -9 of the owner until no process is left."""
    found: dict[str, float] = {}
    for name in ("first start", "restart"):
        begun = time.perf_counter()
        async with embedded_postgres(folder):
            found[name] = time.perf_counter() - begun
            begun = time.perf_counter()
        found["stop"] = time.perf_counter() - begun
    found["gone after kill -9 of the owner"] = killed(folder)
    return found


def rows(first: int, count: int) -> list[tuple[Any, ...]]:
    now = dt.datetime.now(dt.UTC)
    facts = {"model": "claude-sonnet-4-5", "tokens": 123, "note": "y" * 60}
    return [(first + n, now, f"person{n % 100}", "claude_chat_request", facts, b"z" * 120) for n in range(count)]


async def writes(database: Database) -> dict[str, dict[str, int]]:
    """Rows per second, best of three, one writer that awaits each batch: `write`, and plain COPY for comparison."""
    found: dict[str, dict[str, int]] = {}
    number = 0
    for size in (1, 10, 100, 500):
        best = {"write": 0.0, "copy": 0.0}
        for _ in range(3):
            for way, so_far in best.items():
                batches = [rows(number + n * size, size) for n in range(max(20, min(600, 4000 // size)))]
                number += len(batches) * size
                begun = time.perf_counter()
                for batch in batches:
                    if way == "write":
                        await database.write([Insert("aip.load", COLUMNS, row) for row in batch])
                    else:
                        async with database.transaction() as connection:
                            await connection.copy_records_to_table(
                                "load", schema_name="aip", columns=COLUMNS, records=batch
                            )
                best[way] = max(so_far, len(batches) * size / (time.perf_counter() - begun))
        found[f"{size} rows a batch"] = {way: round(rate) for way, rate in best.items()}
    return found


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        times = {name: round(seconds, 3) for name, seconds in (await lifetimes(Path(folder) / "one")).items()}
        async with postgres_for_tests(Path(folder) / "two") as postgres, postgres.fresh_database() as fresh:
            owner = await asyncpg.connect(fresh.owner_dsn)
            await owner.execute(TABLE)
            await owner.close()
            database = await connect(fresh.gateway_dsn)
            rates = await writes(database)
            await database.close()
    print(json.dumps({"seconds": times, "rows_per_second": rates}, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uvloop", action="store_true")
    (uvloop.run if parser.parse_args().uvloop else asyncio.run)(main())
