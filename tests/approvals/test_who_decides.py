"""Approvers by team, group, role and person; nobody decides about their own call, whatever account they use."""

import asyncpg
import pytest
from approvals_kit import ANN, BOB, CI, EVE, Office
from msgspec.structs import replace

from ai_platform.approvals.who import is_approver, person_of
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import ApprovalNeeded, Denied
from ai_platform.domain.principal import Principal
from ai_platform.stores.postgres import SystemDatabase

pytestmark = pytest.mark.anyio

SOMEBODY = Principal(id="usr_1", name="S", email="S@Example.com", team="red", roles=("lead",), groups=("finance",))


@pytest.mark.parametrize(
    ("approver", "fits"),
    [
        ("red", True),
        ("lead", True),
        ("finance", True),
        ("s@example.com", True),
        ("S@EXAMPLE.COM", True),
        ("usr_1", True),
        ("team:red", True),
        ("role:lead", True),
        ("group:finance", True),
        ("user:s@example.com", True),
        ("user:usr_1", True),
        ("team:lead", False),
        ("role:red", False),
        ("group:red", False),
        ("user:red", False),
        ("blue", False),
        ("Red", False),
        ("S", False),
        ("", False),
        ("team:", False),
        ("*", False),
    ],
)
def test_an_approver_is_a_team_a_group_a_role_or_a_person(approver: str, fits: object):
    assert is_approver(SOMEBODY, (approver,)) == fits


def test_nobody_without_a_team_or_address_is_named_by_nothing():
    nobody = Principal(id="usr_2", name="N")
    assert not is_approver(nobody, ("", "team:", "user:", "None", "group:"))


async def pending(office: Office, **asks: object) -> str:
    with pytest.raises(ApprovalNeeded) as needed:
        await office.ask(**asks)  # type: ignore[arg-type]
    return needed.value.id


async def refusal(office: Office, request_id: str, by: Principal) -> str:
    with pytest.raises(Denied) as denied:
        await office.decide(request_id, by=by)
    assert denied.value.reason is Refusal.PERMISSION_MISSING
    assert await office.states() == ["pending"]
    return str(denied.value)


async def test_whoever_is_not_named_may_not_decide(office: Office):
    request_id = await pending(office)
    reader = replace(EVE, permissions=frozenset({"*"}))
    assert "none of those who may decide this: security-team" in await refusal(office, request_id, reader)


async def test_nobody_decides_about_their_own_call(office: Office):
    request_id = await pending(office, caller=BOB)
    assert "this one is yours" in await refusal(office, request_id, BOB)
    assert "this one is yours" in await refusal(office, request_id, replace(BOB, key_id="key_other"))


@pytest.mark.parametrize(
    "address", ["ann@example.com", "Ann@Example.COM", "ann+work@example.com", "ANN+a+b@example.com"]
)
async def test_nor_with_another_account_of_the_same_address(office: Office, address: str):
    request_id = await pending(office)
    twin = replace(BOB, id="usr_twin", email=address)
    assert "your e-mail address" in await refusal(office, request_id, twin)


async def test_nor_with_a_key_that_they_made_for_somebody_else(office: Office):
    office.made_by["key_bob"] = frozenset({"platform", "usr_ann"})
    request_id = await pending(office)
    assert "made the key that you use" in await refusal(office, request_id, BOB)


async def test_nor_about_a_call_of_a_key_that_they_made(office: Office):
    office.made_by["key_ci"] = frozenset({"usr_bob"})
    request_id = await pending(office, caller=CI)
    assert "you made the key" in await refusal(office, request_id, BOB)


async def test_a_service_account_agrees_to_nothing(office: Office):
    request_id = await pending(office)
    assert "A service account cannot" in await refusal(office, request_id, CI)


async def test_a_platform_key_is_not_enough_where_people_have_to_sign_in(office: Office):
    office.room.settings = replace(office.room.settings, require_sign_in=True)
    request_id = await pending(office)
    assert "people who signed in" in await refusal(office, request_id, BOB)
    await office.decide(request_id, by=replace(BOB, key_id="signin_usr_bob"))
    assert await office.states() == ["approved"]


def test_addresses_are_compared_without_being_kept():
    hashes = {person_of(b"k", replace(ANN, email=address)) for address in ("a@x.de", "A@X.de", "a+b@x.de")}
    assert len(hashes) == 1
    assert person_of(b"k", replace(ANN, email="b@x.de")) not in hashes
    assert person_of(b"other", replace(ANN, email="a@x.de")) not in hashes
    assert person_of(b"k", replace(ANN, email=None)) is None
    assert b"a@x.de" not in next(iter(hashes))  # type: ignore[operator]


async def test_the_database_itself_refuses_a_decision_about_ones_own(office: Office, system: SystemDatabase):
    request_id = await pending(office)
    with pytest.raises(asyncpg.CheckViolationError):
        await office.database.within("default").execute(
            "UPDATE approvals SET state = 'approved', decided_by = 'usr_ann' WHERE id = $1", request_id
        )
    assert await system.fetchval("SELECT state FROM approvals") == "pending"
