"""A call that needs consent: it waits, is decided once, passes once, and everything else is refused."""

import asyncio
from collections.abc import Callable

import pytest
from approvals_kit import ANN, AUDITOR, BOB, CID, DEMAND, EVE, SESSION, Carrier, Office, model_call, tool_call
from msgspec.structs import replace

from ai_platform.approvals import State
from ai_platform.domain.approval import Approval
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import ApprovalNeeded, AuditUnavailable, Denied, InvalidCall, RateLimited
from ai_platform.domain.principal import Principal
from ai_platform.stores.postgres import SystemDatabase
from ai_platform.testing import FakeClock
from ai_platform.testing.eventually import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("PO-7")]

Again = Callable[[], Office]


async def asked(office: Office, **asks: object) -> ApprovalNeeded:
    with pytest.raises(ApprovalNeeded) as needed:
        await office.ask(**asks)  # type: ignore[arg-type]
    return needed.value


async def test_a_call_that_cannot_wait_is_refused_and_passes_when_it_comes_again_after_consent(office: Office):
    needed = await asked(office)
    assert needed.reason is Refusal.APPROVAL_REQUIRED
    assert needed.rule == "Production Access"
    assert needed.expires_at == office.clock.now() + 3600
    assert f"ai-platform approvals approve {needed.id}" in str(needed)
    assert "needs the consent of security-team (policy 'Production Access')" in str(needed)
    again = await asked(office)
    assert again.id == needed.id, "the same call is the same request"
    decided = await office.decide(needed.id)
    assert (decided.state, decided.decided_by, decided.expires_at) == (
        State.APPROVED,
        "usr_bob",
        office.clock.now() + 900,
    )
    approval = await office.ask()
    assert isinstance(approval, Approval)
    assert (approval.id, approval.rule, approval.decided_by) == (needed.id, "Production Access", "usr_bob")
    assert office.witness.words() == ["asked", "announced", "approved by usr_bob"]
    assert await office.states() == ["used"]


async def test_consent_is_good_for_one_call(office: Office):
    needed = await asked(office)
    await office.decide(needed.id)
    await office.ask()
    second = await asked(office)
    assert second.id != needed.id
    assert await office.states() == ["pending", "used"]


@pytest.mark.parametrize(
    "changed",
    [
        tool_call(b'{"sql": "select 1 "}'),
        tool_call(b'{"sql": "SELECT 1"}'),
        tool_call(b'{"sql": "select 1", "force": true}'),
        tool_call(server="prod-api"),
        tool_call(tool="execute"),
    ],
)
async def test_consent_to_one_call_opens_no_other(office: Office, changed: object):
    needed = await asked(office)
    await office.decide(needed.id)
    other = await asked(office, call=changed)
    assert other.id != needed.id


@pytest.mark.parametrize("same", [b'{ "sql":\n"select 1" }', rb'{"\u0073ql": "select\u00201"}'])
async def test_the_same_call_written_in_another_way_is_the_same(office: Office, same: bytes):
    needed = await asked(office)
    await office.decide(needed.id)
    assert (await office.ask(tool_call(same))).id == needed.id


async def test_a_repeated_key_is_refused_before_anybody_is_asked(office: Office):
    with pytest.raises(InvalidCall, match="a key is repeated"):
        await office.ask(tool_call(b'{"sql": "select 1", "sql": "drop table x"}'))
    assert await office.states() == []


async def test_somebody_elses_consent_is_of_no_use(office: Office):
    needed = await asked(office)
    await office.decide(needed.id)
    other = await asked(office, caller=EVE)
    assert other.id != needed.id


async def test_a_denial_holds_with_its_reason_until_the_request_would_have_ended(office: Office):
    needed = await asked(office)
    await office.decide(needed.id, agree=False, note="Use the replica.")
    for _ in range(2):
        with pytest.raises(Denied, match="They say: Use the replica") as denied:
            await office.ask()
        assert denied.value.reason is Refusal.APPROVAL_DENIED
    office.clock.advance(3601)
    assert (await asked(office)).id != needed.id


async def test_a_request_that_nobody_decided_ends_and_can_be_made_again(office: Office, system: SystemDatabase):
    needed = await asked(office)
    office.clock.advance(3600)
    with pytest.raises(InvalidCall, match="is expired already"):
        await office.decide(needed.id)
    await office.room._waiting.look(system)  # pyright: ignore[reportPrivateUsage]
    assert office.witness.words()[-1] == "expired"
    assert (await asked(office)).id != needed.id
    assert await office.states() == ["pending", "expired"]


