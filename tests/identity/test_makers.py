"""Who could use a key: whoever made it, or a key of whoever made it; and whose a key is now."""

from typing import Any

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("PO-7")]


async def key_id(room: Any, text: str) -> str:
    return (await room.enter(text)).key_id or ""


async def test_the_makers_of_a_key_are_all_who_stand_behind_it(room: Any):
    bob_text = await room.make("bob", roles=("admin",))
    bob = await room.enter(bob_text)
    key, eve_text = await room.keys.create("eve", by=bob)
    assert await room.keys.makers(key.id, tenant="default") == {bob.id, "usr_admin"}
    assert await room.keys.makers(await key_id(room, bob_text), tenant="default") == {"usr_admin"}
    assert await room.keys.makers("key_unknown", tenant="default") == frozenset()
    assert await room.keys.makers(key.id, tenant="other") == frozenset()
    assert (await room.enter(eve_text)).key_id == key.id


async def test_a_circle_of_makers_ends(room: Any):
    """Bob makes a key for Ann, Ann one for Bob: each stands behind the other."""
    bob = await room.enter(await room.make("bob", roles=("admin",)))
    _, ann_text = await room.keys.create("ann", by=bob, roles=("admin",))
    ann = await room.enter(ann_text)
    second, _ = await room.keys.create("bob2", by=ann, owner="bob")
    assert second.principal_id == bob.id
    assert await room.keys.makers(ann.key_id or "", tenant="default") == {bob.id, ann.id, "usr_admin"}


async def test_the_holder_of_a_key_has_the_rights_of_now_until_it_ends(room: Any, book: Any):
    text = await room.make("ann", roles=("developer",), team="blue", expires="1h")
    known = await room.enter(text)
    holder = await room.keys.holder(known.key_id or "", tenant="default")
    assert holder == known
    book.replace({"developer": ()})
    changed = await room.keys.holder(known.key_id or "", tenant="default")
    assert changed is not None
    assert changed.permissions == frozenset()
    assert await room.keys.holder(known.key_id or "", tenant="other") is None
    assert await room.keys.holder("key_unknown", tenant="default") is None
    room.clock.advance(3601)
    assert await room.keys.holder(known.key_id or "", tenant="default") is None


async def test_a_revoked_key_has_no_holder(room: Any):
    text = await room.make("ann")
    identifier = await key_id(room, text)
    await room.keys.revoke("ann", by=room.admin)
    assert await room.keys.holder(identifier, tenant="default") is None


async def test_a_key_with_scopes_is_known_to_be_narrowed(room: Any):
    assert not (await room.enter(await room.make("plain", roles=("developer",)))).narrowed
    assert not (await room.enter(await room.make("models", roles=("developer",), scopes=("model:claude-*",)))).narrowed
    assert (await room.enter(await room.make("less", roles=("developer",), scopes=("claude:models:read",)))).narrowed
