"""SCIM over HTTP against a platform that runs: the standard's own tester, Entra's and Okta's ways, and attacks."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server
from scim_site import BULK, CONFIG, ENTERPRISE, GROUP, USER, Idp, new_key, person, scim_key, site

from platform_process import PlatformProcess, until

pytestmark = pytest.mark.requirement("ID-4")
USERS = "/Users"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    with site(tmp_path_factory.mktemp("scim")) as running:
        yield running


@pytest.fixture(scope="module")
def idp(platform: PlatformProcess) -> Idp:
    return Idp(platform, scim_key(platform))


def test_the_standards_tester_finds_nothing_wrong(platform: PlatformProcess):
    key = scim_key(platform, "tester")
    with httpx2.Client(
        base_url=f"{platform.url}/scim/v2", headers={"authorization": f"Bearer {key}"}, trust_env=False, timeout=60
    ) as http:
        results = check_server(SyncSCIMClient(http))
    wrong = [f"{result.title}: {result.reason}" for result in results if result.status is not Status.SUCCESS]
    assert wrong == []
    assert len(results) > 90


def test_entra_creates_changes_groups_and_deactivates(platform: PlatformProcess, idp: Idp):
    """Requests as Microsoft documents them for Entra ID ("Develop and plan provisioning for a SCIM endpoint")."""
    assert idp.find("/Users", filter='userName eq "Test_User_ab6490ee@example.com"') == []
    made = idp.user(
        "Test_User_ab6490ee@example.com",
        schemas=[USER, ENTERPRISE],
        externalId="0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef",
        active=True,
        emails=[{"primary": True, "type": "work", "value": "Test_User_fd0ea19b@example.com"}],
        meta={"resourceType": "User"},
        name={"formatted": "givenName familyName", "familyName": "familyName", "givenName": "givenName"},
        roles=[],
        **{ENTERPRISE: {"department": "bob", "manager": {"value": ""}}},
    )
    ann = person(platform, "test_user_fd0ea19b@example.com")
    assert (ann["name"], ann["state"]) == ("givenName familyName", "active")
    changed = idp.patch(
        f"/Users/{made['id']}",
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "updatedEmail@example.com"},
        {"op": "Replace", "path": "name.familyName", "value": "updatedFamilyName"},
        {"op": "Add", "path": f"{ENTERPRISE}:employeeNumber", "value": "42"},
        {"op": "Add", "path": 'phoneNumbers[type eq "mobile"].value', "value": "+1 555 0100"},
        {"op": "Replace", "path": "unknownExtension", "value": "x"},
        {"op": "Add", "path": f"{ENTERPRISE}:manager", "value": "boss"},
        {"op": "Replace", "value": {'emails[type eq "home"].value': "home@example.com", "title": "Engineer"}},
    )
    assert changed.status_code in {200, 204}, changed.text
    seen = idp.get(f"/Users/{made['id']}")
    assert seen["emails"][0]["value"] == "updatedEmail@example.com"
    assert (seen[ENTERPRISE]["manager"]["value"], seen["title"]) == ("boss", "Engineer")
    assert [one["value"] for one in seen["emails"] if one["type"] == "home"] == ["home@example.com"]
    assert "phoneNumbers" not in seen, "what nobody needs is not kept"
    assert person(platform, "updatedemail@example.com")["id"] == ann["id"], "the same person"

    group = idp.create("/Groups", {"schemas": [GROUP], "displayName": "entra team", "externalId": "8aa1a0c0"})
    members = {"op": "Add", "path": "members", "value": [{"$ref": None, "value": made["id"]}]}
    assert idp.patch(f"/Groups/{group['id']}", members).status_code in {200, 204}
    assert "members" not in idp.find("/Groups", filter='displayName eq "entra team"', excludedAttributes="members")[0]
    filters = f'id eq "{group["id"]}" and members eq "{made["id"]}"'
    assert [one["id"] for one in idp.find("/Groups", filter=filters, attributes="id")] == [group["id"]]
    assert idp.get(f"/Users/{made['id']}")["groups"][0]["value"] == group["id"]
    gone = {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": made["id"]}]}
    assert idp.patch(f"/Groups/{group['id']}", gone).status_code in {200, 204}
    assert "members" not in idp.get(f"/Groups/{group['id']}")

    key = new_key(platform, name="entra-laptop", email="updatedemail@example.com")
    off = idp.patch(f"/Users/{made['id']}", {"op": "Replace", "path": "active", "value": "False"})
    assert off.status_code in {200, 204}, off.text
    with platform.http(key) as client:
        until(lambda: client.get("/v1/models").status_code == 401)
    assert person(platform, "updatedemail@example.com")["state"] == "suspended"
    idp.patch(f"/Users/{made['id']}", {"op": "Replace", "path": "active", "value": "True"})
    assert person(platform, "updatedemail@example.com")["state"] == "active"
    assert idp.send("DELETE", f"/Users/{made['id']}").status_code == 204
    assert idp.send("GET", f"/Users/{made['id']}").status_code == 404
    assert person(platform, ann["id"])["state"] == "removed"


def test_okta_creates_pushes_groups_and_deactivates(platform: PlatformProcess, idp: Idp):
    """Requests as Okta documents them ("SCIM 2.0 protocol reference")."""
    assert idp.find("/Users", filter='userName eq "test.user@okta.local"', startIndex="1", count="100") == []
    made = idp.user(
        "test.user@okta.local",
        name={"givenName": "Test", "familyName": "User"},
        emails=[{"primary": True, "value": "test.user@okta.local", "type": "work"}],
        displayName="Test User",
        locale="en-US",
        externalId="00ujl29u0le5T6Aj10h7",
        groups=[],
        password="1mz050nq",
        active=True,
    )
    assert "password" not in json.dumps(idp.get(f"/Users/{made['id']}"))
    whole = idp.get(f"/Users/{made['id']}") | {"name": {"givenName": "Another", "familyName": "User"}}
    assert idp.send("PUT", f"/Users/{made['id']}", whole).status_code == 200
    group = idp.group("Test SCIMv2", made["id"])
    replaced = {"op": "replace", "value": {"id": group["id"], "displayName": "Test SCIMv2b"}}
    assert idp.patch(f"/Groups/{group['id']}", replaced).status_code in {200, 204}
    assert idp.get(f"/Groups/{group['id']}")["displayName"] == "Test SCIMv2b"
    one = {"op": "remove", "path": f'members[value eq "{made["id"]}"]'}
    two = {"op": "add", "path": "members", "value": [{"value": made["id"], "display": "test.user@okta.local"}]}
    assert idp.patch(f"/Groups/{group['id']}", one, two).status_code in {200, 204}
    assert [member["value"] for member in idp.get(f"/Groups/{group['id']}")["members"]] == [made["id"]]
    off = idp.patch(f"/Users/{made['id']}", {"op": "replace", "value": {"active": False}})
    assert off.status_code in {200, 204}, off.text
    assert person(platform, "test.user@okta.local")["state"] == "suspended"
    assert idp.get(f"/Users/{made['id']}")["active"] is False


def test_a_change_is_in_the_audit_log_with_whom_it_is_about(platform: PlatformProcess, idp: Idp):
    made = idp.user("audited@example.com", displayName="Au Dited")
    idp.send("DELETE", f"/Users/{made['id']}")
    exported = platform.run("audit", "export", "--what", "admin_action", "--who", "audited@example.com").splitlines()
    events = [json.loads(line) for line in exported]
    assert [event["action"] for event in events] == ["scim create", "scim delete"]
    assert events[1]["access_ended"] is True
    assert {event["target"] for event in events} == {made["id"]}


def test_entity_tags_keep_two_changes_apart(idp: Idp):
    made = idp.send("POST", "/Users", {"schemas": [USER], "userName": "tagged"})
    tag, path = made.headers["etag"], f"/Users/{made.json()['id']}"
    assert idp.send("GET", path, if_none_match=tag).status_code == 304
    rename = {"op": "replace", "path": "displayName", "value": "Tagged"}
    assert idp.patch(path, rename, if_match=tag).status_code in {200, 204}
    assert idp.patch(path, rename | {"value": "Late"}, if_match=tag).status_code == 412
    assert idp.send("DELETE", path, if_match=tag).status_code == 412
    assert idp.get(path)["displayName"] == "Tagged"


def test_bulk_requests_refer_to_what_they_made_and_are_bounded(idp: Idp):
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": "a", "data": {"schemas": [USER], "userName": "bulk-a"}},
        {
            "method": "POST",
            "path": "/Groups",
            "bulkId": "g",
            "data": {"schemas": [GROUP], "displayName": "bulk", "members": [{"value": "bulkId:a"}]},
        },
        {"method": "POST", "path": "/Users", "bulkId": "b", "data": {"schemas": [USER], "userName": "bulk-a"}},
        {"method": "DELETE", "path": f"{USERS}/unknown"},
    ]
    answer = idp.send("POST", "/Bulk", {"schemas": [BULK], "Operations": operations})
    assert [one["status"] for one in answer.json()["Operations"]] == ["201", "201", "409", "404"]
    (group,) = idp.find("/Groups", filter='displayName eq "bulk"')
    assert len(group["members"]) == 1
    many = [{"method": "DELETE", "path": f"{USERS}/x"}] * 101
    assert idp.send("POST", "/Bulk", {"schemas": [BULK], "Operations": many}).status_code == 413
    assert idp.send("POST", "/Users", b'{"userName": "' + b"x" * 2**20 + b'"}').status_code == 413


@pytest.mark.parametrize(
    "text",
    [
        "' OR '1'='1",
        "'; DROP TABLE scim_resources; --",
        'x" or userName pr or userName eq "x',
        'x\\" or userName pr',
        "x' UNION SELECT secret_hash FROM keys --",
        "%' OR 1=1 --",
        "$1",
        "x\u0000y",
        "\U0001f600",
    ],
)
@pytest.mark.parametrize("attribute", ["userName", "externalId", "id", "displayName", "emails.value"])
def test_a_filter_is_a_value_and_never_a_statement(idp: Idp, text: str, attribute: str):
    answer = idp.ask("/Users", filter=f"{attribute} eq {json.dumps(text)}")
    assert answer.status_code == 200, answer.text
    assert answer.json()["totalResults"] == 0
    assert idp.user(f"still-there-{uuid.uuid4()}")["id"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("filter=userName%20eq%20", 400),
        ("filter=" + "(" * 3000, 400),
        ("filter=" + "not%20(" * 400 + "userName%20pr" + ")" * 400, 400),
        ("filter=userName%20eq%20%22a%22%20or%20" * 1, 400),
        ("filter=password%20eq%20%22x%22", 400),
        ("filter=tenant%20eq%20%22acme%22", 400),
        ("sortBy=nothing", 400),
        ("startIndex=99999999999999999999&count=1", 200),
        ("startIndex=2147483647&count=1", 200),
        ("count=-1", 200),
        ("count=1000000", 200),
        ("&".join(f"a{n}=1" for n in range(50)), 400),
    ],
)
def test_odd_questions_are_answered_within_bounds(idp: Idp, query: str, status: int):
    answer = idp.send("GET", f"/Users?{query}")
    assert answer.status_code == status, answer.text
    if answer.status_code == 200:
        assert len(answer.json().get("Resources", [])) <= 200


def test_nothing_in_a_body_gives_a_right_or_another_tenant(platform: PlatformProcess, idp: Idp):
    made = idp.user(
        "sly@example.com",
        id="usr_admin",
        tenant="acme",
        principal_id="usr_1",
        roles=[{"value": "admin", "primary": True}],
        entitlements=[{"value": "*"}],
        permissions=["*"],
        groups=[{"value": "scg_1", "display": "platform-owners"}],
        meta={"version": 'W/"99"', "resourceType": "Group"},
        **{"urn:ai-platform:1.0:User": {"roles": ["admin"], "tenant": "acme"}},
    )
    assert made["id"] != "usr_admin"
    ann = person(platform, "sly@example.com")
    assert (ann["roles"], ann["keys"], ann["team"]) == ([], 0, None)
    assert "groups" not in idp.get(f"/Users/{made['id']}")
    for operation in (
        {"op": "replace", "path": "id", "value": "usr_other"},
        {"op": "add", "path": "groups", "value": [{"value": "x"}]},
        {"op": "replace", "value": {"id": "usr_other", "tenant": "acme"}},
        {"op": "replace", "path": "meta.version", "value": "1"},
    ):
        answer = idp.patch(f"/Users/{made['id']}", operation)
        assert answer.status_code in {200, 204, 400}, answer.text
    seen = idp.get(f"/Users/{made['id']}")
    assert (seen["id"], "tenant" in seen) == (made["id"], False)


def test_the_credential_does_one_thing_and_only_it_does_it(platform: PlatformProcess, idp: Idp):
    ordinary = new_key(platform, name="ordinary")
    for key, status in (("", 401), ("aip_" + "x" * 48, 401), (ordinary, 403)):
        answer = Idp(platform, key).send("GET", "/Users")
        assert answer.status_code == status, answer.text
        assert answer.json()["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert Idp(platform, "").send("GET", "/ServiceProviderConfig").status_code == 401
    with platform.http(scim_key(platform, "narrow")) as client:
        assert client.get("/admin/keys").status_code == 403
        assert client.get("/admin/people").status_code == 403
        body = {"model": "claude-sonnet-5-5", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
        assert client.post("/v1/messages", json=body).status_code == 451


def test_addresses_are_the_platforms_own(platform: PlatformProcess, idp: Idp):
    answer = idp.send("POST", "/Users", {"schemas": [USER], "userName": "located"}, host="evil.example")
    assert answer.headers["location"].startswith(f"{platform.url}/scim/v2/Users/")
    assert "evil.example" not in answer.text


@pytest.mark.parametrize(
    "path", [*(f"{USERS}/{odd}" for odd in ("../../admin/keys", "%2e%2e/x", "%00", "a%2fb")), "x", "/Nothing", "/Me"]
)
def test_odd_paths_lead_nowhere(idp: Idp, path: str):
    assert idp.send("GET", path).status_code in {403, 404, 501}


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b'{"userName": 5}', b'{"userName": ""}', b'{"userName": "a\\u0000b"}',
        b'{"userName": "a\\nb"}',
        b'{"schemas": [], "userName": "' + b"y" * 300 + b'"}', b"\xff\xfe", b'{"userName": "u", "emails": "x"}',
        b'{"a":' * 5000, b'{"userName": "u1", "userName": "u2"',
    ],
)  # fmt: skip
def test_bodies_that_are_no_user_are_refused(idp: Idp, body: bytes):
    answer = idp.send("POST", "/Users", body)
    assert answer.status_code == 400, answer.text
    assert "Traceback" not in answer.text


def test_too_many_requests_are_told_to_wait(tmp_path: Any):
    with site(tmp_path, "scim: {enabled: true, requests_per_minute: 5}\n") as platform:
        idp = Idp(platform, scim_key(platform))
        answers = [idp.send("GET", "/ServiceProviderConfig") for _ in range(7)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
        assert int(answers[-1].headers["retry-after"]) > 0


def test_without_the_setting_there_is_no_such_door(tmp_path: Any):
    with site(tmp_path, CONFIG.replace("true", "false")) as platform:
        assert Idp(platform, scim_key(platform)).send("GET", "/Users").status_code == 404


def test_a_tenant_provisions_itself_and_sees_no_other(platform: PlatformProcess, idp: Idp):
    mine = idp.user("shared@example.com", externalId="x-1")
    team = idp.group("shared team", mine["id"])
    with platform.http() as client:
        acme = client.post("/admin/tenants", json={"name": "scim-acme"}).json()["key"]
    other = Idp(platform, new_key(platform, acme, name="idp", kind="service", roles=["admin"], scopes=["scim"]))
    assert other.find("/Users") == []
    for query in ("", 'userName eq "shared@example.com"', 'externalId eq "x-1"', f'id eq "{mine["id"]}"'):
        assert other.find("/Users", **({"filter": query} if query else {})) == []
    for method, path in (
        ("GET", f"/Users/{mine['id']}"),
        ("DELETE", f"/Users/{mine['id']}"),
        ("GET", f"/Groups/{team['id']}"),
        ("PUT", f"/Users/{mine['id']}"),
    ):
        sent = {"schemas": [USER], "userName": "taken"} if method == "PUT" else None
        assert other.send(method, path, sent).status_code == 404
    assert other.patch(f"/Groups/{team['id']}", {"op": "remove", "path": "members"}).status_code == 404
    foreign = {"schemas": [GROUP], "displayName": "g", "members": [{"value": mine["id"]}]}
    assert other.send("POST", "/Groups", foreign).status_code == 400
    theirs = other.user("shared@example.com")
    assert theirs["id"] != mine["id"]
    assert len(idp.get(f"/Groups/{team['id']}")["members"]) == 1


def test_what_an_administrator_ended_is_not_let_back_by_the_identity_provider(platform: PlatformProcess, idp: Idp):
    made = idp.user("stopped@example.com")
    person(platform, "stopped@example.com", "suspend")
    idp.patch(f"/Users/{made['id']}", {"op": "replace", "path": "active", "value": True})
    assert person(platform, "stopped@example.com")["state"] == "suspended"
    person(platform, "stopped@example.com", "resume")
    assert person(platform, "stopped@example.com")["state"] == "active"


def test_an_address_that_comes_back_is_somebody_else(platform: PlatformProcess, idp: Idp):
    first = idp.user("reused@example.com")
    before = person(platform, "reused@example.com")["id"]
    idp.send("DELETE", f"/Users/{first['id']}")
    second = idp.user("reused@example.com")
    assert second["id"] != first["id"]
    assert person(platform, "reused@example.com")["id"] != before
    assert person(platform, before)["state"] == "removed"


def test_somebody_who_was_there_before_is_joined_by_address(platform: PlatformProcess, idp: Idp):
    new_key(platform, name="before", email="before@example.com")
    ann = person(platform, "before@example.com")
    made = idp.user("BEFORE@example.com", displayName="Bea Fore")
    joined = person(platform, "before@example.com")
    assert (joined["id"], joined["name"], joined["keys"]) == (ann["id"], "Bea Fore", 1)
    again = idp.send(
        "POST", "/Users", {"schemas": [USER], "userName": "x", "emails": [{"value": "before@example.com"}]}
    )
    assert again.status_code == 409
    assert idp.patch(
        f"/Users/{made['id']}", {"op": "replace", "path": "userName", "value": "b2@example.com"}
    ).is_success


def test_no_user_is_joined_to_a_service_account(platform: PlatformProcess, idp: Idp):
    """Handles of other kinds of principals hold a colon; an address does not."""
    new_key(platform, name="robot", kind="service", owner="robot.example.com")
    for user_name in ("service:robot.example.com", "SERVICE:robot.example.com", "service:robot@example.com"):
        made = idp.user(user_name, emails=[{"value": user_name, "primary": True}])
        assert idp.send("DELETE", f"/Users/{made['id']}").status_code == 204
    assert person(platform, "robot.example.com")["state"] == "active"
    with platform.http() as client:
        refused = client.post("/admin/keys", json={"name": "sly", "email": "service:robot@example.com"})
    assert refused.status_code == 400
