"""MCP servers as programs and as words: what a sandboxed start costs, and what trust costs.

`python bench/mcp_servers.py`. Needs nothing but the package, and bubblewrap for the walled start; half a minute.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from ai_platform.domain.clock import SystemClock
from ai_platform.mcp.needs import Kind
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.mcp.trust.ledger import Sighting
from ai_platform.mcp.trust.pins import Pins
from ai_platform.mcp.trust.poison import inspect, inspect_text
from ai_platform.sandbox import Program, Sandbox
from ai_platform.sandbox.settings import SandboxSettings
from ai_platform.stores.postgres import connect_system
from ai_platform.testing.postgres import postgres_for_tests

STARTS = 30
DESCRIPTION = "Searches the documents of the organisation and returns the best ones with the passage that matched. " * 3
WORST = ("send the ", "read a ", "ignore ", "do not tell ", "\u200b", "\u00e9", "%41")


def tool(number: int) -> dict[str, object]:
    properties = {f"field_{one}": {"type": "string", "description": "What to look for."} for one in range(6)}
    schema = {"type": "object", "properties": properties}
    return {"name": f"tool_{number}", "description": DESCRIPTION, "inputSchema": schema}


async def start(words: Sequence[str], env: dict[str, str], cwd: str | None, stderr: int | None) -> float:
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*words, env=env, cwd=cwd, stderr=stderr, start_new_session=True)
    await process.wait()
    return (time.perf_counter() - begun) * 1000


async def starts(place: Path) -> None:
    sandbox = Sandbox(SandboxSettings(), place, clock=SystemClock())
    await sandbox.ready()
    direct = [await start(["/bin/true"], {}, None, None) for _ in range(STARTS)]
    print(f"start of /bin/true, direct      {median(direct):8.1f} ms")
    for name, trusted in (("guarded (trusted)", True), ("walled", False)):
        if not trusted and sandbox.unavailable:
            print(f"walled: {sandbox.unavailable}")
            continue
        spent: list[float] = []
        for _ in range(STARTS):
            async with sandbox.prepared(Program(name="bench", command=("/bin/true",), trusted=trusted)) as prepared:
                spent.append(await start(prepared.argv, prepared.env, prepared.cwd, prepared.stderr))
        print(f"start of /bin/true, {name:18}{median(spent):8.1f} ms")


class Silent:
    """Nobody is told."""

    def definitions_held(self, server: str, held: Sequence[Sighting], *, changed: Sequence[str]) -> None: ...

    def trust_decided(self, server: str, what: str, *, by: str, before: str, after: str) -> None: ...


async def trust(place: Path) -> None:
    server = McpServerSettings(name="bench", url="https://bench.example/mcp", first_use=True)
    async with postgres_for_tests(place / "postgres") as postgres, postgres.fresh_database() as fresh:
        system = await connect_system(fresh.system_dsn)
        pins = Pins(system, settings_of={"bench": server}.get, notices=Silent(), changed=lambda _name: None)
        tools = [tool(number) for number in range(50)]
        begun = time.perf_counter()
        await pins.review("bench", Kind.TOOLS, tools)
        print(f"review of 50 new tools          {(time.perf_counter() - begun) * 1000:8.1f} ms")
        begun = time.perf_counter()
        for _ in range(50):
            await pins.review("bench", Kind.TOOLS, tools)
        each = (time.perf_counter() - begun) * 1000 / 50
        print(f"review of 50 known tools        {each:8.1f} ms, when a list is fetched")
        begun = time.perf_counter()
        for _ in range(1_000_000):
            pins.quarantined("bench")
        print(f"is it in quarantine?            {(time.perf_counter() - begun) * 1000:8.1f} ns a call")
        await system.close()


def words() -> None:
    begun = time.perf_counter()
    for number in range(200):
        inspect("tools", tool(number))
    print(f"reading a tool of 7 texts       {(time.perf_counter() - begun) * 1000 / 200:8.2f} ms, when it is new")
    worst = 0.0
    for piece in WORST:
        text = (piece * 20_000)[:65_536]
        begun = time.perf_counter()
        inspect_text(text)
        worst = max(worst, time.perf_counter() - begun)
    print(f"reading 64 KB, at the worst     {worst * 1000:8.1f} ms, in a thread")


async def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        await starts(Path(temporary) / "data")
        await trust(Path(temporary))
    words()


if __name__ == "__main__":
    asyncio.run(main())
