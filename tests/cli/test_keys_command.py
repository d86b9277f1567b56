"""`ai-platform keys`, `connect --create-key` and `policy show` against a platform that really listens."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvicorn
from click.testing import Result
from typer import Typer
from typer.testing import CliRunner

from ai_platform.cli.connect import app as connect
from ai_platform.cli.keys import app as keys
from ai_platform.cli.policy import app as policy
from ai_platform.domain.call import Client
from ai_platform.domain.principal import Credentials
from ai_platform.entrypoints.admin.keys import endpoints as key_endpoints
from ai_platform.entrypoints.admin.policy import endpoints as policy_endpoints
from ai_platform.entrypoints.admin.router import AdminRouter
from ai_platform.identity import Authenticator, Keys
from ai_platform.policy import PolicyStore
from ai_platform.policy.settings import PolicySettings
from ai_platform.stores.postgres import Database
from ai_platform.testing import FakeClock, MemoryTrail
from ai_platform.testing.eventually import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("CC-8", "ID-3")]


class Running:
    """A platform's admin API on a free port of 127.0.0.1, and a data folder that leads to it."""

    def __init__(self, authenticator: Authenticator, data: Path, url: str) -> None:
        self.authenticator = authenticator
        self.data = data
        self.url = url

    async def run(self, app: Typer, *arguments: str) -> Result:
        command = [*arguments, "--data", str(self.data)]
        return await asyncio.to_thread(CliRunner().invoke, app, command, env={"COLUMNS": "250", "HOME": str(self.data)})

    async def caller(self, key: str):
        return await self.authenticator.authenticate(Credentials(key, "x-api-key"), Client(ip="127.0.0.1"))


@pytest.fixture
async def running(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Running]:
    store = PolicyStore(PolicySettings(), tmp_path, clock=clock, folder=tmp_path)
    authenticator = Authenticator(database, pepper=b"p" * 32, roles=store, clock=clock)
    book = Keys(database, pepper=b"p" * 32, roles=store, clock=clock, forget=authenticator.forget)
    (tmp_path / "admin.key").write_text(f"{await book.ensure_admin_key()}\n")
    routes = [*key_endpoints(book), *policy_endpoints(store)]
    router = AdminRouter(routes, identity=authenticator, trail=MemoryTrail(), clock=clock)
    server = uvicorn.Server(uvicorn.Config(router, port=0, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    (tmp_path / "run.json").write_text(json.dumps({"url": url, "pid": 1}))
    yield Running(authenticator, tmp_path, url)
    server.should_exit = True
    await serving


async def test_a_key_is_created_for_people_programs_and_shells(running: Running):
    shown = await running.run(keys, "create", "ann", "--email", "ann@example.com", "--team", "web", "--expires", "90d")
    assert shown.exit_code == 0
    assert "person ann, roles developer, expires 2027-02-20" in shown.stdout
    assert f"export ANTHROPIC_BASE_URL={running.url}" in shown.stdout
    made = json.loads((await running.run(keys, "create", "ci", "--service", "--role", "reviewer", "--json")).stdout)
    assert {"id", "name", "key", "url"} <= made.keys()
    caller = await running.caller(made["key"])
    assert (caller.kind, caller.roles) == ("service", ("reviewer",))
    quiet = await running.run(keys, "create", "bob", "--quiet", "--scope", "model:claude-haiku-*")
    assert (await running.caller(quiet.stdout.strip())).models == ("claude-haiku-*",)


async def test_keys_are_listed_and_revoked_by_name_or_id(running: Running):
    made = json.loads((await running.run(keys, "create", "ann's laptop", "--json")).stdout)
    listed = await running.run(keys, "list")
    assert "ann's laptop" in listed.stdout
    assert made["key"] not in listed.stdout
    await running.run(keys, "create", "ci", "--service", "--owner", "build", "--scope", "model:claude-haiku-*")
    listed = await running.run(keys, "list")
    assert "ci (service build)" in listed.stdout
    assert "developer: model:claude-haiku-*" in listed.stdout
    await running.run(keys, "revoke", "ci")
    revoked = await running.run(keys, "revoke", "ann's laptop")
    assert revoked.exit_code == 0
    assert f"Revoked ann's laptop ({made['id']})" in revoked.stdout
    assert "ann's laptop" not in (await running.run(keys, "list")).stdout
    everything = json.loads((await running.run(keys, "list", "--all", "--json")).stdout)
    assert {key["name"]: key["status"] for key in everything} == {
        "ann's laptop": "revoked",
        "ci": "revoked",
        "admin": "active",
    }
    assert json.loads((await running.run(keys, "revoke", made["id"], "--json")).stdout)["status"] == "revoked"


async def test_a_mistake_is_one_line_that_says_what_to_do(running: Running):
    result = await running.run(keys, "create", "x", "--role", "develper")
    assert result.exit_code == 1
    assert "There is no role 'develper'. Did you mean 'developer'?" in result.stderr
    result = await running.run(keys, "revoke", "nobody")
    assert result.exit_code == 1
    assert "There is no key 'nobody'" in result.stderr


async def test_without_a_running_platform_the_command_says_how_to_start_one(tmp_path: Path):
    result = await asyncio.to_thread(CliRunner().invoke, keys, ["list", "--data", str(tmp_path)])
    assert result.exit_code == 1
    assert "ai-platform up" in result.stderr


@pytest.mark.requirement("PO-1")
async def test_the_policy_in_force_is_shown(running: Running):
    shown = await running.run(policy, "show")
    assert "Policy built-in+" in shown.stdout
    assert "every detector; critical: blocked" in shown.stdout
    assert json.loads((await running.run(policy, "show", "--json")).stdout)["source"] == "built-in"


async def test_connect_makes_a_key_and_writes_settings_that_work(running: Running):
    result = await running.run(connect, "claude-code", "--create-key", "ann", "--write", "--json")
    assert result.exit_code == 0
    answer = json.loads(result.stdout)
    assert answer["url"] == running.url
    settings = json.loads((running.data / ".claude" / "settings.json").read_text())
    assert settings["env"]["ANTHROPIC_BASE_URL"] == running.url
    assert (await running.caller(settings["env"]["ANTHROPIC_AUTH_TOKEN"])).name == "ann"
