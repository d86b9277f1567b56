"""The bridge around real servers: what passes is unchanged, the records are true, and it ends as the server ends."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client, StdioServerParameters
from mcp_kit import ERAS, command

from ai_platform.mcp_servers.bridge.relay import Liner
from ai_platform.mcp_servers.bridge.trace import child_of
from ai_platform.mcp_servers.bridge.watch import Finished, ToolCall, Watch
from ai_platform.testing import FakeClock
from ai_platform.testing.eventually import eventually

pytestmark = pytest.mark.anyio

WRAPPED = [sys.executable, str(Path(__file__).parent / "wrapped.py")]
OUTER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def through(*options: object, server: list[str] = WRAPPED) -> list[str]:
    return [sys.executable, *command("bridge", *options), "--", *server]


def exchanged(lines: list[dict[str, Any]], *options: object, **more: Any) -> subprocess.CompletedProcess[bytes]:
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return subprocess.run(through(*options), input=data, capture_output=True, timeout=60, check=False, **more)


def call(number: int, name: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": name, **params}}


def records(path: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


@pytest.mark.parametrize("mode", ERAS)
async def test_a_real_client_does_not_notice_it(tmp_path: Path, mode: str):
    (tmp_path / "a.md").write_text("# Title\n\nword")
    arguments = ["--folder", str(tmp_path), "--index", str(tmp_path / "i.sqlite")]
    server = [sys.executable, *command("knowledge_base", *arguments)]
    _, *bridge = through("--output", tmp_path / "out.jsonl", "--user", "ada", "--session", "s1", server=server)
    async with asyncio.timeout(60):
        async with Client(StdioServerParameters(command=sys.executable, args=bridge), mode=mode) as client:
            assert client.protocol_version == ERAS[mode]
            assert client.server_info.name == "knowledge-base"
            found = await client.call_tool("search_kb", {"query": "word"})
            assert found.structured_content["results"][0]["title"] == "Title"
            assert (await client.call_tool("search_kb", {})).is_error
        await eventually(lambda: records(tmp_path / "out.jsonl", "metric"))
    good, bad = records(tmp_path / "out.jsonl", "span")
    assert good["name"] == bad["name"] == "mcp.tool.search_kb"
    attributes = good["attributes"]
    assert {"mcp.tool.name": "search_kb", "mcp.user": "ada", "mcp.session": "s1", "success": True}.items() <= (
        attributes.items()
    )
    assert attributes["result_size"] > 100
    assert attributes["duration_ms"] > 0
    assert (bad["attributes"]["success"], bad["attributes"]["error"]) == (False, "tool_error")


async def test_metrics_are_told_while_the_server_runs_and_only_news(tmp_path: Path):
    output = tmp_path / "out.jsonl"
    process = await asyncio.create_subprocess_exec(
        *through("--output", output, "--metrics-every", "0.05"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(60):
        for count in (1, 2):
            process.stdin.write(json.dumps(call(count, "echo")).encode() + b"\n")
            await process.stdout.readline()
            await eventually(lambda count=count: [one["count"] for one in records(output, "metric")][-1:] == [count])
        process.stdin.close()
        assert await process.wait() == 0
    assert [one["count"] for one in records(output, "metric")] == [1, 2]


def test_outcomes_are_told_apart_and_nothing_private_is_written(tmp_path: Path):
    output = tmp_path / "out.jsonl"
    secret = {"password": "hunter2"}
    asked = [call(number, name, arguments=secret) for number, name in enumerate(["echo", "fail", "refuse", "silent"])]
    done = exchanged(asked, "--output", output)
    assert done.returncode == 0
    assert done.stderr == b""
    spans = {span["name"].removeprefix("mcp.tool."): span["attributes"] for span in records(output, "span")}
    errors = {name: (attributes["success"], attributes.get("error")) for name, attributes in spans.items()}
    assert errors == {
        "echo": (True, None),
        "fail": (False, "tool_error"),
        "refuse": (False, "error -32602"),
        "silent": (False, "no answer"),
    }
    audit = records(output, "audit")
    assert [line["event_type"] for line in audit].count("mcp_tool_call") == 4
    assert [line["event_type"] for line in audit].count("mcp_tool_result") == 4
    assert audit[0]["argument_bytes"] == len(json.dumps(secret))
    metrics = {
        (line["attributes"]["mcp.tool.name"], line["count"], sum(line["buckets"])) for line in records(output, "metric")
    }
    assert metrics == {("echo", 1, 1), ("fail", 1, 1), ("refuse", 1, 1), ("silent", 1, 1)}
    assert "hunter2" not in output.read_text()
    assert "private words" not in output.read_text()


def forwarded(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    return json.loads(json.loads(done.stdout)["result"]["content"][0]["text"])


def test_the_trace_goes_on_to_the_server(tmp_path: Path):
    output = tmp_path / "out.jsonl"
    meta = {"traceparent": OUTER, "progressToken": 5, "claudecode/toolUseId": "toolu_1"}
    arguments = {"n": 1.50, "big": 12345678901234567890123, "text": "é\u2028"}
    received = forwarded(exchanged([call(1, "echo", arguments=arguments, _meta=meta)], "--output", output))
    (span,) = records(output, "span")
    assert received["params"]["_meta"].pop("traceparent") == f"00-{span['trace_id']}-{span['span_id']}-01"
    assert received["params"]["_meta"] == {"progressToken": 5, "claudecode/toolUseId": "toolu_1"}
    assert received["params"]["arguments"] == arguments
    assert (span["trace_id"], span["parent_span_id"]) == tuple(OUTER.split("-")[1:3])


def test_without_a_trace_of_the_caller_the_environments_or_a_new_one_is_used(tmp_path: Path):
    environment = {**os.environ, "TRACEPARENT": OUTER}
    received = forwarded(exchanged([call(1, "echo")], "--output", tmp_path / "1", env=environment))
    assert received["params"]["_meta"]["traceparent"].split("-")[1] == OUTER.split("-")[1]
    received = forwarded(exchanged([call(1, "echo")], "--output", tmp_path / "2"))
    (span,) = records(tmp_path / "2", "span")
    assert received["params"]["_meta"]["traceparent"].split("-")[1] == span["trace_id"]
    assert span["parent_span_id"] is None


def test_a_call_that_was_cancelled_is_recorded_as_such(tmp_path: Path):
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    exchanged([call(1, "silent"), cancel], "--output", tmp_path / "out")
    assert records(tmp_path / "out", "span")[0]["attributes"]["error"] == "cancelled"


@pytest.mark.parametrize("options", [["--keep-meta"], []])
def test_every_byte_passes_in_both_directions(tmp_path: Path, options: list[str]):
    """Also what is no message: binary, empty and endless lines, and a last line without an end."""
    noise = random.Random(7)
    parts = [noise.randbytes(noise.randrange(0, 5000)) for _ in range(200)] + [
        b"x" * (9 << 20),
        b"\n\n\r\n",
        b'{"id":1,',
    ]
    data = b"\n".join(parts) + b"no end"
    copy = [sys.executable, "-c", "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"]
    line = through("--output", tmp_path / "out", *options, server=copy)
    done = subprocess.run(line, input=data, capture_output=True, timeout=60, check=False)
    assert done.stdout == data
    assert done.returncode == 0


def test_with_keep_meta_calls_pass_unchanged_too(tmp_path: Path):
    line = b'{ "id":1 , "method":"tools\\/call","params":{"name":"echo"}}\n'
    done = subprocess.run(
        through("--output", tmp_path / "out", "--keep-meta"), input=line, capture_output=True, timeout=60, check=False
    )
    assert json.loads(done.stdout)["result"]["content"][0]["text"].encode() == line
    assert records(tmp_path / "out", "span")[0]["name"] == "mcp.tool.echo"


def test_it_ends_as_the_server_ends(tmp_path: Path):
    assert exchanged([call(1, "stop")], "--output", tmp_path / "out").returncode == 7
    assert records(tmp_path / "out", "span")[0]["attributes"]["error"] == "no answer"
    missing = subprocess.run(
        through(server=["/no/such/server"]), capture_output=True, text=True, timeout=60, check=False
    )
    assert missing.returncode == 2
    assert "/no/such/server cannot be started" in missing.stderr


async def test_a_signal_reaches_the_server(tmp_path: Path):
    process = await asyncio.create_subprocess_exec(
        *through("--output", tmp_path / "out"), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(call(1, "echo")).encode() + b"\n")
    async with asyncio.timeout(30):
        await process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 128 + signal.SIGTERM
    process.stdin.close()


def test_records_go_to_standard_error_unless_a_file_is_named():
    done = exchanged([call(1, "echo")])
    assert [json.loads(line)["kind"] for line in done.stderr.splitlines()] == ["audit", "audit", "span", "metric"]


async def test_a_collector_gets_spans_and_sums(tmp_path: Path):
    told: dict[str, Any] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().partition("content-length:")[2].split()[0])
                told[head.split()[1]] = (head, json.loads(await reader.readexactly(length)))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    async with asyncio.timeout(60), await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20abc"}
        options = ["--output", tmp_path / "out", "--otlp", url]
        await asyncio.to_thread(exchanged, [call(1, "echo"), call(2, "fail")], *options, env=environment)
        await eventually(lambda: "/v1/metrics" in told)
    head, traces = told["/v1/traces"]
    assert "authorization: Basic abc" in head
    good, bad = traces["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert (good["name"], good["status"]) == ("mcp.tool.echo", {})
    assert (bad["name"], bad["status"]) == ("mcp.tool.fail", {"code": 2, "message": "tool_error"})
    assert {"key": "mcp.tool.name", "value": {"stringValue": "echo"}} in good["attributes"]
    assert int(good["endTimeUnixNano"]) >= int(good["startTimeUnixNano"]) > 1_700_000_000 * 10**9
    (metric,) = told["/v1/metrics"][1]["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    assert [point["count"] for point in metric["histogram"]["dataPoints"]] == ["1", "1"]


def test_a_dead_collector_stops_nothing(tmp_path: Path):
    done = exchanged([call(1, "echo")], "--output", tmp_path / "out", "--otlp", "http://127.0.0.1:1")
    assert done.returncode == 0
    assert len(records(tmp_path / "out", "span")) == 1


@given(chunks=st.lists(st.binary(max_size=30)), longest=st.integers(0, 40))
def test_whatever_the_chunks_are_the_bytes_stay_the_same(chunks: list[bytes], longest: int):
    seen: list[bytes] = []
    lines: list[bytes] = []

    def line(data: bytes) -> None:
        lines.append(data)
        seen.append(data)

    liner = Liner(longest, line, seen.append)
    for chunk in chunks:
        liner.feed(chunk)
    liner.end()
    assert b"".join(seen) == b"".join(chunks)
    assert all(data.endswith(b"\n") and data.count(b"\n") == 1 and len(data) <= longest for data in lines)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "method", "params", "name", "_meta", "result", "error", "traceparent"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(message=JSON | st.builds(lambda params: {"id": 1, "method": "tools/call", "params": params}, JSON))
def test_no_message_disturbs_the_watch(message: Any):
    ended: list[Finished] = []
    begun: list[ToolCall] = []
    watch = Watch(FakeClock(), started=begun.append, finished=ended.append, outer=None, propagate=True)
    line = json.dumps(message).encode() + b"\n"
    passed = json.loads(watch.asked(line))
    if begun:
        assert {**message["params"], "_meta": None} == {**passed["params"], "_meta": None}
        assert {**message, "params": None} == {**passed, "params": None}
    else:
        assert passed == message
    watch.answered(line)
    watch.over()
    assert len(ended) == len(begun)


@given(text=st.text(max_size=60) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True))
def test_any_traceparent_gives_a_valid_span(text: str):
    context = child_of(text)
    assert child_of(context.traceparent).parent == context.span
    if context.parent:
        assert text.split("-")[1:3] == [context.trace, context.parent]
