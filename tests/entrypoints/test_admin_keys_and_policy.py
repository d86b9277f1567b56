"""The admin endpoints of keys and policy, over HTTP as a client sees them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ai_platform.domain.permission import Permission
from ai_platform.entrypoints.admin.keys import endpoints as key_endpoints
from ai_platform.entrypoints.admin.policy import endpoints as policy_endpoints
from ai_platform.entrypoints.admin.router import AdminRouter
from ai_platform.identity import Authenticator, Keys
from ai_platform.policy import PolicyStore
from ai_platform.policy.settings import PolicySettings
from ai_platform.stores.postgres import Database
from ai_platform.testing import FakeClock, MemoryTrail

pytestmark = pytest.mark.anyio

PEPPER = b"p" * 32


class Admin:
    def __init__(self, database: Database, clock: FakeClock, folder: Path) -> None:
        self.file = folder / "policies" / "enterprise.yaml"
        self.file.parent.mkdir()
        self.file.write_text("version: '3'\nusage_limits: {per_user: {requests_per_hour: 7}}")
        self.store = PolicyStore(PolicySettings(), folder, clock=clock, folder=folder)
        authenticator = Authenticator(database, pepper=PEPPER, roles=self.store, clock=clock)
        self.keys = Keys(database, pepper=PEPPER, roles=self.store, clock=clock, forget=authenticator.forget)
        endpoints = [*key_endpoints(self.keys), *policy_endpoints(self.store)]
        self.router = AdminRouter(endpoints, identity=authenticator, trail=MemoryTrail(), clock=clock)
        self.http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.router), base_url="http://platform")
        self.key = ""

    async def call(self, method: str, path: str, body: Any = None, *, key: str | None = None) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {self.key if key is None else key}"}
        response = await self.http.request(method, path, json=body, headers=headers)
        return response.status_code, response.json()


@pytest.fixture
async def admin(database: Database, clock: FakeClock, tmp_path: Path) -> AsyncIterator[Admin]:
    admin = Admin(database, clock, tmp_path)
    admin.key = await admin.keys.ensure_admin_key() or ""
    async with admin.http:
        yield admin


@pytest.mark.requirement("ID-3")
async def test_a_key_is_made_shown_once_listed_and_revoked(admin: Admin):
    status, made = await admin.call(
        "POST", "/admin/keys", {"name": "ann", "email": "a@b.c", "scopes": ["model:claude-*"], "expires": "90d"}
    )
    assert status == 200
    assert made["key"].startswith("aip_")
    assert (made["status"], made["roles"], made["expires_at"][:10]) == ("active", ["developer"], "2027-02-20")
    status, listed = await admin.call("GET", "/admin/keys")
    assert status == 200
    assert {key["name"] for key in listed} == {"admin", "ann"}
    assert made["key"] not in str(listed)
    assert (await admin.call("GET", "/admin/whoami", key=made["key"]))[1]["email"] == "a@b.c"
    status, revoked = await admin.call("DELETE", f"/admin/keys/{made['id']}")
    assert (status, revoked["status"]) == (200, "revoked")
    status, error = await admin.call("GET", "/admin/whoami", key=made["key"])
    assert status == 401
    assert "was revoked on" in error["error"]["message"]
    assert len((await admin.call("GET", "/admin/keys"))[1]) == 1
    assert len((await admin.call("GET", "/admin/keys?all=1"))[1]) == 2


@pytest.mark.requirement("ID-2", "ID-3")
async def test_every_route_refuses_a_key_without_its_permission(admin: Admin):
    for endpoint in admin.router.endpoints:
        others = [permission.value for permission in Permission if permission is not endpoint.permission]
        name = f"without {endpoint.permission.value}"
        _, made = await admin.call(
            "POST",
            "/admin/keys",
            {
                "name": f"{name} {endpoint.method} {endpoint.path.replace('/', ' ')}"[:100],
                "roles": ["admin"],
                "scopes": others,
            },
        )
        status, error = await admin.call(endpoint.method, endpoint.path.format(id="x"), key=made["key"])
        assert status == 403, endpoint
        assert endpoint.permission.value in error["error"]["message"]
        status, _ = await admin.call(endpoint.method, endpoint.path.format(id="x"), key="")
        assert status == 401


@pytest.mark.requirement("ID-3")
async def test_a_caller_cannot_raise_itself_over_the_api(admin: Admin):
    scopes = [Permission.KEYS_WRITE.value, Permission.CLAUDE_INVOKE.value]
    _, made = await admin.call("POST", "/admin/keys", {"name": "clerk", "roles": ["admin"], "scopes": scopes})
    status, error = await admin.call("POST", "/admin/keys", {"name": "boss", "roles": ["admin"]}, key=made["key"])
    assert status == 403
    assert "A key cannot be allowed more than the key that makes it" in error["error"]["message"]
    body = {"name": "peer", "roles": ["admin"], "scopes": scopes}
    assert (await admin.call("POST", "/admin/keys", body, key=made["key"]))[0] == 200


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "missing required field `name`"),
        ({"name": "a", "rolls": []}, "unknown field `rolls`"),
        ({"name": "a", "kind": "robot"}, "kind"),
        ({"name": "a", "roles": "admin"}, "roles"),
        ({"name": "a", "roles": ["adm"]}, "Did you mean 'admin'?"),
    ],
)
async def test_a_body_that_is_not_usable_is_told_why(admin: Admin, body: Any, says: str):
    status, error = await admin.call("POST", "/admin/keys", body)
    assert status == 400
    assert says in error["error"]["message"]


@pytest.mark.requirement("PO-1")
async def test_the_policy_in_force_is_shown_with_what_is_wrong_with_the_file_now(admin: Admin):
    status, shown = await admin.call("GET", "/admin/policy")
    assert status == 200
    assert shown["version"] == admin.store.version
    assert shown["last_error"] is None
    assert {
        "rule": "usage_limits.per_user",
        "effect": "7 requests in any hour",
        "status": "enforced",
        "where": "",
    } in shown["rules"]
    assert shown["roles"]["admin"] == ["*"]
    admin.file.write_text("versio: 4")
    admin.store.check_now()
    _, shown = await admin.call("GET", "/admin/policy")
    assert "Did you mean 'version'?" in shown["last_error"]
    assert shown["failures"] == 1


@pytest.mark.requirement("PO-1")
async def test_a_policy_text_is_checked_without_taking_it(admin: Admin):
    status, good = await admin.call("POST", "/admin/policy/check", {"text": "version: '9'"})
    assert (status, good["ok"], good["version"][:2]) == (200, True, "9+")
    _, bad = await admin.call("POST", "/admin/policy/check", {"text": "a: 1\nversio: 2\n"})
    assert not bad["ok"]
    assert [(problem["line"], problem["column"], problem["suggestion"]) for problem in bad["problems"]] == [
        (1, 1, None),
        (2, 1, "version"),
    ]
    assert bad["problems"][1]["excerpt"] == "versio: 2\n^"
    assert (await admin.call("POST", "/admin/policy/check", {}))[0] == 400
    text = "security: {access_control: {authorization: {roles_file: /etc/passwd}}}"
    assert (await admin.call("POST", "/admin/policy/check", {"text": text}))[1]["ok"]
    assert admin.store.version.startswith("3+")
