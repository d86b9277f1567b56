"""Who is calling: right keys come in, wrong ones hear why and how to get one, and nothing about other keys."""

import sys
from types import FrameType
from typing import Any

import pytest

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall, Unauthenticated
from ai_platform.domain.permission import Permission
from ai_platform.domain.principal import PrincipalKind
from ai_platform.identity.token import PREFIX, checksum, new_token

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("ID-3")]

UNKNOWN = PREFIX + "Z" * 42 + checksum(PREFIX + "Z" * 42)


async def _refused(room: Any, text: str | None) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        await room.enter(text)
    return caught.value


def _sibling(text: str) -> str:
    """The same id, another secret, a checksum that fits."""
    body = text[:16] + ("a" if text[16] != "a" else "b") + text[17:-6]
    return body + checksum(body)


async def test_a_key_gives_its_owner_with_everything_the_flow_needs(room: Any):
    text = await room.make(
        "ann laptop",
        owner="Ann",
        email="Ann@Example.com",
        roles=("developer", "reviewer"),
        team="web",
        project="shop",
        scopes=("model:claude-haiku-*", "tool:kb/*"),
        expires="90d",
    )
    caller = await room.enter(text)
    assert caller.id.startswith("usr_")
    assert (caller.name, caller.email, caller.kind) == ("Ann", "ann@example.com", PrincipalKind.PERSON)
    assert (caller.roles, caller.team, caller.project) == (("developer", "reviewer"), "web", "shop")
    assert (caller.models, caller.tools) == (("claude-haiku-*",), ("kb/*",))
    assert caller.permissions == room.book.permissions(["developer", "reviewer"])
    assert caller.key_id == "key_" + text[4:16]
    assert caller.tenant == "default"


async def test_keys_of_one_person_are_one_principal_and_a_service_is_its_own(room: Any):
    first = await room.enter(await room.make("laptop", email="ann@example.com"))
    second = await room.enter(await room.make("desktop", email="ANN@example.com"))
    service = await room.enter(await room.make("ci", kind=PrincipalKind.SERVICE, email="ann@example.com"))
    person = await room.enter(await room.make("ci person", owner="ci"))
    assert first.id == second.id
    assert len({first.id, service.id, person.id}) == 3
    assert service.kind is PrincipalKind.SERVICE
    assert service.id.startswith("svc_")


async def test_a_known_key_costs_no_look_up_until_its_time_is_over(room: Any):
    text = await room.make()
    first = await room.enter(text)
    for _ in range(5):
        assert await room.enter(text) is first
    assert (room.auth.lookups, room.auth.hits) == (1, 5)
    room.clock.advance(31)
    await room.enter(text)
    assert room.auth.lookups == 2


WRONG = [
    (None, "No key came with this request (Authorization: Bearer aip_..., or x-api-key)"),
    ("", "This is not a key of the platform; those begin with aip_"),
    ("hello", "This is not a key of the platform"),
    ("sk-ant-api03-abc", "This is a key of Anthropic"),
    ("aip_short", "The key is damaged: copy it whole"),
    (UNKNOWN[:-1], "The key is damaged"),
    (UNKNOWN + "x", "The key is damaged"),
    (UNKNOWN[:-1] + "!", "The key is damaged"),
    (UNKNOWN, "This key is not known here"),
    (PREFIX + "0" * 48, "This key is damaged: copy it whole"),
]


async def test_a_wrong_credential_is_told_what_it_is_and_how_to_get_a_key(room: Any):
    for text, says in WRONG:
        error = await _refused(room, text)
        assert error.reason is Refusal.UNAUTHENTICATED
        assert str(error).startswith(says)
        assert str(error).endswith("Ask an administrator of this platform for a key (`ai-platform keys create NAME`).")


async def test_the_way_to_get_a_key_can_be_the_organisations_own(with_settings: Any):
    error = await _refused(with_settings(key_help="See go/claude."), "hello")
    assert str(error).endswith(" See go/claude.")


