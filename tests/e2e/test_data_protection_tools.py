"""Canaries of data protection at the second door: arguments and results of tools, resources, prompts."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from platform_process import PlatformProcess, running, until
from upstream_process import webhook

SSN, CARD, ITIN = "536-22-8491", "4111 1111 1111 1111", "912-73-4567"
EMAIL, IBAN = "jane@acme.io", "DE89370400440532013000"
POLICY = """\
protection:
  actions:
    - {action: allow, type: EMAIL_ADDRESS, upstream: echo, direction: input}
    - {action: redact, type: EMAIL_ADDRESS}
    - {action: mask, type: CREDIT_CARD}
    - {action: alert, type: IBAN_CODE}
    - {action: block, type: US_ITIN}
"""
SAYS = f"ssn {SSN}, card {CARD}, mail {EMAIL}, iban {IBAN}"


class Site(NamedTuple):
    platform: PlatformProcess
    alerts: list[dict[str, Any]]
    log: Path

    def ask(self, ask: Callable[[Client], Awaitable[Any]]) -> Any:
        return asyncio.run(self._ask(ask))

    async def _ask(self, ask: Callable[[Client], Awaitable[Any]]) -> Any:
        headers = {"authorization": f"Bearer {self.platform.admin_key}"}
        async with (
            asyncio.timeout(30),
            httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
            Client(streamable_http_client(self.platform.url + "/mcp", http_client=http)) as client,
        ):
            return await ask(client)

    def call(self, **arguments: Any) -> tuple[bool, str]:
        """(is it an error, everything that the client was told)."""

        async def ask(client: Client) -> tuple[bool, str]:
            try:
                result = await client.call_tool("echo__echo", arguments)
            except MCPError as error:
                return True, str(error)
            return bool(result.is_error), result.model_dump_json()

        return self.ask(ask)

    def events(self, kind: str) -> list[dict[str, Any]]:
        with self.platform.http() as http:
            answer = http.get("/admin/audit/events", params={"what": kind, "limit": 50, "order": "newest"})
        return [each for each in answer.json()["events"] if each.get("tool") or kind == "security_incident"]

    def told(self) -> list[dict[str, Any]]:
        """The arguments that reached the tool."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("tools")
    (folder / "policy.yaml").write_text(POLICY)
    command = [sys.executable, str(Path(__file__).with_name("repeating_server.py")), str(folder / "told.jsonl")]
    server = {"name": "echo", "command": command, "trusted": True, "first_use": True, "env": {"SAYS": SAYS}}
    with webhook() as (address, alerts):
        config = {"alerts": {"webhooks": [{"name": "security", "url": address}]}, "mcp": {"servers": [server]}}
        (folder / "config.yaml").write_text(json.dumps(config))
        options = ["--policy", str(folder / "policy.yaml"), "--config", str(folder / "config.yaml")]
        with running(folder / "data", *options) as platform:
            here = Site(platform, alerts, folder / "told.jsonl")
            until(lambda: "echo__echo" in names(here), within=30)
            yield here


def names(site: Site) -> list[str]:
    async def ask(client: Client) -> list[str]:
        return [tool.name for tool in (await client.list_tools()).tools]

    return site.ask(ask)


@pytest.mark.requirement("DP-8", "DP-2")
def test_every_control_fires_on_arguments(site: Site):
    before = len(site.told())
    for _ in range(2):  # a tool call does not come again by itself: each one is refused
        is_error, text = site.call(say=f"hello {SSN}")
        assert is_error
        assert "data-protection policy" in text
        assert SSN not in text
    assert len(site.told()) == before, "the tool was not called"
    refused = site.events("call_refused")[0]
    assert refused["bytes_inspected"] >= len(SSN)
    assert until(lambda: [each for each in site.alerts if "US_SSN" in each["facts"]["types"]], within=10)

    is_error, text = site.call(say=f"card {CARD} mail {EMAIL} iban {IBAN}")
    assert not is_error
    assert site.told()[-1] == {"say": f"card **** **** **** 1111 mail {EMAIL} iban {IBAN}"}
    intent = site.events("mcp_tool_call")[0]
    assert intent["bytes_inspected"] > 0
    assert intent["sensitive_data_counts"].items() >= {"CREDIT_CARD:mask": 1, "IBAN_CODE:alert": 1}.items()
    assert until(lambda: [each for each in site.alerts if each["facts"]["types"] == ["IBAN_CODE"]], within=10)


@pytest.mark.requirement("DP-8", "DP-2", "DP-5")
def test_every_control_fires_on_results(site: Site):
    async def resource(client: Client) -> str:
        (note,) = [each for each in (await client.list_resources()).resources if "echo" in str(each.uri)]
        return (await client.read_resource(note.uri)).model_dump_json()

    async def prompt(client: Client) -> str:
        (note,) = [each for each in (await client.list_prompts()).prompts if "note" in each.name]
        return (await client.get_prompt(note.name)).model_dump_json()

    for text in (site.call(structured=True)[1], site.ask(resource), site.ask(prompt)):
        assert "[REDACTED:US_SSN:" in text
        assert "**** **** **** 1111" in text
        assert "[REDACTED:EMAIL_ADDRESS:" in text
        assert f"iban {IBAN}" in text
        assert SSN not in text
        assert EMAIL not in text
    outcome = site.events("mcp_tool_result")[0]
    assert outcome["bytes_inspected"] > len(SAYS)
    assert outcome["sensitive_data_counts"]["US_SSN:redact"] >= 1
    with site.platform.http() as http:
        found = http.get("/admin/incidents", params={"type": "US_SSN"}).json()["incidents"]
    assert len(found) == 1, "one for the person and value, sent and received"
    assert SSN not in json.dumps(site.alerts)


@pytest.mark.requirement("DP-2")
def test_a_result_that_the_policy_blocks_is_not_passed_on(site: Site):
    is_error, text = site.call(say=f"itin {ITIN}")
    assert is_error
    assert ITIN not in text
