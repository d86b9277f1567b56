"""Every admin route from another tenant, over HTTP, against a platform that runs: it finds nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from platform_process import PlatformProcess, running, until
from replicas import Admin, message

SHARED = {
    "/admin/policy": "the policy is the operator's, one for all",
    "/admin/policy/check": "reads nothing",
    "/admin/audit/key": "the public key of the log",
    "/admin/routes": "the table of the API",
    "/admin/whoami": "the caller",
    "/admin/usage/standing": "the caller's own",
}
"""Routes that say the same to everybody, or speak of the caller only."""


class World:
    """acme has people, keys, a team, spend and events; zeta has an administrator and nothing else."""

    def __init__(self, platform: PlatformProcess) -> None:
        self.platform = platform
        self.operator = Admin(platform)
        self.acme_key = self.operator.post("/admin/tenants", {"name": "acme", "title": "Acme Inc."})["key"]
        self.zeta_key = self.operator.post("/admin/tenants", {"name": "zeta"})["key"]
        self.acme, self.zeta = Admin(platform, self.acme_key), Admin(platform, self.zeta_key)
        made = self.acme.post(
            "/admin/keys", {"name": "secret-laptop", "email": "ann@acme.example", "team": "rockets", "project": "moon"}
        )
        self.ann = made["key"]
        assert message(platform, self.ann).status_code == 200
        person = self.acme.get("/admin/people/ann@acme.example")
        event = self.acme.get("/admin/audit/events", what="claude_chat_response")["events"][0]
        self.names = {
            "person": person["id"],
            "email": "ann@acme.example",
            "key": made["id"],
            "key name": "secret-laptop",
            "team": "rockets",
            "project": "moon",
            "event": event["event_id"],
            "tenant": "acme",
        }
        self.routes = self.operator.get("/admin/routes")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("tenants") / "data") as platform:
        yield World(platform)


def paths(world: World, route: dict[str, Any]) -> list[str]:
    """The route with each name of acme in the place of its parameters."""
    if "{" not in route["path"]:
        return [route["path"]]
    return [
        route["path"].replace("{id}", one).replace("{person}", world.names["email"]) for one in world.names.values()
    ]


def said(world: World, route: dict[str, Any], path: str, answer: httpx2.Response | None = None) -> tuple[int, str]:
    """Status and sentence, without the name that was asked for; without an answer, of a name that exists nowhere."""
    values = dict(zip(*(one.split("/") for one in (route["path"], path)), strict=True))
    names = {name: value for name, value in values.items() if name.startswith("{")}
    if answer is None:
        names = dict.fromkeys(names, "exists-nowhere")
        where = route["path"].format(**{name.strip("{}"): value for name, value in names.items()})
        body = {"person": world.names["email"]} if "members" in path else None
        answer = world.zeta.call(route["method"], where, body)
    sentence = answer.json()["error"]["message"]
    for value in sorted(names.values(), key=len, reverse=True):
        sentence = sentence.replace(value, "...")
    return answer.status_code, sentence


def assert_own(text: str) -> None:
    """Every event is zeta's, whether it comes as a list or as lines."""
    found = [json.loads(line) for line in text.splitlines()]
    events = [event for one in found for event in one.get("events", [one])]
    assert {event["tenant"] for event in events} <= {"zeta"}


@pytest.mark.requirement("ID-5", "ID-2")
def test_every_route_needs_a_permission_and_a_credential(world: World):
    """The table of the running platform: a route without a guard would answer here."""
    assert len(world.routes) >= 25
    with world.platform.http() as client:
        client.headers.pop("authorization")
        for route in world.routes:
            for path in paths(world, route)[:1]:
                assert client.request(route["method"], path).status_code == 401, route
    nothing = world.acme.post(
        "/admin/keys",
        {"name": "may-nothing", "kind": "service", "scopes": ["code:pull_request:approve"], "roles": ["reviewer"]},
    )
    nobody = Admin(world.platform, nothing["key"])
    for route in world.routes:
        answer = nobody.call(route["method"], paths(world, route)[0])
        assert answer.status_code == 403, (route, answer.text)
        assert route["permission"] in answer.text


@pytest.mark.requirement("ID-5")
def test_another_tenants_administrator_finds_nothing(world: World):
    for route in world.routes:
        if route["path"] in SHARED:
            continue
        for path in paths(world, route):
            answer = world.zeta.call(
                route["method"], path, {"person": world.names["email"]} if "members" in path else None
            )
            if route["permission"].startswith("platform:") or "the operator's" in answer.text:
                assert answer.status_code == 403, (route, answer.text)
            elif "{" in route["path"]:
                assert answer.status_code in {400, 404}, (route["method"], path, answer.text)
                assert said(world, route, path, answer) == said(world, route, path), "as of what exists nowhere"
            elif path == "/admin/access/explain":
                assert answer.status_code == 400, "it asks for a person and an action first"
            elif route["method"] == "GET":
                assert answer.status_code == 200, (path, answer.text)
                if path.startswith("/admin/audit/"):
                    assert_own(answer.text)  # zeta's attempts name what was tried
                    continue
                seen = [name for name in world.names.values() if name in answer.text and name != "acme"]
                assert seen == [], (path, answer.text)
            else:
                assert answer.status_code == 400, (route, answer.text)
    assert message(world.platform, world.ann).status_code == 200, "nothing of acme has changed"
    assert world.acme.get("/admin/people/ann@acme.example")["team"] is None


