"""The bundled Zimbra server against the simulated Zimbra: by the admin API and by the command-line tools alike."""

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp import Client, MCPError
from mcp_kit import ERAS, over_stdio, text_of
from zimbra_kit import ACCOUNT, after, ask, by_api, by_commands, has_every_mailbox_as_before, refused

from ai_platform.domain.errors import ConfigError
from ai_platform.mcp_servers.zimbra.program import main
from ai_platform.simulator.zimbra import example
from ai_platform.simulator.zimbra.site import GIB, SimulatedSite

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("ZI-1"), pytest.mark.requirement("MC-5")]
WAYS = ("api", "commands")


@asynccontextmanager
async def reached(way: str, folder: Path, site: SimulatedSite | None = None) -> AsyncGenerator[Client]:
    if way == "api":
        async with by_api(folder, site) as (client, _):
            yield client
    else:
        async with by_commands(folder, site) as client:
            yield client


@pytest.mark.parametrize("way", WAYS)
async def test_the_domains_are_a_resource(tmp_path: Path, way: str):
    async with reached(way, tmp_path) as client:
        read = await client.read_resource("zimbra://domains")
    assert json.loads(read.contents[0].text)["domains"] == [  # type: ignore[union-attr]
        {"name": "branch.simulated.example", "status": "active", "kind": "local"},
        {"name": "old.simulated.example", "status": "active", "kind": "alias"},
        {"name": "simulated.example", "status": "active", "kind": "local"},
    ]