async def test_a_request_that_is_over_makes_room_also_before_anybody_swept(office: Office):
    needed = await asked(office)
    office.clock.advance(3600)
    assert (await asked(office)).id != needed.id
    assert ("expired", needed.id) in office.witness.seen


async def test_consent_that_was_not_used_in_time_is_gone(office: Office):
    needed = await asked(office)
    await office.decide(needed.id)
    office.clock.advance(900)
    assert (await asked(office)).id != needed.id


async def test_exactly_one_of_many_decisions_counts(office: Office, another: Again):
    needed = await asked(office)
    replicas = [office, *(another() for _ in range(3))]
    decisions = [
        replica.decide(needed.id, by=by, agree=agree)
        for replica, by, agree in zip(replicas * 2, [BOB, CID] * 4, [True, False, False, True] * 2, strict=True)
    ]
    results = await asyncio.gather(*decisions, return_exceptions=True)
    won = [result for result in results if not isinstance(result, BaseException)]
    assert len(won) == 1
    assert all(isinstance(result, InvalidCall) for result in results if isinstance(result, BaseException))
    assert [word for word in office.witness.words() if " by " in word] == [
        f"{won[0].state.value} by {won[0].decided_by}"
    ]


async def test_of_many_calls_at_once_one_uses_the_consent(office: Office, another: Again):
    needed = await asked(office)
    await office.decide(needed.id)
    replicas = [office, *(another() for _ in range(3))] * 2
    results = await asyncio.gather(*(replica.ask() for replica in replicas), return_exceptions=True)
    assert sum(isinstance(result, Approval) for result in results) == 1
    assert all(isinstance(result, Approval | ApprovalNeeded) for result in results)


async def test_the_same_call_made_many_times_at_once_is_one_request(office: Office, another: Again):
    replicas = [office, *(another() for _ in range(3))] * 2
    results = await asyncio.gather(*(replica.ask() for replica in replicas), return_exceptions=True)
    assert len({result.id for result in results if isinstance(result, ApprovalNeeded)}) == 1
    assert office.witness.words().count("announced") == 1
    assert await office.states() == ["pending"]


async def test_a_call_that_can_wait_waits_hears_of_it_and_goes_on(office: Office, system: SystemDatabase):
    carrier = Carrier(waits=True)
    waiting = asyncio.create_task(office.ask(carrier=carrier))
    await eventually(lambda: len(carrier.told) >= 2)
    assert carrier.told[0].startswith("Waits for the consent of security-team (Production Access, apr_")
    assert office.room.waiting == 1
    (request,) = await office.room.list(BOB)
    await office.decide(request.id)
    approval = await asyncio.wait_for(waiting, 10)
    assert approval.id == request.id
    assert office.room.waiting == 0


async def test_a_waiting_call_hears_of_a_decision_made_on_another_replica(
    office: Office, another: Again, system: SystemDatabase
):
    watch = asyncio.create_task(office.room.run(system))
    carrier = Carrier(waits=True)
    waiting = asyncio.create_task(office.ask(carrier=carrier))
    await eventually(lambda: bool(carrier.told))
    elsewhere = another()
    (request,) = await elsewhere.room.list(BOB)
    await elsewhere.decide(request.id, agree=False, note="no")
    with pytest.raises(Denied, match="They say: no"):
        await asyncio.wait_for(waiting, 10)
    watch.cancel()


async def test_a_call_waits_no_longer_than_its_time_and_the_request_stays(office: Office):
    office.room.settings = replace(office.room.settings, wait_seconds=30.0)
    carrier = Carrier(waits=True)

    async def later() -> None:
        office.clock.advance(20)

    carrier.on_tell = later
    needed = await asked(office, carrier=carrier)
    assert len(carrier.told) == 2
    assert "make exactly the same call again within 15 minutes" in str(needed)
    assert await office.states() == ["pending"]


async def test_a_waiting_call_ends_with_its_request(office: Office):
    carrier = Carrier(waits=True)
    office.room.settings = replace(office.room.settings, wait_seconds=3600.0, pending_minutes=1.0)

    async def later() -> None:
        office.clock.advance(61)

    carrier.on_tell = later
    needed = await asked(office, carrier=carrier)
    assert "is over" in str(needed)


