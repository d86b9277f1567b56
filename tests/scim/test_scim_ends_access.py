"""What the identity provider takes away is gone everywhere: two platforms on one database, the groups of sign-in."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from scim2_server.handler import AsyncScimHandler
from scim2_server.requests import ScimRequest
from scim2_server.service import ScimService
from scim_site import CONFIG, Idp, new_key, person, scim_key, site

from ai_platform.directory.groups import ProvisionedGroups
from ai_platform.domain.errors import Denied
from ai_platform.policy import Roles
from ai_platform.scim.service import provider_of
from ai_platform.scim.settings import ScimSettings
from ai_platform.scim.storage import Change, Listener, TenantStorage
from ai_platform.sso import SignOn, SsoSettings
from ai_platform.sso.devices import Request
from ai_platform.sso.grants import Ended, Refreshed
from ai_platform.sso.mapping import Said
from ai_platform.sso.settings import GroupRule, ProviderSettings
from ai_platform.sso.signon import Keys
from ai_platform.stores.postgres import Database
from ai_platform.testing import FakeClock
from ai_platform.testing.postgres import FreshDatabase
from platform_process import PlatformProcess, running, until
from replicas import message, replicas
from upstream_process import webhook

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("ID-4")]
CORP = ProviderSettings(
    name="corp",
    issuer="https://idp.example",
    client_id="x",
    groups=(GroupRule(group="engineering", roles=("developer",), team="web"),),
)


class Streaming(threading.Thread):
    """Reads a long answer until it ends."""

    def __init__(self, platform: PlatformProcess, key: str) -> None:
        super().__init__(daemon=True)
        self._client = platform.http(key)
        self.events = 0

    def run(self) -> None:
        prompt = [{"role": "user", "content": "[[long:100000]] [[pace:20]]"}]
        body = {"model": "claude-sonnet-5-5", "max_tokens": 64000, "stream": True, "messages": prompt}
        with self._client as client, client.stream("POST", "/v1/messages", json=body) as answer:
            for _ in answer.iter_lines():
                self.events += 1


@pytest.mark.parametrize("way", ["delete", "deactivate"])
def test_an_end_at_the_identity_provider_is_one_on_every_replica(own_database: FreshDatabase, tmp_path: Path, way: str):
    with replicas(tmp_path, own_database, config=CONFIG) as (first, second):
        idp = Idp(first, scim_key(first))
        made = idp.user("ann@example.com")
        key = new_key(first, name="laptop", email="ann@example.com")
        for platform in (first, second):
            assert message(platform, key).status_code == 200
        answers = [Streaming(platform, key) for platform in (first, second)]
        for answer in answers:
            answer.start()
        until(lambda: all(answer.events > 5 for answer in answers))
        if way == "delete":
            assert idp.send("DELETE", f"/Users/{made['id']}").status_code == 204
        else:
            assert idp.patch(f"/Users/{made['id']}", {"op": "replace", "path": "active", "value": False}).is_success
        for answer in answers:
            answer.join(timeout=20)
            assert not answer.is_alive(), "an answer under way is cut"
        for platform in (first, second):
            until(lambda platform=platform: message(platform, key).status_code == 401)
            assert person(platform, "ann@example.com")["state"] == ("removed" if way == "delete" else "suspended")


def test_who_loses_the_last_admin_key_to_the_directory_is_told_and_gets_another_at_the_next_start(tmp_path: Path):
    with webhook() as (address, alerts):
        config = f"{CONFIG}alerts: {{webhooks: [{{name: security, url: '{address}'}}]}}\n"
        with site(tmp_path, config) as platform:
            idp = Idp(platform, scim_key(platform))
            boss, deputy = (idp.user(f"{name}@example.com") for name in ("boss", "deputy"))
            key = new_key(platform, name="boss", email="boss@example.com", roles=["admin"])
            new_key(platform, name="deputy", email="deputy@example.com", roles=["admin"])
            new_key(platform, key, name="ann", email="ann@example.com")
            theirs = person(platform, "boss@example.com")["id"]
            with platform.http(key) as client:
                assert client.delete("/admin/keys/admin").status_code == 200
            for one in (idp.user("ann@example.com"), deputy):
                assert idp.send("DELETE", f"/Users/{one['id']}").status_code == 204
            assert idp.patch(f"/Users/{boss['id']}", {"op": "replace", "path": "active", "value": False}).is_success
            (told,) = until(lambda: [each for each in alerts if each["kind"] == "last_admin_key_ended"])
            assert (told["severity"], told["person"]) == ("critical", theirs)
        with running(tmp_path / "data") as platform, platform.http() as client:
            assert client.get("/admin/keys").status_code == 200, "the start made another admin key"


class Directory:
    """Provisioning and sign-in over one database, in this process."""

    def __init__(self, database: Database, clock: FakeClock) -> None:
        roles: Any = _Book()
        self.signon = SignOn(
            SsoSettings(providers=(CORP,)),
            database,
            keys=Keys(b"p" * 32, b"s" * 32, b"t" * 32),
            url="http://p",
            roles=roles,
            clock=clock,
            environ={},
            provisioned=ProvisionedGroups(database),
        )
        self.changes: list[Change] = []
        self.provider = provider_of(ScimSettings())
        self.storage = TenantStorage(
            database, "default", self.provider, clock=clock, settings=ScimSettings(), listener=_Told(self)
        )

    def kind(self, name: str) -> Any:
        return next(kind for kind in self.provider.resource_types if kind.name == name)

    async def add(self, name: str, **fields: Any) -> Any:
        with self.provider:
            model: Any = self.provider.model_for(name)
            return await self.storage.create(self.kind(name), model.model_validate(fields))

    async def change(self, name: str, resource: Any, **fields: Any) -> Any:
        with self.provider:
            model: Any = self.provider.model_for(name)
            whole = model.model_validate(resource.model_dump() | fields)
            return await self.storage.update(self.kind(name), whole)

    async def person(self, email: str, *, vouched: bool = True, groups: frozenset[str] = frozenset()) -> Any:
        said = Said(
            subject=f"sub of {email}",
            email=email,
            vouched=vouched,
            name="Ann",
            groups=groups,
            team=None,
            region=None,
            tenant=None,
            values={},
        )
        return await self.signon._person(CORP, said)


class _Book:
    version = "1"

    def permissions(self, roles: Any) -> frozenset[str]:
        return Roles({}).permissions(roles)

    def role_names(self) -> tuple[str, ...]:
        return Roles({}).names()


class _Told(Listener):
    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def done(self, changes: Any) -> None:
        self._directory.changes += changes

    async def mapped(self, group: str) -> bool:
        return await self._directory.signon.rules.give(group, "default")


@pytest.fixture
async def directory(database: Database, clock: FakeClock) -> Any:
    made = Directory(database, clock)
    yield made
    await made.signon.close()


@pytest.mark.requirement("ID-2")
async def test_provisioned_groups_give_roles_by_the_rules_of_sign_in(directory: Directory):
    with pytest.raises(Denied):
        await directory.person("ann@example.com")
    ann = await directory.add("User", userName="ann@example.com")
    await directory.add("Group", displayName="engineering", members=[{"value": ann.id}])
    found = await directory.person("ann@example.com")
    assert (found.roles, found.team) == (("developer",), "web")
    with pytest.raises(Denied):
        await directory.person("ann@example.com", vouched=False)
    with pytest.raises(Denied):
        await directory.person("bob@example.com")


async def test_who_loses_a_group_that_gave_something_signs_in_again(directory: Directory):
    ann = await directory.add("User", userName="ann@example.com")
    group = await directory.add("Group", displayName="engineering", members=[{"value": ann.id}])
    other = await directory.add("Group", displayName="choir", members=[{"value": ann.id}])
    account = await directory.signon.people.account_of(await directory.person("ann@example.com"))
    begun = await directory.signon.grants.begin(account, Request())
    await directory.change("Group", other, members=None)
    assert isinstance(await directory.signon.grants.rotate(begun.refresh_token), Refreshed), "it gave nothing"
    begun = await directory.signon.grants.begin(account, Request())
    group = await directory.change("Group", group, members=None)
    assert await directory.signon.grants.look(begun.refresh_token) is Ended.REVOKED
    group = await directory.change("Group", group, members=[{"value": ann.id}])
    begun = await directory.signon.grants.begin(account, Request())
    await directory.change("Group", group, displayName="former engineers")
    assert await directory.signon.grants.look(begun.refresh_token) is Ended.REVOKED, "the name gave it"


async def test_a_change_that_cannot_be_recorded_is_not_made(directory: Directory, database: Database):
    class Deaf(Listener):
        async def recording(self, changes: Any) -> None:
            assert changes
            raise RuntimeError("the trail is away")

    directory.storage._listener = Deaf()
    with pytest.raises(RuntimeError):
        await directory.add("User", userName="ann@example.com")
    assert await database.within("default").fetchval("SELECT count(*) FROM principals") == 0


async def test_many_changes_of_one_group_at_once_lose_nothing(
    database: Database, clock: FakeClock, directory: Directory
):
    """As a directory sends them: each adds one member to what it reads, none says which version it means."""
    users = [await directory.add("User", userName=f"u{number}") for number in range(12)]
    group = await directory.add("Group", displayName="crowd")
    service = ScimService(directory.provider)

    async def join(user: Any) -> int:
        storage = TenantStorage(database, "default", directory.provider, clock=clock, settings=ScimSettings())
        operation = {"op": "add", "path": "members", "value": [{"value": user.id}]}
        schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]
        body = json.dumps({"schemas": schemas, "Operations": [operation]}).encode()
        request = ScimRequest("PATCH", "http://p", f"/Groups/{group.id}", body=body)
        return int((await AsyncScimHandler(service, storage).handle(request)).status)

    statuses = await asyncio.gather(*map(join, users))
    assert set(statuses) <= {200, 204}
    stored = await directory.storage.get(directory.kind("Group"), group.id)
    assert {member.value for member in stored.members} == {user.id for user in users}
