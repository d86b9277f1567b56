"""The knowledge base with many documents: first index, a pass without changes, one change, searches.

`python bench/knowledge_base.py [--documents 100000] [--postgres]`. Words are drawn as in natural text (Zipf). Needs a
gigabyte of temporary space for 100,000 documents; two minutes with SQLite, five with PostgreSQL.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from itertools import accumulate
from pathlib import Path
from statistics import quantiles

from ai_platform.mcp_servers.knowledge_base.entry import Index
from ai_platform.mcp_servers.knowledge_base.folders import named
from ai_platform.mcp_servers.knowledge_base.keeper import Keeper
from ai_platform.mcp_servers.knowledge_base.postgres import open_postgres
from ai_platform.mcp_servers.knowledge_base.query import phrases
from ai_platform.mcp_servers.knowledge_base.sqlite import SqliteIndex
from ai_platform.testing.postgres import postgres_for_tests

VOCABULARY = 40_000
WORDS = 300
SEARCHES = 200


def write_documents(folder: Path, count: int) -> list[str]:
    """Documents in folders of a thousand; the vocabulary, most frequent first."""
    chance = random.Random(7)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chance.choices(letters, k=chance.randint(3, 10))) for _ in range(VOCABULARY)]
    weights = list(accumulate(1 / rank for rank in range(1, VOCABULARY + 1)))
    for number in range(count):
        if number % 1000 == 0:
            (folder / f"{number // 1000:03d}").mkdir()
        text = " ".join(chance.choices(words, cum_weights=weights, k=WORDS))
        (folder / f"{number // 1000:03d}" / f"{number:06d}.md").write_text(f"# Document {number}\n\n{text}\n")
    return words


async def searches(index: Index, queries: Sequence[str]) -> list[float]:
    """Milliseconds of each."""
    spent: list[float] = []
    for query in queries:
        begun = time.perf_counter()
        await index.search(phrases(query), 5)
        spent.append((time.perf_counter() - begun) * 1000)
    return spent


async def measure(index: Index, folder: Path, words: list[str]) -> None:
    async def ignore() -> None:
        """Nobody listens."""

    keeper = Keeper(index, named([str(folder)]), most_bytes=2 << 20, every=60, changed=ignore)
    await timed("first index", keeper)
    await asyncio.sleep(3)  # files younger than two seconds are read again, since their date may not tell
    await timed("pass without changes", keeper)
    await timed("the next one", keeper)
    (folder / "000" / "000000.md").write_text("# Document 0\n\nchanged\n")
    await timed("pass with one change", keeper)
    chance = random.Random(8)
    kinds = {
        "two rare words": [" ".join(chance.sample(words[2000:20_000], 2)) for _ in range(SEARCHES)],
        "three natural words": [" ".join(chance.sample(words[20:3000], 3)) for _ in range(SEARCHES)],
        "the most frequent word": [words[0]] * 10,
    }
    for kind, queries in kinds.items():
        cuts = quantiles(await searches(index, queries), n=20)
        print(f"search, {kind:24} p50 {cuts[9]:8.1f} ms   p95 {cuts[18]:8.1f} ms")


async def timed(what: str, keeper: Keeper) -> None:
    begun = time.perf_counter()
    report = await keeper.refresh()
    seconds = time.perf_counter() - begun
    print(f"{what:32} {seconds:8.1f} s    read {report.read}, written {report.written}, gone {report.gone}")


@asynccontextmanager
async def opened(place: Path, *, postgres: bool) -> AsyncGenerator[Index]:
    if not postgres:
        index = SqliteIndex(place / "index.sqlite")
        yield index
        size = sum(path.stat().st_size for path in place.glob("index.sqlite*"))  # noqa: ASYNC240 - nothing else runs
        print(f"index {size / 1e6:.0f} MB")
        await index.close()
        return
    async with postgres_for_tests(place / "postgres") as server, server.fresh_database() as fresh:
        index = await open_postgres(fresh.owner_dsn, "bench", "english")
        yield index
        await index.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL full text instead of SQLite")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        (place / "docs").mkdir()
        words = await asyncio.to_thread(write_documents, place / "docs", options.documents)
        print(f"{options.documents} documents of {WORDS} words")
        async with opened(place, postgres=options.postgres) as index:
            await measure(index, place / "docs", words)


if __name__ == "__main__":
    asyncio.run(main())
