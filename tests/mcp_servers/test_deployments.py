"""Deployments by real processes: who may, what runs, what is written down, and that nothing is left running."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client
from mcp_kit import ERAS, TOKEN, http_server, over_http, over_stdio, text_of

from ai_platform.domain.errors import ConfigError
from ai_platform.mcp_servers.caller import Caller, header_for
from ai_platform.mcp_servers.deployments.plan import Target, filled, is_version, load
from ai_platform.testing.eventually import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("MC-5")]

COMMAND = str(Path(__file__).parent / "deploying.py")
ADA = {"id": "ada@example.com", "permissions": ["deploy:*:staging"]}


class Site:
    """A folder with a deployments file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "deployments.yaml"

    def write(self, mode: str = "quick", **more: Any) -> list[object]:
        """Returns the server's arguments."""
        blanks = ["{service}", "{environment}"]
        service = {
            "deploy": [sys.executable, COMMAND, str(self.folder), mode, *blanks, "{version}"],
            "rollback": [sys.executable, COMMAND, str(self.folder), mode, *blanks],
        }
        service |= {key: more.pop(key) for key in list(more) if key == "timeout_seconds"}
        environments = {"staging": dict.fromkeys(["api", "web", "worker"], service), "production": {"api": service}}
        self.file.write_text(yaml.safe_dump({"environments": environments, "identity": ADA, **more}))
        return ["--file", self.file]

    def lines(self) -> list[dict[str, Any]]:
        path = self.folder / "deployments.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def marks(self) -> dict[str, Any]:
        return json.loads((self.folder / "marks").read_text())

    async def started(self) -> list[int]:
        """The process ids of a command that hangs, once it does."""
        await eventually((self.folder / "marks").exists)
        return self.marks()["pids"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_deployment_streams_its_output_and_is_written_down_before_and_after(
    site: Site, mode: str, transport: str
):
    arguments = site.write()
    if transport == "stdio":
        async with over_stdio("deployments", *arguments, mode=mode) as client:
            await deploy(client, site, mode)
    else:
        async with http_server("deployments", *arguments) as url, over_http(url, mode) as client:
            await deploy(client, site, mode)


async def deploy(client: Client, site: Site, mode: str):
    assert client.protocol_version == ERAS[mode]
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == [
        *("abort_deployment", "deploy_production", "deploy_staging", "deployment_status"),
        *("rollback_production", "rollback_staging"),
    ]
    properties = tools["deploy_staging"].input_schema["properties"]
    assert properties["service"]["enum"] == ["api", "web", "worker"]
    assert properties["version"]["pattern"] == r"^v\d+\.\d+\.\d+$"
    assert tools["deploy_staging"].annotations.destructive_hint

    heard: list[str] = []

    async def progress(_done: float, _total: float | None, message: str | None) -> None:
        heard.append(message or "")

    result = await client.call_tool(
        "deploy_staging", {"service": "api", "version": "v1.20.3"}, progress_callback=progress
    )
    assert not result.is_error, text_of(result)
    assert result.structured_content["outcome"] == "succeeded"
    assert "\n".join(heard).splitlines() == ["deploying api staging v1.20.3", "done"]
    assert site.marks()["arguments"] == ["api", "staging", "v1.20.3"]
    attempt, outcome = site.lines()
    shared = {"action": "deploy", "service": "api", "environment": "staging", "version": "v1.20.3", "user": ADA["id"]}
    assert shared.items() <= attempt.items()
    assert shared.items() <= outcome.items()
    assert (attempt["event_type"], attempt["outcome"]) == ("mcp_tool_call", "started")
    assert (outcome["event_type"], outcome["outcome"], outcome["code"]) == ("mcp_tool_result", "succeeded", 0)
    assert attempt["deployment"] == outcome["deployment"]
    assert attempt["timestamp"].endswith("Z")

    assert not (await client.call_tool("rollback_staging", {"service": "web"})).is_error
    assert site.marks()["arguments"] == ["web", "staging"]
    status = await client.call_tool("deployment_status", {"service": "api"})
    assert status.structured_content["deployments"][0]["outcome"] == "succeeded"
    assert [row["environment"] for row in status.structured_content["deployments"]] == ["staging"]


async def test_who_may_not_is_refused_and_written_down(site: Site):
    async with over_stdio("deployments", *site.write()) as client:
        result = await client.call_tool("deploy_production", {"service": "api", "version": "v1.0.0"})
        assert result.is_error
        assert "deploy:api:production is needed" in text_of(result)
        assert (await client.call_tool("rollback_production", {"service": "api"})).is_error
        assert (await client.call_tool("abort_deployment", {"service": "api", "environment": "production"})).is_error
    assert [(line["event_type"], line["outcome"]) for line in site.lines()] == [("call_refused", "refused")] * 3
    assert not (site.folder / "marks").exists()


async def test_anything_but_a_known_service_and_a_version_is_refused_and_written_down(site: Site):
    versions = ["1.0.0", "v1.0.0\n", "v1.0.0; rm -rf /", "v1.0", "v\u0967.0.0", "", 1, None]
    attempts: list[dict[str, Any]] = [
        *({"service": "api", "version": version} for version in versions),
        *({"service": service, "version": "v1.0.0"} for service in ("db", "", ["api"], None, "api; true")),
        *({}, {"service": "api"}, {"version": "v1.0.0"}, {"service": "api", "version": "v1.0.0", "force": True}),
        {"service": "api", "version": "v1.0.0", "environment": "production"},
    ]
    async with over_stdio("deployments", *site.write()) as client:
        for attempt in attempts:
            assert (await client.call_tool("deploy_staging", attempt)).is_error, attempt
    lines = site.lines()
    assert len(lines) == len(attempts)
    assert {(line["event_type"], line["outcome"], line["user"]) for line in lines} == {
        ("call_refused", "refused", ADA["id"])
    }
    assert not (site.folder / "marks").exists()


@pytest.mark.parametrize("mode", ERAS)
async def test_the_gateway_names_the_caller_and_nobody_else_can(site: Site, mode: str):
    arguments = [*site.write(), "--token-env", "DEPLOY_TOKEN"]
    bearer = {"authorization": f"Bearer {TOKEN}"}
    grace = {"x-ai-platform-caller": header_for(Caller("grace", ("deploy:api:production",)))}
    wanted = {"service": "api", "version": "v1.0.0"}
    async with http_server("deployments", *arguments, env={"DEPLOY_TOKEN": TOKEN}) as url:
        async with over_http(url, mode, headers=bearer | grace) as client:
            assert not (await client.call_tool("deploy_production", wanted)).is_error
            assert (await client.call_tool("deploy_staging", wanted)).is_error
        async with over_http(url, mode, headers=bearer | {"x-ai-platform-caller": "e30"}) as client:
            assert "names no caller" in text_of(await client.call_tool("deploy_staging", wanted))
    assert [(line["user"], line["outcome"]) for line in site.lines()] == [
        *(("grace", "started"), ("grace", "succeeded"), ("grace", "refused"), ("", "refused"))
    ]
    async with http_server("deployments", *site.write()) as url, over_http(url, mode, headers=grace) as client:
        assert (await client.call_tool("deploy_production", wanted)).is_error, "without a token the header is not heard"


async def test_a_host_names_the_caller_by_the_environment(site: Site):
    environment = {"AI_PLATFORM_CALLER": json.dumps({"id": "lin", "permissions": ["*"]})}
    async with over_stdio("deployments", *site.write(), env=environment) as client:
        assert not (await client.call_tool("deploy_production", {"service": "api", "version": "v1.0.0"})).is_error
    assert {line["user"] for line in site.lines()} == {"lin"}


async def test_commands_see_no_secret_and_no_shell(site: Site):
    async with over_stdio("deployments", *site.write(), env={"GITHUB_TOKEN": "ghp_secret"}) as client:
        await client.call_tool("deploy_staging", {"service": "api", "version": "v1.0.0"})
    marks = site.marks()
    assert "GITHUB_TOKEN" not in marks["environment"]
    assert marks["environment"]["DEPLOY_VERSION"] == "v1.0.0"
    assert marks["folder"] == str(site.folder)


async def test_a_failure_and_a_missing_program_are_told_with_the_last_lines(site: Site):
    async with over_stdio("deployments", *site.write("fails")) as client:
        result = await client.call_tool("deploy_staging", {"service": "api", "version": "v1.0.0"})
    assert result.is_error
    assert "failed (exit code 3)" in text_of(result)
    assert "done" in text_of(result)
    site.file.write_text(site.file.read_text().replace(sys.executable, "/no/such/program"))
    async with over_stdio("deployments", "--file", site.file) as client:
        result = await client.call_tool("deploy_staging", {"service": "api", "version": "v1.0.0"})
    assert "cannot be started" in text_of(result)
    assert [line["outcome"] for line in site.lines()] == ["started", "failed"] * 2


async def test_much_output_is_bounded_and_harmless(site: Site):
    async with over_stdio("deployments", *site.write("loud")) as client:
        result = await client.call_tool("deploy_staging", {"service": "api", "version": "v1.0.0"})
    text = text_of(result)
    assert not result.is_error
    assert len(text) < 250_000
    assert "line 19999" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("mode", ["hangs", "stubborn"])
async def test_the_deadline_ends_a_command_and_its_children(site: Site, mode: str):
    async with over_stdio("deployments", *site.write(mode, timeout_seconds=0.7)) as client:
        call = asyncio.create_task(client.call_tool("deploy_staging", {"service": "api", "version": "v1.0.0"}))
        pids = await site.started()
        result = await call
    assert "timed out" in text_of(result)
    assert [pid for pid in pids if is_alive(pid)] == []
    assert site.lines()[-1]["outcome"] == "timed_out"


@pytest.mark.parametrize("mode", ["hangs", "stubborn"])
@pytest.mark.parametrize("by", ["the same server", "another one"])
async def test_an_abort_leaves_no_child_and_says_who_did_it(site: Site, mode: str, by: str):
    arguments = site.write(mode)
    wanted = {"service": "api", "environment": "staging"}
    async with over_stdio("deployments", *arguments) as client, over_stdio("deployments", *arguments) as other:
        call = asyncio.create_task(client.call_tool("deploy_staging", {"service": "api", "version": "v1.0.0"}))
        pids = await site.started()
        assert all(is_alive(pid) for pid in pids)
        running = await other.call_tool("deployment_status", wanted)
        assert running.structured_content["deployments"][0]["outcome"] == "running"
        second = await other.call_tool("deploy_staging", {"service": "api", "version": "v1.0.1"})
        assert "is running already" in text_of(second)
        assert not (await (other if by == "another one" else client).call_tool("abort_deployment", wanted)).is_error
        result = await call
        assert f"aborted by {ADA['id']}" in text_of(result)
        assert [pid for pid in pids if is_alive(pid)] == []
        assert "No deployment" in text_of(await client.call_tool("abort_deployment", wanted))
    outcomes = [(line["action"], line["outcome"]) for line in site.lines()]
    assert outcomes[:3] == [("deploy", "started"), ("deploy", "refused"), ("abort", "started")]
    assert ("deploy", "aborted") in outcomes


async def test_other_services_are_deployed_meanwhile(site: Site):
    async with over_stdio("deployments", *site.write("hangs")) as client:
        first = asyncio.create_task(client.call_tool("deploy_staging", {"service": "api", "version": "v1.0.0"}))
        await site.started()
        (site.folder / "marks").unlink()
        second = asyncio.create_task(client.call_tool("deploy_staging", {"service": "web", "version": "v1.0.0"}))
        await site.started()
        for service in ("api", "web"):
            await client.call_tool("abort_deployment", {"service": service, "environment": "staging"})
        assert (await first).is_error
        assert (await second).is_error


@pytest.mark.parametrize("number", [None, signal.SIGTERM])
async def test_the_servers_end_ends_what_it_runs_and_records_it(site: Site, number: signal.Signals | None):
    """By the end of standard input, and by a signal."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ai_platform.mcp_servers.deployments", *map(str, site.write("hangs"))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    wanted = {"name": "deploy_staging", "arguments": {"service": "api", "version": "v1.0.0"}, "_meta": meta}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": wanted}
    process.stdin.write(json.dumps(message).encode() + b"\n")
    pids = await site.started()
    if number is None:
        process.stdin.close()
    else:
        process.send_signal(number)
    async with asyncio.timeout(20):
        await process.communicate()
    assert [pid for pid in pids if is_alive(pid)] == []
    assert (site.lines()[-1]["outcome"], site.lines()[-1]["by"]) == ("aborted", "the server's end")


async def test_after_a_kill_of_the_server_the_deployment_counts_as_interrupted_and_can_be_ended(site: Site):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(600)"),
        stdout=asyncio.subprocess.PIPE,
    )
    process.kill()
    await process.wait()
    site.write()
    state = {
        "deployment": "dep_x",
        "action": "deploy",
        "version": "v1.0.0",
        "user": "ada",
        "started": "2026-11-22T00:00:00Z",
    }
    (site.folder / ".deployments").mkdir()
    (site.folder / ".deployments" / "staging.api.json").write_text(json.dumps({**state, "group": process.pid}))
    async with over_stdio("deployments", "--file", site.file) as client:
        status = await client.call_tool("deployment_status", {"service": "api"})
        assert status.structured_content["deployments"][0]["outcome"] == "interrupted"
        assert not (await client.call_tool("deploy_staging", {"service": "api", "version": "v1.0.1"})).is_error


async def test_without_a_trail_nothing_is_executed(site: Site):
    arguments = site.write(audit="missing/folder/audit.jsonl")
    async with over_stdio("deployments", *arguments) as client:
        result = await client.call_tool("deploy_staging", {"service": "api", "version": "v1.0.0"})
    assert "nothing is executed" in text_of(result)
    assert not (site.folder / "marks").exists()


@pytest.fixture
async def channel() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook on loopback: its address and what it was told."""
    told: list[dict[str, Any]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length:")[2].split()[0])
        told.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", told


async def test_the_channel_is_told(site: Site, channel: tuple[str, list[dict[str, Any]]]):
    url, told = channel
    arguments = site.write(notify={"url_env": "HOOK"})
    async with over_stdio("deployments", *arguments, env={"HOOK": url}) as client:
        await client.call_tool("deploy_staging", {"service": "api", "version": "v1.0.0"})
        await eventually(lambda: told)
    assert told[0]["channel"] == "#deployments"
    assert told[0]["text"].startswith("Deployment of api v1.0.0 in staging, asked for by ada@example.com, succeeded")


async def test_a_dead_channel_stops_nothing(site: Site):
    arguments = site.write(notify={"url_env": "HOOK"})
    async with over_stdio("deployments", *arguments, env={"HOOK": "http://127.0.0.1:1/"}) as client:
        assert not (await client.call_tool("deploy_staging", {"service": "api", "version": "v1.0.0"})).is_error


@given(text=st.text() | st.from_regex(r"^v\d+\.\d+\.\d+$") | st.from_regex(r"v[0-9]+\.[0-9]+\.[0-9]+", fullmatch=True))
def test_a_version_is_plain_digits_and_dots(text: str):
    if is_version(text):
        assert text.isascii()
        assert set(text[1:]) <= set("0123456789.")
        assert text.count(".") == 2
        assert filled(("run", "--version={version}"), Target("api", "staging"), text) == ["run", f"--version={text}"]


@given(permission=st.text(alphabet="abdeploy:*staging", max_size=30))
def test_a_permission_never_reaches_beyond_its_parts(permission: str):
    caller = Caller("x", (permission,))
    if caller.may("deploy:api:staging"):
        assert permission == "*" or all(
            part in {"*", wanted}
            for part, wanted in zip(permission.split(":"), ["deploy", "api", "staging"], strict=True)
        )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("environments: {}", "at least one environment"),
        ("environments: {staging: {api: {deploy: []}}}", "needs at least the program's name"),
        ("environments: {staging: {api: {deploy: [run, '{user}']}}}", "'{user}' cannot be filled in"),
        ("environments: {staging: {api: {deploy: [run, '{service.__class__}']}}}", "cannot be filled in"),
        ("environments: {staging: {api: {deploy: [run, '{']}}}", "cannot be filled in"),
        ("environments: {staging: {api: {deploy: [run], rollback: [run, '{version}']}}}", "cannot be filled in"),
        ("environments: {staging: {../api: {deploy: [run]}}}", "must be a lower-case letter"),
        ("environments: {staging: {api: {deploy: run}}}", "must be"),
        ("environments: {staging: {api: {deploy: [run], timeout_seconds: 0}}}", "timeout_seconds"),
        ("environments: {staging: {api: {deploy: [run], folder: nowhere}}}", "'folder' is not a folder"),
        ("environments: {staging: {api: {deplyo: [run]}}}", "Did you mean 'deploy'"),
    ],
)
def test_a_wrong_file_is_told_with_its_place(tmp_path: Path, text: str, said: str):
    path = tmp_path / "deployments.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"deployments.yaml:1:[0-9]+: .*{said}".replace("{", r"\{")):
        load(path)
