"""The admin API of spending and its commands, over a real ledger and a platform that really listens."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from budget_kit import ADA, a_call, budget_of, of, rule
from click.testing import Result
from msgspec.structs import replace
from typer import Typer
from typer.testing import CliRunner

from ai_platform.budget import Budget, Ledger
from ai_platform.budget.settings import BudgetSettings, Period, Scope
from ai_platform.cli.usage import prices, usage
from ai_platform.domain.decision import Limits
from ai_platform.domain.errors import Denied, InvalidCall
from ai_platform.domain.permission import Permission
from ai_platform.domain.principal import Principal
from ai_platform.domain.usage import Usage
from ai_platform.entrypoints.admin.endpoint import AdminRequest
from ai_platform.entrypoints.admin.router import AdminRouter
from ai_platform.entrypoints.admin.usage import UsageRoutes, endpoints, moment
from ai_platform.identity import Authenticator, Keys
from ai_platform.policy import PolicyStore
from ai_platform.policy.settings import PolicySettings
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.testing import FakeClock, MemoryTrail
from ai_platform.testing.eventually import eventually

pytestmark = pytest.mark.anyio

ADMIN = Principal(id="usr_admin", name="Admin", permissions=frozenset({"*"}))


@pytest.fixture
def ledger(database: Database, system: SystemDatabase) -> Ledger:
    return Ledger(database, system, BudgetSettings(), process="prc_1", slot="here")


@pytest.fixture
def budget(clock: FakeClock) -> Budget:
    return budget_of(clock, rule(Scope.ORG, "50000", Period.MONTH))


@pytest.fixture
def routes(ledger: Ledger, budget: Budget, clock: FakeClock) -> UsageRoutes:
    async def names(ids: Collection[str], *, tenant: str) -> dict[str, str]:
        return {"usr_ada": "Ada"} if "usr_ada" in ids else {}

    return UsageRoutes(ledger, budget, clock, names)


async def spend(
    ledger: Ledger, system: SystemDatabase, clock: FakeClock, micros: int, who: Principal = ADA, *, ago: float = 0.0
) -> None:
    call = a_call(clock, received_at=clock.now() - ago)
    row = ledger.row(
        call=call,
        principal=who,
        usage=Usage(input_tokens=100, output_tokens=10, cache_read_tokens=1, cache_write_5m_tokens=2),
        micros=micros,
        tokens=110,
        target=None,
        at=call.received_at,
        status=200,
        model_served="claude-opus-5-5",
        simulated=True,
    )
    await system.write([row])


def ask(principal: Principal = ADMIN, **params: str) -> AdminRequest:
    return AdminRequest(principal=principal, params=params)


def test_every_route_names_a_permission_and_changes_nothing(ledger: Ledger, budget: Budget, clock: FakeClock) -> None:
    found = {(one.method, one.path): one for one in endpoints(ledger, budget, clock)}
    assert set(found) == {("GET", "/admin/usage"), ("GET", "/admin/usage/standing"), ("GET", "/admin/costs")}
    assert found["GET", "/admin/usage/standing"].permission is Permission.USAGE_READ_OWN
    assert found["GET", "/admin/costs"].permission is found["GET", "/admin/usage"].permission is Permission.USAGE_READ
    assert not any(one.changes for one in found.values())


@pytest.mark.requirement("SP-2")
async def test_usage_has_rows_names_and_a_total(
    routes: UsageRoutes, ledger: Ledger, system: SystemDatabase, clock: FakeClock
) -> None:
    await spend(ledger, system, clock, 1_500_000)
    await spend(ledger, system, clock, 250_000, Principal(id="usr_bob", name="Bob"))
    answer = await routes.usage(ask())
    assert (answer["by"], answer["since"]) == ("person", "2026-11-01T00:00:00Z")
    shown = [(row["group"], row["name"], row["requests"], row["usd"]) for row in answer["rows"]]
    assert shown == [("usr_ada", "Ada", 1, "1.500000"), ("usr_bob", "usr_bob", 1, "0.250000")]
    assert (answer["total"]["requests"], answer["total"]["usd"], answer["total"]["simulated"]) == (2, "1.750000", 2)
    filtered = await routes.usage(ask(by="model", person="usr_bob"))
    assert [(row["name"], row["micros"]) for row in filtered["rows"]] == [("claude-opus-5-5", 250_000)]
    assert filtered["filters"] == {"person": "usr_bob"}


async def test_usage_of_another_tenant_is_not_shown(
    routes: UsageRoutes, ledger: Ledger, system: SystemDatabase, clock: FakeClock
) -> None:
    await spend(ledger, system, clock, 5)
    answer = await routes.usage(ask(replace(ADMIN, tenant="acme")))
    assert answer["rows"] == []
    assert (await routes.costs(ask(replace(ADMIN, tenant="acme"))))["month"]["micros"] == 0


async def test_usage_of_a_period_leaves_the_rest_out(
    routes: UsageRoutes, ledger: Ledger, system: SystemDatabase, clock: FakeClock
) -> None:
    for ago in (0.0, 3 * 86_400.0, 40 * 86_400.0):
        await spend(ledger, system, clock, 1, ago=ago)
    for since, requests in (("today", 1), ("24h", 1), ("4d", 2), ("month", 2), ("6w", 3), ("2026-01-01", 3)):
        assert (await routes.usage(ask(since=since)))["total"]["requests"] == requests
    assert (await routes.usage(ask(since="6w", until="2026-11-01")))["total"]["requests"] == 1


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"by": "colour"}, "by='colour' is not one of person, team"),
        ({"since": "yesteryear"}, "since='yesteryear' is no time"),
        ({"until": "0001-01-01"}, "outside"),
        ({"limit": "0"}, "limit='0' is not a number from 1"),
        ({"limit": "9" * 50}, "is not a number"),
        ({"persn": "x"}, "Unknown parameter 'persn'"),
    ],
)
async def test_a_wrong_parameter_is_explained(routes: UsageRoutes, params: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidCall, match=message):
        await routes.usage(ask(**params))


def test_moments_are_read_as_people_write_them(clock: FakeClock) -> None:
    now = clock.now()
    assert moment("now", now, "since") == now
    assert moment("2h", now, "since") == now - 7200
    assert moment("2026-11-22T13:00:00+01:00", now, "since") == now
    assert moment("2026-11-22T12:00:00", now, "since") == now


@pytest.mark.requirement("SP-3")
async def test_costs_show_today_month_projection_people_and_budget(
    routes: UsageRoutes, ledger: Ledger, system: SystemDatabase, clock: FakeClock, budget: Budget
) -> None:
    for day in range(22):
        await spend(ledger, system, clock, 1_000_000, ago=day * 86_400.0)
    await budget.load(system)
    costs = await routes.costs(ask())
    assert (costs["today"]["usd"], costs["month"]["usd"]) == ("1.000000", "22.000000")
    projection = costs["projection"]
    assert (projection["days_elapsed"], projection["days_in_month"], projection["basis_days"]) == (21.5, 30, 21)
    assert projection["usd"] == "30.697674"  # 22 / 21.5 x 30
    assert float(projection["low_usd"]) <= 30.697674 <= float(projection["high_usd"])
    assert [(row["name"], row["usd"]) for row in costs["top_users"]] == [("Ada", "22.000000")]
    assert costs["budget"] == {
        "rule": "budgets.org.month",
        "unit": "usd",
        "scope": "org",
        "period": "month",
        "hard": True,
        "resets_at": "2026-12-01T00:00:00Z",
        "limit": "50000.000000",
        "spent": "22.000000",
        "held": "0.000000",
        "left": "49978.000000",
    }


async def test_costs_without_a_budget_say_so(ledger: Ledger, clock: FakeClock) -> None:
    routes = UsageRoutes(ledger, budget_of(clock), clock, None)
    costs = await routes.costs(ask())
    assert costs["budget"] is None
    assert costs["projection"]["high_usd"] is None


@pytest.mark.requirement("SP-3")
async def test_a_caller_sees_where_they_stand(routes: UsageRoutes, budget: Budget, clock: FakeClock) -> None:
    limits = Limits(user_requests_per_hour=3, user_tokens_per_day=1000)
    async with budget.hold(ADA, a_call(clock), limits, of(700, 400)):
        answer = await routes.standing(ask(ADA))
    assert (answer["person"], answer["team"]) == ("usr_ada", "payments")
    by_unit = {(row["unit"], row["period"]): row for row in answer["limits"]}
    assert by_unit["requests", "hour"] | {"rule": ""} == {
        "rule": "",
        "unit": "requests",
        "scope": "user",
        "period": "hour",
        "hard": True,
        "resets_at": None,
        "limit": 3,
        "spent": 1,
        "held": 0,
        "left": 2,
    }
    assert (by_unit["tokens", "day"]["held"], by_unit["tokens", "day"]["left"]) == (400, 600)


async def test_another_persons_standing_needs_the_permission(
    routes: UsageRoutes, budget: Budget, clock: FakeClock
) -> None:
    async with budget.hold(ADA, a_call(clock), Limits(), of(1, 1)):
        pass
    assert (await routes.standing(ask(person="usr_ada")))["person"] == "usr_ada"
    with pytest.raises(Denied, match="spend:usage:read"):
        await routes.standing(ask(Principal(id="usr_bob", name="Bob"), person="usr_ada"))
    with pytest.raises(InvalidCall, match="No call of 'usr_zoe'"):
        await routes.standing(ask(person="usr_zoe"))
    with pytest.raises(InvalidCall, match="No call of 'usr_ada'"):
        await routes.standing(ask(replace(ADMIN, tenant="acme"), person="usr_ada"))


def command(function: Any) -> Typer:
    app = Typer()
    app.command()(function)
    return app


@pytest.fixture
async def platform(
    database: Database, ledger: Ledger, budget: Budget, clock: FakeClock, tmp_path: Path
) -> AsyncIterator[Path]:
    """The data folder of a platform whose admin API listens on a free port."""
    roles = PolicyStore(PolicySettings(), tmp_path, clock=clock, folder=tmp_path)
    authenticator = Authenticator(database, pepper=b"p" * 32, roles=roles, clock=clock)
    keys = Keys(database, pepper=b"p" * 32, roles=roles, clock=clock, forget=authenticator.forget)
    (tmp_path / "admin.key").write_text(f"{await keys.ensure_admin_key()}\n")
    routes = endpoints(ledger, budget, clock)
    router = AdminRouter(routes, identity=authenticator, trail=MemoryTrail(), clock=clock)
    server = uvicorn.Server(uvicorn.Config(router, port=0, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    (tmp_path / "run.json").write_text(json.dumps({"url": url, "pid": 1}))
    yield tmp_path
    server.should_exit = True
    await serving


async def run(function: Any, data: Path | None, *arguments: str) -> Result:
    where = ["--data", str(data)] if data else []
    return await asyncio.to_thread(
        CliRunner().invoke, command(function), [*arguments, *where], env={"COLUMNS": "200", "AI_PLATFORM_URL": None}
    )


async def test_the_usage_command_shows_a_table_with_a_total(
    platform: Path, ledger: Ledger, system: SystemDatabase, clock: FakeClock
) -> None:
    await spend(ledger, system, clock, 1_500_000)
    await spend(ledger, system, clock, 250_000, Principal(id="usr_bob", name="Bob"))
    shown = await run(usage, platform, "--since", "2026-11-01")
    assert shown.exit_code == 0, shown.output
    assert "Usage by person" in shown.stdout
    assert "usr_ada" in shown.stdout
    assert "1.750000" in shown.stdout
    assert "2 calls answered by the simulated upstream" in shown.stdout
    answer = json.loads((await run(usage, platform, "--by", "team", "--team", "payments", "--json")).stdout)
    assert [(row["group"], row["usd"]) for row in answer["rows"]] == [("payments", "1.500000")]


async def test_the_usage_command_helps_when_there_is_nothing_to_show(platform: Path) -> None:
    shown = await run(usage, platform)
    assert shown.exit_code == 0
    assert "ai-platform connect claude-code" in shown.stdout


async def test_the_usage_command_explains_a_wrong_period(platform: Path) -> None:
    shown = await run(usage, platform, "--since", "yesteryear")
    assert shown.exit_code == 1
    assert "is no time" in shown.stderr


async def test_the_usage_command_explains_that_no_platform_runs(tmp_path: Path) -> None:
    shown = await run(usage, tmp_path)
    assert shown.exit_code == 1
    assert "ai-platform up" in shown.stderr


@pytest.mark.requirement("SP-1")
async def test_the_prices_command_lists_the_book_and_prices_a_call(tmp_path: Path) -> None:
    listed = await run(prices, None)
    assert "claude-haiku-5-5 >100,000" in listed.stdout
    assert "us inference x1.1" in listed.stdout
    book = json.loads((await run(prices, None, "--json")).stdout)
    assert {"ref", "input", "source", "checked"} <= book["rows"][0].keys()
    call = ["--model", "claude-opus-5-5", "--input", "1000", "--output", "500", "--cache-read", "90000"]
    one = json.loads((await run(prices, None, *call, "--geo", "us", "--searches", "2", "--json")).stdout)
    assert (one["usd"], one["micros"], one["unknown"]) == ("0.055200", 55_200, False)
    assert [line["cost_usd"] for line in one["lines"]] == ["0.004400", "0.011000", "0.019800", "0.020000"]
    shown = await run(prices, None, *call)
    assert "claude-opus-5-5: $0.032000" in shown.stdout
    unknown = await run(prices, None, "--model", "claude-opus-9")
    assert "has no price" in unknown.stdout
    contract = tmp_path / "contract.yaml"
    contract.write_text(
        "rows:\n  - {models: [claude-opus-9], input: 1, output: 1, cache_read: 1, write_5m: 1, write_1h: 1,"
        " source: offer, checked: 2026-11-22}\n"
    )
    own = json.loads((await run(prices, None, "--model", "claude-opus-9", "--file", str(contract), "--json")).stdout)
    assert (own["usd"], own["rows"]) == ("1.000000", ["contract:claude-opus-9@start"])
    assert (await run(prices, None, "--model", "x", "--on", "someday")).exit_code == 2