@pytest.mark.requirement("ID-5")
def test_the_administrator_of_a_tenant_is_not_the_operator(world: World):
    whoami = world.zeta.get("/admin/whoami")
    assert (whoami["tenant"], whoami["permissions"]) == ("zeta", ["*"])
    for method, path in (
        ("GET", "/admin/tenants"),
        ("POST", "/admin/tenants"),
        ("POST", "/admin/tenants/acme/disable"),
        ("POST", "/admin/tenants/acme/admin-key"),
        ("GET", "/admin/audit/verify"),
        ("GET", "/admin/audit/events?all_tenants=1"),
        ("GET", "/admin/audit/export?bundle=1"),
        ("GET", "/admin/audit/tail?all_tenants=1"),
    ):
        assert world.zeta.call(method, path, {"name": "mine"}).status_code == 403, path
    made = world.zeta.post("/admin/keys", {"name": "bold", "roles": ["admin"], "scopes": ["platform:tenants:write"]})
    assert Admin(world.platform, made["key"]).call("POST", "/admin/tenants", {"name": "mine"}).status_code == 403


@pytest.mark.requirement("ID-5")
def test_only_the_operator_enters_another_tenant(world: World):
    inside = Admin(world.platform, x_ai_platform_tenant="acme")
    assert {key["name"] for key in inside.get("/admin/keys")} >= {"secret-laptop"}
    assert inside.call("GET", "/admin/tenants").status_code == 403, "inside, the operator is of that tenant"
    for tenant in ("acme", "nowhere"):
        refused = Admin(world.platform, world.zeta_key, x_ai_platform_tenant=tenant).call("GET", "/admin/keys")
        assert refused.status_code == 403
    assert Admin(world.platform, x_ai_platform_tenant="nowhere").call("GET", "/admin/keys").status_code == 404
    inside.post("/admin/keys", {"name": "by-the-operator"})
    events = world.acme.get("/admin/audit/events", what="admin_action")["events"]
    assert any(event["action"] == "POST /admin/keys" and event["tenant"] == "acme" for event in events)


@pytest.mark.requirement("ID-5")
def test_a_tenant_cannot_be_set_from_outside(world: World):
    body = {"name": "hopper", "tenant": "zeta"}
    assert world.acme.call("POST", "/admin/keys", body).status_code == 400
    assert world.acme.call("GET", "/admin/keys", tenant="zeta").json() == world.acme.get("/admin/keys")
    for query in ("/admin/usage?tenant=zeta", "/admin/people?team=x'%20OR%20'1'='1"):
        answer = world.acme.call("GET", query)
        assert answer.status_code == 400 or answer.json() == []


@pytest.mark.requirement("ID-5")
def test_the_same_names_in_two_tenants_share_nothing(world: World):
    """In tenants of their own: zeta must stay without an Ann."""
    here, there = (
        Admin(world.platform, world.operator.post("/admin/tenants", {"name": name})["key"])
        for name in ("twin-here", "twin-there")
    )
    body = {"name": "secret-laptop", "email": "ann@acme.example", "team": "rockets", "project": "moon"}
    stays, ends = (one.post("/admin/keys", body)["key"] for one in (here, there))
    assert [message(world.platform, key).status_code for key in (stays, ends)] == [200, 200]
    ann, twin = (one.get("/admin/people/ann@acme.example") for one in (here, there))
    assert ann["id"] != twin["id"]
    there.delete("/admin/people/ann@acme.example")
    until(lambda: message(world.platform, ends).status_code == 401, within=5)
    assert message(world.platform, stays).status_code == 200
    for one in (here, there):
        assert [row["name"] for row in one.get("/admin/teams")] == ["rockets"]
        assert one.get("/admin/usage", by="team")["rows"][0]["group"] == "rockets"


@pytest.mark.requirement("ID-5")
def test_a_disabled_tenant_is_refused_and_comes_back(world: World):
    key = world.operator.post("/admin/tenants", {"name": "brief"})["key"]
    brief = Admin(world.platform, key)
    assert brief.get("/admin/whoami")["tenant"] == "brief"
    assert world.operator.post("/admin/tenants/brief/disable")["disabled_at"]
    refused = brief.call("GET", "/admin/whoami")
    assert (refused.status_code, "is disabled" in refused.text) == (401, True)
    assert message(world.platform, key).status_code == 401
    world.operator.post("/admin/tenants/brief/enable")
    until(lambda: brief.call("GET", "/admin/whoami").status_code == 200, within=5)
    assert world.operator.call("POST", "/admin/tenants/default/disable").status_code == 400


@pytest.mark.requirement("ID-5")
def test_the_command_line_of_tenants(world: World, tmp_path: Path):
    platform = world.platform
    made = platform.json("tenants", "create", "cli-made", "--title", "By the command line")
    assert made["key"].startswith("aip_")
    again = platform.run("tenants", "admin-key", "cli-made", "--quiet").strip()
    until(lambda: Admin(platform, made["key"]).call("GET", "/admin/whoami").status_code == 401, within=5)
    assert Admin(platform, again).get("/admin/whoami")["tenant"] == "cli-made"
    assert "Disabled cli-made" in platform.run("tenants", "disable", "cli-made")
    shown = platform.run("tenants", "list")
    assert "By the command line" in shown
    assert "disabled" in shown
    platform.run("tenants", "enable", "cli-made")
    platform.run("tenants", "create", "acme", code=1)
    for name in ("Upper", "-x", "a" * 41, "a b", "x;--"):
        platform.run("tenants", "create", "--", name, code=1)