@pytest.mark.parametrize("way", WAYS)
async def test_the_mailboxes_of_every_server_are_a_resource_the_fullest_first(tmp_path: Path, way: str):
    async with reached(way, tmp_path) as client:
        every = json.loads((await client.read_resource("zimbra://mailboxes")).contents[0].text)  # type: ignore[union-attr]
        branch = await client.read_resource("zimbra://mailboxes/branch.simulated.example")
    assert every["total"] == len(example().accounts)
    assert every["mailboxes"][0] == {
        "email": "full@simulated.example",
        "used_bytes": 10 * GIB + 1,
        "limit_bytes": 10 * GIB,
        "used_percent": 100.0,
    }
    named = {row["email"]: row for row in every["mailboxes"]}
    assert named["unlimited@simulated.example"]["limit_bytes"] is None
    assert named["galsync.x7@simulated.example"]["system"] is True
    assert "system" not in named["ada@simulated.example"]
    rows = json.loads(branch.contents[0].text)["mailboxes"]  # type: ignore[union-attr]
    assert [row["email"] for row in rows] == ["locked@branch.simulated.example"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_quota_is_told_in_bytes_also_of_an_alias(tmp_path: Path, way: str):
    async with reached(way, tmp_path) as client:
        ada = await ask(client, "get_mailbox_quota", email="lovelace@simulated.example")
        unlimited = await ask(client, "get_mailbox_quota", email="unlimited@simulated.example")
    assert ada == {
        "email": "ada@simulated.example",
        "used_bytes": 4 * GIB,
        "limit_bytes": 10 * GIB,
        "used_percent": 40.0,
    }
    assert (unlimited["limit_bytes"], unlimited["used_percent"]) == (None, None)


CONDITIONS = [
    ("ada", "Healthy", None),
    ("unlimited", "Healthy", None),
    ("grace", "Warning", "95.0 % of the quota"),
    ("full", "Critical", "used up"),
    ("newcomer", "Warning", "no mailbox yet"),
    ("closed", "Critical", "closed"),
]


@pytest.mark.parametrize("way", WAYS)
async def test_health_says_what_is_wrong_with_a_mailbox_and_makes_none(tmp_path: Path, way: str):
    site = example()
    async with reached(way, tmp_path, site) as client:
        for name, health, problem in CONDITIONS:
            told = await ask(client, "check_mailbox_health", email=f"{name}@simulated.example")
            assert told["health"] == health, told
            assert problem is None or problem in told["problems"][0]["what"]
            assert told["has_mailbox"] is (name != "newcomer")
            assert told["services"]
    assert has_every_mailbox_as_before(site if way == "api" else after(tmp_path))


@pytest.mark.parametrize("way", WAYS)
async def test_a_stopped_service_on_its_server_is_critical_although_zmcontrol_then_fails(tmp_path: Path, way: str):
    site = example()
    site.services["mail1.simulated.example"]["mta"] = False
    async with reached(way, tmp_path, site) as client:
        told = await ask(client, "check_mailbox_health", email="ada@simulated.example")
    assert told["health"] == "Critical"
    assert told["problems"][0]["what"] == "the service mta does not run on mail1.simulated.example"


async def test_health_does_without_services_when_zimbra_cannot_tell_them(tmp_path: Path):
    site = example()
    site.logger = False
    async with by_api(tmp_path, site) as (client, _):
        told = await ask(client, "check_mailbox_health", email="ada@simulated.example")
    assert (told["health"], told["services"]) == ("Healthy", None)
    assert "zimbraLogHostname" in told["services_unknown"]


@pytest.mark.parametrize("way", WAYS)
async def test_only_what_reads_is_ever_asked(tmp_path: Path, way: str):
    site = example()
    async with reached(way, tmp_path, site) as client:
        for tool in ("check_mailbox_health", "get_mailbox_quota"):
            await ask(client, tool, email="newcomer@simulated.example")
        for uri in ("zimbra://domains", "zimbra://mailboxes"):
            await client.read_resource(uri)
        await client.call_tool("search_logs", {"pattern": "x", "log_file": "sync.log"})
    asked = {
        words.split()[0] if way == "api" else " ".join(words.split()[:2])
        for words in (site if way == "api" else after(tmp_path)).asked
    }
    assert asked == (
        {
            "AuthRequest",
            "GetAccountRequest",
            "GetIndexStatsRequest",
            "GetQuotaUsageRequest",
            "GetServiceStatusRequest",
            "SearchDirectoryRequest",
        }
        if way == "api"
        else {"zmprov ga", "zmprov gad", "zmprov gas", "zmprov gis", "zmprov gqu", "zmcontrol status"}
    )


NO_ADDRESSES = [
    "-l@simulated.example",
    "ada@simulated.example; touch /tmp/x",
    "$(id)@simulated.example",
    "ada@simulated.example\nda ada@simulated.example",
    "ada@simulated.example\n",
    "ada@simulated.example zimbraMailQuota",
    "../../etc/passwd@x.y",
    "*@simulated.example",
    "ada",
    "",
    "a" * 400 + "@simulated.example",
]


@pytest.mark.parametrize("way", WAYS)
async def test_what_is_no_address_reaches_nobody(tmp_path: Path, way: str):
    site = example()
    async with reached(way, tmp_path, site) as client:
        for email in NO_ADDRESSES:
            await refused(client, "check_mailbox_health", email=email)
            await refused(client, "get_mailbox_quota", email=email)
    assert (site if way == "api" else after(tmp_path)).asked == []


@pytest.mark.parametrize("way", WAYS)
async def test_an_unknown_account_and_an_unknown_domain_are_told_as_such(tmp_path: Path, way: str):
    async with reached(way, tmp_path) as client:
        said = await refused(client, "check_mailbox_health", email="nobody@simulated.example")
        assert said == "There is no account nobody@simulated.example."
        for uri in (
            "zimbra://mailboxes/elsewhere.example",
            "zimbra://mailboxes/--help",
            "zimbra://mailboxes/",
            "x://y",
        ):
            with pytest.raises(MCPError, match="There is no such"):
                await client.read_resource(uri)


@pytest.mark.parametrize("mode", ERAS)
async def test_both_eras_list_the_same_three_tools_that_say_that_they_only_read(tmp_path: Path, mode: str):
    async with by_api(tmp_path, mode=mode) as (client, _):
        tools = (await client.list_tools()).tools
        resources = (await client.list_resources()).resources
        found = await client.call_tool("search_logs", {"pattern": "exceeded", "log_file": "mailbox.log"})
    assert [tool.name for tool in tools] == ["check_mailbox_health", "get_mailbox_quota", "search_logs"]
    assert all(tool.annotations is not None and tool.annotations.read_only_hint for tool in tools)
    assert [resource.uri for resource in resources] == ["zimbra://domains", "zimbra://mailboxes"]
    assert "Mailbox.java:1234" in text_of(found), "the stack trace comes with its entry"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "Give either --url"),
        (["--url", "https://z.example:7071", "--commands", "/tmp"], "Give either --url"),
        (["--url", "http://z.example:7071", *ACCOUNT], "https is needed"),
        (["--url", "https://user@z.example:7071", *ACCOUNT], "an address such as"),
        (["--url", "file:///etc/passwd", *ACCOUNT], "an address such as"),
        (["--url", "https://z.example:7071"], "--user"),
        (["--url", "https://z.example:7071", "--user", "x"], "--password-env"),
        (["--url", "https://z.example:7071", "--user", "x", "--password-env", "NOT_SET"], "NOT_SET"),
        (["--url", "https://z.example:7071", "--user", "x", "--password-file", "/nowhere"], "/nowhere"),
        (["--commands", "/nowhere"], "zmprov"),
    ],
)
def test_a_mistake_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch, words: list[str], problem: str):
    monkeypatch.setenv("ZIMBRA_PASSWORD", "x")
    with pytest.raises(ConfigError, match=re.escape(problem)):
        main(words)


async def test_the_tools_see_no_secret_of_the_server_and_the_user_zimbra_is_needed(tmp_path: Path):
    tool = "#!/bin/sh\nenv > {place}/environment\nexit 255\n"
    (tmp_path / "bin").mkdir()
    for name in ("zmprov", "zmcontrol"):
        (tmp_path / "bin" / name).write_text(tool.format(place=tmp_path))
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {"SECRET_TOKEN": "do-not-pass-on"}
    async with over_stdio("zimbra", "--commands", tmp_path / "bin", env=environment) as client:
        await refused(client, "get_mailbox_quota", email="ada@simulated.example")
    assert "do-not-pass-on" not in (tmp_path / "environment").read_text()
