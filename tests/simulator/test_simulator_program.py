"""The simulator as a program of its own and as a guest in somebody else's event loop."""

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path

import httpx2
import pytest
from simulator_asking import body, events

from ai_platform.simulator import SimulatorSettings, serve

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("UP-4")]

HEADERS = {"x-api-key": "sk-one", "anthropic-version": "2023-06-01"}


async def test_the_program_writes_its_address_serves_and_ends_on_sigterm(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ai_platform.simulator", "--port", "0", "--require-key", "sk-one"),
        *("--pace", "500", "--first-token-ms", "1", "--ready-file", str(ready), "--record", str(tmp_path / "record")),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            line = (await process.stdout.readline()).decode()
        assert line.startswith("Simulated Claude upstream (no model behind it) on http://127.0.0.1:")
        told = json.loads(ready.read_bytes())
        assert told["pid"] == process.pid
        async with httpx2.AsyncClient(base_url=told["url"], headers=HEADERS) as client:
            response = await client.post("/v1/messages", json=body(stream=True))
            refused = await client.post("/v1/messages", json=body(), headers={"x-api-key": "sk-two"})
        assert events(response.content)[-1][0] == "message_stop"
        assert refused.status_code == 401
        assert len(list((tmp_path / "record").iterdir())) == 2
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            code = await process.wait()
    assert code == 0
    assert not ready.exists()


async def test_a_taken_port_is_an_error_message_and_not_a_traceback() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ai_platform.simulator", "--port", port), stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(20):
            _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode().startswith(f"cannot listen on 127.0.0.1:{port}")
    assert b"Traceback" not in err


async def test_a_guest_takes_no_signals_and_frees_its_port() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    async with serve(SimulatorSettings(), port=0) as upstream, httpx2.AsyncClient() as client:
        assert {number: signal.getsignal(number) for number in before} == before
        assert (await client.get(upstream.url)).headers["x-ai-platform-simulated"] == "true"
    port = int(upstream.url.rpartition(":")[2])
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


async def test_two_upstreams_in_one_loop_share_nothing() -> None:
    async with serve() as one, serve() as two, httpx2.AsyncClient(headers=HEADERS) as client:
        await client.post(f"{one.url}/v1/messages", json=body())
        usage = (await client.get(f"{two.url}/_sim/usage")).json()
    assert usage == {"totals": []}


@pytest.mark.skipif(not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists(), reason="needs IPv6 loopback")
async def test_it_listens_on_ipv6_too() -> None:
    async with serve(host="::1") as upstream, httpx2.AsyncClient(headers=HEADERS) as client:
        assert upstream.url.startswith("http://[::1]:")
        assert (await client.post(f"{upstream.url}/v1/messages", json=body())).status_code == 200
        assert (await client.get(f"{upstream.url}/_sim/usage")).json()["totals"][0]["requests"] == 1