async def test_a_call_whose_client_leaves_gives_up_waiting_and_finds_its_request_again(office: Office):
    carrier = Carrier(waits=True)
    waiting = asyncio.create_task(office.ask(carrier=carrier))
    await eventually(lambda: bool(carrier.told))
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert office.room.waiting == 0
    (request,) = await office.room.list(BOB)
    await office.decide(request.id)
    assert (await office.ask()).id == request.id


async def test_what_waits_survives_a_restart(office: Office, another: Again):
    needed = await asked(office)
    restarted = another()
    assert [request.id for request in await restarted.room.list(BOB)] == [needed.id]
    request, shown = await restarted.room.get(BOB, needed.id)
    assert shown == '{"arguments": {"sql": "select 1"}}'
    assert (request.what, request.tool_use_id, request.call_id) == ("prod-db/query", "toolu_1", "call_1")
    await restarted.decide(needed.id)
    assert (await another().ask()).id == needed.id


async def test_a_used_consent_stays_used_after_a_restart(office: Office, another: Again):
    needed = await asked(office)
    await office.decide(needed.id)
    await office.ask()
    assert (await asked(another())).id != needed.id


@pytest.mark.parametrize(
    "now",
    [
        None,
        replace(BOB, team="green"),
        replace(BOB, id="usr_else"),
    ],
)
async def test_consent_of_somebody_who_may_not_give_it_any_more_is_void(office: Office, now: Principal | None):
    needed = await asked(office)
    await office.decide(needed.id)
    office.people["key_bob"] = now  # type: ignore[assignment]
    with pytest.raises(Denied, match="does not hold any more"):
        await office.ask()
    assert await office.states() == ["void"]
    assert office.witness.words()[-1] == "void"
    assert (await asked(office)).id != needed.id


async def test_under_another_policy_the_call_has_to_be_asked_for_anew(office: Office):
    needed = await asked(office)
    await office.decide(needed.id)
    assert (await asked(office, version="2+def")).id != needed.id


async def test_nobody_agrees_to_what_was_asked_under_another_policy(office: Office):
    needed = await asked(office)
    office.version = "2+def"
    with pytest.raises(InvalidCall, match="The policy has changed since"):
        await office.decide(needed.id)
    assert await office.states() == ["void"]


async def test_what_was_asked_under_another_policy_can_still_be_denied(office: Office):
    needed = await asked(office)
    office.version = "2+def"
    assert (await office.decide(needed.id, agree=False)).state is State.DENIED


async def test_a_call_that_would_not_be_admitted_any_more_uses_up_nothing(office: Office):
    needed = await asked(office)
    await office.decide(needed.id)
    with pytest.raises(Denied, match="revoked"):
        await office.ask(carrier=Carrier(fails=Denied(Refusal.APPROVAL_DENIED, "revoked")))
    assert await office.states() == ["approved"]
    assert (await office.ask()).id == needed.id


async def test_nothing_is_asked_for_that_cannot_be_recorded(office: Office):
    office.witness.failing = True
    with pytest.raises(AuditUnavailable):
        await office.ask()
    office.witness.failing = False
    assert await office.states() == []


async def test_one_person_cannot_fill_the_approvers_screen(office: Office):
    office.room.settings = replace(office.room.settings, most_pending=3)
    for number in range(3):
        await asked(office, call=tool_call({"n": number}))
    with pytest.raises(RateLimited, match="3 of your requests wait already"):
        await office.ask(tool_call({"n": 4}))
    await asked(office, call=tool_call({"n": 0}))
    await asked(office, call=tool_call({"n": 4}), caller=EVE)


async def test_what_is_shown_is_asked_for_once_and_kept_encrypted(office: Office, system: SystemDatabase):
    carrier = Carrier()
    needed = await asked(office, carrier=carrier)
    await asked(office, carrier=carrier)
    assert carrier.shows == 1
    stored = await system.fetchval("SELECT shown FROM approvals")
    assert b"select" not in stored
    row = await system.fetchrow("SELECT * FROM approvals")
    assert not any("select 1" in str(value) or "ann@" in str(value) for value in dict(row).values())
    await system.execute("UPDATE approvals SET shown = shown || 'x'::bytea")
    assert (await office.room.get(BOB, needed.id))[1] == ""


