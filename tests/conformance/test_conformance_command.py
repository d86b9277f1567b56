"""The command, against a forwarding gateway on this thread's loop."""

import asyncio
import json
from typing import Any

import pytest
import typer
from conformance_forwarder import KEY, Faults, forwarding, without
from typer.testing import CliRunner

from ai_platform.cli.conformance import conformance
from ai_platform.conformance.spawn import NotStarted, spawned

pytestmark = pytest.mark.anyio


async def command(*arguments: str) -> Any:
    app = typer.Typer()
    app.command()(conformance)
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


async def test_a_black_box_is_scored_and_the_skipped_cases_are_named(upstream: str) -> None:
    async with forwarding(upstream) as url:
        done = await command(url, "--key", KEY)
    assert done.exit_code == 0
    assert "100 %" in done.output
    assert "skipped body-small: needs upstream" in done.output


async def test_a_lost_point_is_explained_and_the_exit_code_tells(upstream: str) -> None:
    async with forwarding(upstream, Faults(unauthenticated=())) as url:
        done = await command(url, "--key", KEY, "--only", "access-*")
        lenient = await command(url, "--key", KEY, "--only", "access-*", "--at-least", "50")
    assert done.exit_code == 1
    assert "FAILED access-missing" in done.output
    assert "why it matters: " in done.output
    assert lenient.exit_code == 0


async def test_json_holds_the_whole_report(upstream: str) -> None:
    async with forwarding(upstream) as url:
        done = await command(url, "--key", KEY, "--json", "--only", "endpoint-*")
    report = json.loads(done.stdout)
    assert (report["score"], report["passed"], report["url"]) == (100, 6, url)


async def test_the_commands_own_upstream_records(free_port: int) -> None:
    fault = Faults(fields=without(b"x-app"))
    async with forwarding(f"http://127.0.0.1:{free_port}", fault) as url:
        done = await command(url, "--key", KEY, "--own-upstream", str(free_port), "--only", "header-*", "--json")
    failed = [case["id"] for case in json.loads(done.stdout)["cases"] if case["verdict"] == "failed"]
    assert failed == ["header-claude-code"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "Name the gateway's address"),
        (("http://127.0.0.1:1",), "--key"),
        (("127.0.0.1:8080", "--key", "k"), "not an http"),
    ],
)
async def test_wrong_use_is_explained(arguments: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)
    done = await command(*arguments)
    assert done.exit_code == 2
    assert says in done.output


async def test_a_port_in_use_is_explained(upstream: str) -> None:
    port = upstream.rpartition(":")[2]
    done = await command("http://127.0.0.1:1", "--key", "k", "--own-upstream", port)
    assert done.exit_code == 1
    assert "cannot listen" in done.output


async def test_a_gateway_that_does_not_start_is_reported_with_what_it_printed() -> None:
    with pytest.raises(NotStarted, match="--no-such-option"):
        async with spawned("http://127.0.0.1:1", more=["--no-such-option"]):
            pass


@pytest.mark.requirement("CC-9", "CC-4", "CC-5", "CC-6")
async def test_this_platform_passes_every_case() -> None:
    done = await command("--spawn", "--json")
    report = json.loads(done.stdout)
    assert [(case["id"], case["detail"]) for case in report["cases"] if case["verdict"] == "failed"] == []
    assert (report["score"], report["skipped"]) == (100, 1)
