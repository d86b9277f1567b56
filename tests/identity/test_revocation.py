"""A revoked key ends at once here, within a second elsewhere, and a store that is gone has a stated behaviour."""

import asyncio
from typing import Any

import pytest

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import RateLimited, StoreUnavailable, Unauthenticated
from ai_platform.identity.attempts import GATE, QUEUE, Attempts
from ai_platform.identity.token import new_token
from ai_platform.testing import FakeClock
from ai_platform.testing.eventually import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("ID-3")]


async def _reason(room: Any, text: str, ip: str = "192.0.2.1") -> Refusal:
    with pytest.raises(Unauthenticated) as caught:
        await room.enter(text, ip)
    return caught.value.reason


async def _reading(room: Any) -> None:
    """Until a look-up is under way, and no longer."""
    async with asyncio.timeout(10):
        while room.auth.lookups == 0:  # noqa: ASYNC110 - the very next turn of the loop is wanted
            await asyncio.sleep(0)


async def test_a_revoked_key_ends_at_once_in_this_process(room: Any):
    text = await room.make("ann")
    await room.enter(text)
    revoked = await room.keys.revoke("ANN", by=room.admin)
    assert revoked.status(room.clock.now()) == "revoked"
    with pytest.raises(Unauthenticated, match="The key 'ann' was revoked on 20") as caught:
        await room.enter(text)
    assert caught.value.reason is Refusal.KEY_REVOKED
    again = await room.keys.revoke(revoked.id, by=room.admin)
    assert again.revoked_at == revoked.revoked_at


async def test_another_process_sees_it_the_next_time_it_looks(room: Any, other: Any):
    text, kept = await room.make("ann"), await room.make("bob")
    for one in (text, kept):
        await other.enter(one)
    await room.keys.revoke("ann", by=room.admin)
    await other.auth.watch(other.system)
    assert await _reason(other, text) is Refusal.KEY_REVOKED
    lookups = other.auth.lookups
    await other.auth.watch(other.system)
    await other.enter(kept)
    assert other.auth.lookups == lookups  # keys that did not change stay cached


async def test_the_background_work_of_another_process_ends_it_by_itself(room: Any, other: Any):
    text = await room.make("ann")
    await other.enter(text)
    work = asyncio.create_task(other.auth.run(other.system))
    try:
        await room.keys.revoke("ann", by=room.admin)
        await eventually(lambda: "key_" + text[4:16] not in other.auth._entries)
        assert await _reason(other, text) is Refusal.KEY_REVOKED
    finally:
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work


async def test_a_revocation_that_overtakes_a_look_up_wins(room: Any):
    text = await room.make("ann")
    entering = asyncio.create_task(room.enter(text))
    await _reading(room)
    room.auth.forget("key_" + text[4:16])  # as `revoke` does, after the row was read and before it is remembered
    await entering
    assert "key_" + text[4:16] not in room.auth._entries


async def test_after_a_gap_in_watching_every_key_is_read_anew(room: Any, other: Any):
    text = await room.make("ann")
    await other.enter(text)
    await room.keys.revoke("ann", by=room.admin)
    await room.system.execute("UPDATE keys SET changed_at = now() - interval '1 hour'")  # the watcher missed it
    other.clock.advance(6)
    await other.auth.watch(other.system)
    assert await _reason(other, text) is Refusal.KEY_REVOKED


async def test_many_callers_with_one_new_key_share_one_look_up(room: Any):
    text = await room.make("ann")
    callers = await asyncio.gather(*(room.enter(text) for _ in range(200)))
    assert room.auth.lookups == 1
    assert len({caller.key_id for caller in callers}) == 1