async def test_what_was_shown_is_forgotten_after_its_time(office: Office, system: SystemDatabase, clock: FakeClock):
    needed = await asked(office)
    clock.advance(31 * 86_400)
    await office.room._waiting.look(system)  # pyright: ignore[reportPrivateUsage]
    assert (await office.room.get(ANN, needed.id))[1] == ""


async def test_a_request_is_seen_by_whom_it_concerns(office: Office):
    needed = await asked(office)
    for principal, sees in [(ANN, True), (BOB, True), (AUDITOR, True), (EVE, False)]:
        assert bool(await office.room.list(principal)) == sees
    with pytest.raises(InvalidCall, match="no approval"):
        await office.room.get(EVE, needed.id)
    with pytest.raises(InvalidCall, match="no approval"):
        await office.decide(needed.id, by=EVE)
    stranger = replace(BOB, tenant="other")
    assert await office.room.list(stranger) == []
    with pytest.raises(InvalidCall, match="no approval"):
        await office.decide(needed.id, by=stranger)


@pytest.mark.parametrize("request_id", ["", "apr_x", "x' OR '1'='1", "a\x00b", "../..", "é" * 500])
async def test_an_id_that_is_none_is_told_so(office: Office, request_id: str):
    with pytest.raises(InvalidCall, match="no approval"):
        await office.decide(request_id)


async def test_a_list_shows_what_is_open_and_with_all_what_is_over(office: Office):
    needed = await asked(office)
    await office.decide(needed.id, agree=False)
    assert await office.room.list(BOB) == []
    assert [request.state for request in await office.room.list(BOB, every=True)] == [State.DENIED]
    await asked(office, call=tool_call({"n": 1}))
    office.clock.advance(3600)
    assert await office.room.list(BOB) == []


async def test_consent_for_a_session_covers_its_calls_to_the_model_for_its_time(office: Office):
    needed = await asked(office, call=model_call("s1", "one"), demand=SESSION)
    assert "go on in this session" in str(needed)
    await office.decide(needed.id)
    for text in ("one", "two", "three"):
        assert (await office.ask(model_call("s1", text), demand=SESSION)).id == needed.id
    assert (await asked(office, call=model_call("s2"), demand=SESSION)).id != needed.id
    office.clock.advance(480 * 60)
    assert (await asked(office, call=model_call("s1", "four"), demand=SESSION)).id != needed.id


async def test_names_that_a_client_made_up_are_kept_whole_and_harmless(office: Office):
    call = tool_call(server="prod-db", tool="x\x00'); DROP TABLE approvals; --" + "y" * 5000)
    needed = await asked(office, call=call)
    request, _ = await office.room.get(BOB, needed.id)
    assert request.tool is not None
    assert request.tool.startswith("x\ufffd'); DROP TABLE")
    assert len(request.tool) == 2048
    assert DEMAND.rule == request.rule


async def test_decision_expiry_and_use_at_the_same_moment_leave_one_outcome(
    office: Office, another: Again, system: SystemDatabase
):
    """Each round at the very end of a request: whoever is first wins, and nothing passes after the end."""
    for number in range(6):
        call = tool_call({"round": number})
        needed = await asked(office, call=call)
        office.clock.jump(3599.999 if number % 2 else 3600)
        rivals = [another(), another()]
        results = await asyncio.gather(
            office.decide(needed.id),
            rivals[0].decide(needed.id, by=CID, agree=False),
            rivals[1].room._waiting.look(system),  # pyright: ignore[reportPrivateUsage]
            rivals[0].ask(call),
            office.ask(call),
            return_exceptions=True,
        )
        (row,) = await system.fetch("SELECT state, uses, decided_by FROM approvals WHERE id = $1", needed.id)
        used = [result for result in results if isinstance(result, Approval) and result.id == needed.id]
        assert len(used) == row["uses"] <= 1
        assert (row["state"] in {"expired", "pending"}) == (row["decided_by"] is None)
        told = [what for what, request_id in office.witness.seen if request_id == needed.id]
        assert sum(" by " in what for what in told) == (0 if row["decided_by"] is None else 1)
        assert told.count("expired") <= 1
        await system.execute("UPDATE approvals SET state = 'void' WHERE state IN ('pending', 'approved')")
