"""The knowledge base as a client meets it: its own process, the SDK's client, both transports, both eras."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from mcp import Client, MCPError
from mcp_kit import ERAS, TOKEN, command, http_server, over_http, over_stdio, text_of

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("MC-5")]


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "handbook"
    (folder / "guides").mkdir(parents=True)
    (folder / "guides" / "setup.md").write_text("# Setting up\n\nInstall the gateway, then set max_tokens to 4096.\n")
    (folder / "holidays 2026.html").write_text(
        "<title>Holidays</title><script>let gateway</script><p>Thirty days &amp; the 24th of December.</p>"
    )
    (folder / "people.txt").write_text("Ask Ada about the gateway. The gateway is hers; the gateway again.\n")
    (folder / ".env").write_text("SECRET=gateway")
    return folder


def started(docs: Path) -> list[object]:
    return ["--folder", docs, "--index", docs.parent / "index.sqlite"]


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_search_leads_to_a_resource_that_can_be_read(docs: Path, mode: str, transport: str):
    if transport == "stdio":
        async with over_stdio("knowledge_base", *started(docs), mode=mode) as client:
            await find_and_read(client, mode)
    else:
        async with http_server("knowledge_base", *started(docs)) as url, over_http(url, mode) as client:
            await find_and_read(client, mode)


async def find_and_read(client: Client, mode: str):
    assert client.protocol_version == ERAS[mode]
    (tool,) = (await client.list_tools()).tools
    assert tool.name == "search_kb"
    assert tool.input_schema["required"] == ["query"]
    assert tool.input_schema["properties"]["limit"]["default"] == 5

    found = await client.call_tool("search_kb", {"query": "install max_tokens"})
    (hit,) = found.structured_content["results"]
    assert (hit["uri"], hit["title"]) == ("kb://docs/handbook/guides/setup.md", "Setting up")
    assert "**Install**" in hit["snippet"]
    read = await client.read_resource(hit["uri"])
    assert read.contents[0].text.startswith("# Setting up")
    assert read.contents[0].mime_type == "text/markdown"

    listed = [resource.uri for resource in (await client.list_resources()).resources]
    assert listed == [
        "kb://docs/handbook/guides/setup.md",
        "kb://docs/handbook/holidays%202026.html",
        "kb://docs/handbook/people.txt",
    ]
    page = await client.read_resource("kb://docs/handbook/holidays%202026.html")
    assert page.contents[0].text == "Thirty days & the 24th of December."
    templates = (await client.list_resource_templates()).resource_templates
    assert [template.uri_template for template in templates] == ["kb://docs/{+id}"]


async def test_what_cannot_be_answered_is_said_and_ends_nothing(docs: Path):
    async with over_stdio("knowledge_base", *started(docs)) as client:
        for arguments in ({}, {"query": "x", "limit": 0}, {"query": "x", "limit": 51}, {"query": "x", "more": 1}):
            result = await client.call_tool("search_kb", arguments)
            assert result.is_error
            assert "Invalid arguments for search_kb" in text_of(result)
        assert (await client.call_tool("search_kb", {"query": '"*()^:'})).is_error
        assert text_of(await client.call_tool("search_kb", {"query": "zzzz"})) == "No document matches."
        for uri in (
            "kb://docs/nothing.md",
            "kb://docs/../../etc/passwd",
            "kb://docs/handbook/%2e%2e/%2e%2e/etc/passwd",
            "kb://docs/handbook/.env",
            "kb://docs/handbook/%00",
            "file:///etc/passwd",
        ):
            with pytest.raises(MCPError, match="no such document"):
                await client.read_resource(uri)
        with pytest.raises(MCPError, match="cursor"):
            await client.list_resources(cursor="?")
        with pytest.raises(MCPError, match="no tool"):
            await client.call_tool("drop_kb", {})


async def test_a_long_list_comes_in_pages_without_gap_or_repetition(tmp_path: Path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(1203):
        (folder / f"{number}.txt").write_text(f"number {number}")
    seen: list[str] = []
    pages = 0
    async with over_stdio("knowledge_base", *started(folder)) as client:
        cursor = None
        while pages == 0 or cursor:
            page = await client.list_resources(cursor=cursor)
            seen += [resource.uri for resource in page.resources]
            cursor, pages = page.next_cursor, pages + 1
    assert pages == 3
    assert len(seen) == len(set(seen)) == 1203
    assert seen == sorted(seen)


async def test_two_clients_share_one_index_and_a_change_is_announced(docs: Path):
    arguments = [*started(docs), "--refresh", "0.05"]
    async with http_server("knowledge_base", *arguments) as url, over_http(url) as client:
        async with over_stdio("knowledge_base", *arguments) as second:
            assert len((await second.list_resources()).resources) == 3
        async with asyncio.timeout(20), client.listen(resources_list_changed=True) as changes:
            (docs / "new.md").write_text("# Newcomer\n\nunheard")
            await anext(aiter(changes))
        found = await client.call_tool("search_kb", {"query": "unheard"})
        assert found.structured_content["results"][0]["uri"] == "kb://docs/handbook/new.md"


async def test_with_a_token_only_its_holder_is_served(docs: Path):
    environment = {"KB_TOKEN": TOKEN}
    async with http_server("knowledge_base", *started(docs), "--token-env", "KB_TOKEN", env=environment) as url:
        async with httpx2.AsyncClient() as http:
            for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
                answer = await http.post(url, headers=headers, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
                assert answer.status_code == 401
            assert (await http.get(url.replace("/mcp", "/healthz"))).text == "ok"
        async with over_http(url, headers={"authorization": f"Bearer {TOKEN}"}) as client:
            assert len((await client.list_resources()).resources) == 3


async def test_without_a_token_a_web_page_cannot_reach_it(docs: Path):
    async with http_server("knowledge_base", *started(docs)) as url, httpx2.AsyncClient() as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        assert (await http.post(url, headers={"origin": "https://evil.example"}, json=body)).status_code == 403
        assert (await http.post(url, headers={"host": "evil.example"}, json=body)).status_code == 421


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--folder", "/no/such/folder"], "is not a folder"),
        (["--folder", ".", "--folder", "."], "another folder has the label"),
        (["--folder", ".", "--http", "0.0.0.0:0"], "require a token"),
        (["--folder", ".", "--http", "nowhere"], "an address such as"),
        (["--folder", ".", "--dsn-env", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE is not set"),
        (["--folder", ".", "--refresh", "0"], "greater than zero"),
    ],
)
async def test_wrong_settings_are_told_and_nothing_starts(arguments: list[str], said: str, tmp_path: Path):
    shown = run(tmp_path, "knowledge_base", *arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert said in shown.stderr


@pytest.mark.parametrize("name", ["knowledge_base", "prompts", "deployments"])
async def test_without_the_sdk_the_remedy_is_told(name: str, tmp_path: Path):
    """A package that cannot be imported stands in for one that is not installed."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['mcp'] = sys.modules['mcp_types'] = None\n")
    shown = run(tmp_path, name, pythonpath=tmp_path)
    assert shown.returncode == 2
    assert "pip install 'ai-platform[mcp]'" in shown.stderr


def run(folder: Path, name: str, *arguments: str, pythonpath: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(pythonpath)} if pythonpath else {}
    return subprocess.run(
        [sys.executable, *command(name, *arguments)],
        cwd=folder,
        env={"HOME": str(folder), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