async def test_a_wrong_secret_with_a_known_id_hears_what_an_unknown_id_hears(room: Any):
    text = await room.make()
    unknown = str(await _refused(room, new_token().text))
    assert str(await _refused(room, _sibling(text))) == unknown  # before the key is cached
    await room.enter(text)
    assert str(await _refused(room, _sibling(text))) == unknown  # and after
    await room.enter(text)


async def test_an_unknown_id_takes_the_same_steps_as_a_wrong_secret(room: Any):
    """The look-up, the hash and the constant-time comparison happen once each, whether or not the id exists."""
    text = await room.make()

    async def steps(presented: str) -> list[str]:
        seen: list[str] = []

        def watch(frame: FrameType, event: str, arg: Any) -> None:
            name = getattr(arg, "__name__", "") if event == "c_call" else frame.f_code.co_name
            if event in {"call", "c_call"} and name in {"fetchrow", "hash_of", "compare_digest", "failed"}:
                seen.append(name)

        sys.setprofile(watch)
        try:
            await _refused(room, presented)
        finally:
            sys.setprofile(None)
        return [name for name in seen if name != "fetchrow"] + ["fetchrow"] * ("fetchrow" in seen)

    assert await steps(_sibling(text)) == await steps(new_token().text)
    assert (await steps(new_token().text)) == ["hash_of", "compare_digest", "failed", "fetchrow"]


async def test_an_expired_key_is_told_so_only_to_who_knows_the_secret(room: Any):
    text = await room.make("old", expires="30m")
    await room.enter(text)
    room.clock.advance(30 * 60)
    error = await _refused(room, text)
    assert error.reason is Refusal.KEY_EXPIRED
    assert "The key 'old' expired on 2026-11-22 12:30 UTC." in str(error)
    assert (await _refused(room, _sibling(text))).reason is Refusal.UNAUTHENTICATED


async def test_an_expired_key_makes_room_for_a_successor_of_its_name(room: Any):
    old = await room.make("bot", expires="1h")
    with pytest.raises(InvalidCall, match="already"):
        await room.make("Bot")
    room.clock.advance(3601)
    new = await room.make("bot")
    assert await room.enter(new)
    assert (await _refused(room, old)).reason in {Refusal.KEY_REVOKED, Refusal.KEY_EXPIRED}


async def test_new_roles_hold_from_the_next_call_on(room: Any):
    text = await room.make(roles=("reviewer",))
    assert Permission.PR_APPROVE in (await room.enter(text)).permissions
    room.book.replace({"reviewer": ("read_code",)})
    assert Permission.PR_APPROVE not in (await room.enter(text)).permissions
    room.book.replace({"reviewer": ()})
    assert (await room.enter(text)).permissions == frozenset()
    assert room.auth.lookups == 1


ATTACKS = [
    "' OR '1'='1",
    "aip_' OR 1=1; DROP TABLE keys; --" + "x" * 19,
    'aip_"; SELECT pg_sleep(10); --',
    "aip_" + "%" * 48,
    "aip_" + "é" * 48,
    "aip_" + "\N{FULLWIDTH DIGIT ZERO}" * 48,
    "aip_" + "\N{ARABIC-INDIC DIGIT ZERO}" * 48,
    "aip_" + "\0" * 48,
    "aip_\r\nX-Admin: 1",
    "\udcff" * 52,
    "aip_" + "a" * 10_000_000,
    "AIP_" + "0" * 48,
    " " + UNKNOWN,
]


async def test_a_key_that_looks_like_an_attack_is_only_a_wrong_key(room: Any):
    for text in ATTACKS:
        error = await _refused(room, text)
        assert error.reason is Refusal.UNAUTHENTICATED
        assert len(str(error)) < 300
    assert room.auth.lookups == 0
    assert await room.system.fetchval("SELECT count(*) FROM keys") == 0