async def test_a_caller_that_hangs_up_does_not_spoil_the_look_up_of_the_others(room: Any):
    text = await room.make("ann")
    first, second = (asyncio.create_task(room.enter(text)) for _ in range(2))
    await _reading(room)
    first.cancel()
    assert (await second).key_id == "key_" + text[4:16]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_without_postgresql_known_keys_work_for_a_while_and_unknown_ones_do_not(room: Any):
    known, unknown = await room.make("ann"), await room.make("bob")
    await room.enter(known)
    await room.database.close()
    await room.system.close()
    await room.enter(known)
    assert room.auth.stale_hits == 0
    room.clock.advance(31)
    await room.enter(known)
    assert room.auth.stale_hits == 1
    with pytest.raises(StoreUnavailable):
        await room.enter(unknown)
    assert await _reason(room, known[:16] + new_token().text[16:]) is Refusal.UNAUTHENTICATED
    room.clock.advance(300)
    with pytest.raises(StoreUnavailable):
        await room.enter(known)


async def test_without_postgresql_an_expired_key_stays_expired(room: Any):
    text = await room.make("ann", expires="1m")
    await room.enter(text)
    await room.database.close()
    await room.system.close()
    room.clock.advance(60)
    assert await _reason(room, text) is Refusal.KEY_EXPIRED


async def test_last_use_is_written_in_batches(room: Any):
    text = await room.make("ann")
    await room.enter(text)
    assert (await room.keys.get("ann", tenant="default")).last_used_at is None
    await room.auth.flush(room.system)
    assert (await room.keys.get("ann", tenant="default")).last_used_at.timestamp() == room.clock.now()
    room.clock.jump(-3600)  # a replica with a slow clock cannot take it back
    await room.enter(text)
    await room.auth.flush(room.system)
    assert (await room.keys.get("ann", tenant="default")).last_used_at.timestamp() == room.clock.now() + 3600
    await room.auth.flush(room.system)


async def test_use_that_could_not_be_written_is_kept_for_the_next_time(room: Any):
    await room.enter(await room.make("ann"))
    await room.database.close()
    await room.system.close()
    with pytest.raises(StoreUnavailable):
        await room.auth.flush(room.system)
    assert len(room.auth._used) == 1


async def test_wrong_keys_do_not_lock_out_right_ones_of_the_same_address(with_settings: Any):
    room = with_settings(failures_per_minute=3)
    cached, fresh = await room.make("ann"), await room.make("bob")
    await room.enter(cached)
    for _ in range(10):
        await _reason(room, new_token().text)
    assert room.auth.attempts.over_limit("192.0.2.1")
    assert not room.auth.attempts.over_limit("192.0.2.2")
    assert await room.enter(cached)
    assert await room.enter(fresh)
    assert room.auth.attempts.failures == 10


async def test_a_flood_of_wrong_keys_waits_at_a_narrow_gate_and_the_rest_is_sent_away(with_settings: Any):
    room = with_settings(failures_per_minute=1)
    await _reason(room, new_token().text)
    flood = [room.enter(new_token().text) for _ in range(GATE + QUEUE + 20)]
    results = await asyncio.gather(*flood, return_exceptions=True)
    turned_away = [error for error in results if isinstance(error, RateLimited)]
    assert 0 < len(turned_away) <= GATE + 20
    assert room.auth.attempts.refused == len(turned_away)
    assert all(isinstance(error, RateLimited | Unauthenticated) for error in results)
    room.clock.advance(60)
    assert not room.auth.attempts.over_limit("192.0.2.1")


def test_addresses_are_counted_in_bounded_memory_and_ipv6_by_network(clock: FakeClock):
    attempts = Attempts(clock, limit=2)
    for number in range(30_000):
        attempts.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(attempts._counts) == 10_000
    for host in ("2001:db8::1", "2001:db8::ffff:1"):
        attempts.failed(host)
    assert attempts.over_limit("2001:db8::2")
    assert not attempts.over_limit("2001:db8:0:1::2")
    attempts.failed("::ffff:192.0.2.9")
    attempts.failed("192.0.2.9")
    assert attempts.over_limit("::ffff:192.0.2.9")
    attempts.failed("fe80::zz")
