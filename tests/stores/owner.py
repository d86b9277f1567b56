"""A program that owns an embedded server until its standard input ends: tests kill it or run it as somebody else.

Prints one JSON line about the server; with `--fill` it also fills the disk and frees it again (see test_disk_full).
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import asyncpg

from ai_platform.domain.errors import PlatformError, StoreUnavailable
from ai_platform.stores.embedded import PostgresServer, embedded_postgres
from ai_platform.stores.migrate import migrate
from ai_platform.stores.postgres import connect
from ai_platform.testing.eventually import eventually


def tell(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def own(folder: Path, *, fill: bool) -> None:
    async with embedded_postgres(folder) as server:
        tell(
            pid=server.pid,
            owner_dsn=server.owner_dsn,
            uid=os.geteuid(),
            data_uid=(folder / "pg").stat().st_uid,
        )
        if fill:
            await fill_and_free(folder, server)
        await asyncio.to_thread(sys.stdin.read)


async def fill_and_free(folder: Path, server: PostgresServer) -> None:
    """Write until the disk is full, then give it room and wait until writes work again."""
    ballast = folder / "ballast"
    ballast.write_bytes(b"\1" * 12 * 2**20)
    await migrate(server.owner_dsn, server.gateway_dsn)
    owner = await asyncpg.connect(server.owner_dsn)
    await owner.execute("CREATE TABLE aip.load (body text); GRANT INSERT, SELECT ON aip.load TO aip_gateway")
    await owner.execute("ALTER TABLE aip.load ALTER body SET STORAGE EXTERNAL")  # repeated text must not be compressed
    await owner.close()
    database = await connect(server.gateway_dsn)
    kept = 0
    refused = ""
    while not refused:
        try:
            await database.execute(
                "INSERT INTO aip.load SELECT repeat(md5(random()::text), 4000) FROM generate_series(1, 20)"
            )
            kept += 20
        except StoreUnavailable as error:
            refused = str(error)
    ballast.unlink()
    await eventually(lambda: database.healthy, within=60)
    await database.execute("INSERT INTO aip.load VALUES ('after')")
    tell(refused=refused, acknowledged=kept, found=await database.fetchval("SELECT count(*) FROM aip.load"))
    await database.close()


try:
    asyncio.run(own(Path(sys.argv[1]), fill="--fill" in sys.argv))
except PlatformError as problem:
    tell(error=str(problem), kind=type(problem).__name__)
