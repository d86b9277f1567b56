"""Making, listing and revoking keys: stored hashed, scoped, and never more than the maker may do."""

from typing import Any

import asyncpg
import msgspec
import pytest

from ai_platform.domain.errors import Denied, InvalidCall
from ai_platform.domain.permission import ALIASES, EVERYTHING, Permission
from ai_platform.domain.principal import Principal, PrincipalKind
from ai_platform.identity.expiry import parse_expiry
from ai_platform.identity.scopes import reach_of

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("ID-3")]

NOW = 1_795_348_800.0


async def test_the_database_never_holds_a_key(room: Any):
    text = await room.make("ann", email="ann@example.com")
    rows = await room.system.fetch("SELECT k::text || p::text AS everything FROM keys k, principals p")
    assert rows
    for row in rows:
        for part in (text, text[16:46], text[16:], text[16:].encode().hex()):
            assert part not in row["everything"]


async def test_the_gateways_role_cannot_give_a_key_more_or_make_it_vanish(room: Any):
    await room.make("ann")
    for sql in ("UPDATE keys SET roles = '{admin}'", "DELETE FROM keys", "UPDATE keys SET secret_hash = ''"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await room.system.execute(sql)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await room.system.execute("UPDATE principals SET kind = 'service'")


@pytest.mark.parametrize(
    ("roles", "scopes", "permissions"),
    [
        (("developer",), ("claude:messages:create",), {Permission.CLAUDE_INVOKE}),
        (("developer",), ("audit:trail:read",), set()),
        (
            ("developer",),
            ("claude:messages:create", "claude:models:read"),
            {"claude:messages:create", "claude:models:read"},
        ),
        (("admin",), ("read_code",), ALIASES["read_code"]),
        (("admin",), ("reviewer", "read_logs"), None),
        (("reviewer",), ("*",), None),
        (("reviewer",), ("model:x", "tool:y"), None),
        (("gone",), (), set()),
        (("admin",), ("gone",), set()),
    ],
)
def test_scopes_narrow_what_the_roles_allow(book: Any, roles: tuple, scopes: tuple, permissions: set | None):
    reach = reach_of(roles, scopes, book)
    if permissions is not None:
        assert reach.permissions == permissions
    assert reach.permissions <= book.permissions(roles) or EVERYTHING in book.permissions(roles)
    if scopes == ("reviewer", "read_logs"):
        assert reach.permissions == book.permissions(["reviewer"]) | ALIASES["read_logs"]
    if scopes in {("*",), ("model:x", "tool:y")}:
        assert reach.permissions == book.permissions(roles)
    assert reach.models == (("x",) if "model:x" in scopes else ())


UNUSABLE: list[tuple[dict[str, Any], str]] = [
    ({"roles": ("develper",)}, "There is no role 'develper'. Did you mean 'developer'?"),
    ({"scopes": ("claude:messages:creat",)}, "Did you mean 'claude:messages:create'?"),
    ({"scopes": ("zzz",)}, "or model:GLOB, tool:GLOB."),
    ({"scopes": ("model:",)}, "There is no scope 'model:'"),
    ({"name": ""}, "The name must be 1 to 100 printable characters"),
    ({"name": "a\nb"}, "The name must be"),
    ({"name": "a/b"}, "without '/'"),
    ({"name": "x" * 101}, "The name must be"),
    ({"team": "a;b"}, "The team 'a;b' is not usable"),
    ({"project": "\0"}, "The project"),
    ({"email": "ann"}, "is not an e-mail address"),
    ({"email": "a b@c"}, "is not an e-mail address"),
    ({"expires": "soon"}, "is not an expiry. Write a span (30m, 12h, 90d, 2w) or a date (2027-01-31)."),
    ({"expires": "2020-01-01"}, "is in the past"),
    ({"expires": "0d"}, "is in the past"),
    ({"expires": "999999w"}, "more than ten years"),
    ({"expires": "2999-01-01"}, "more than ten years"),
]


async def test_what_cannot_be_a_key_is_refused_with_the_reason(room: Any):
    for options, says in UNUSABLE:
        with pytest.raises(InvalidCall) as refused:
            await room.make(**{"name": "ann", **options})
        assert says in str(refused.value)
    assert await room.keys.list(tenant="default") == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30m", 1800),
        ("12h", 43_200),
        ("90d", 7_776_000),
        ("2w", 1_209_600),
        (" 1D ", 86_400),
        ("2026-11-23", 129_599.999999),
        ("2026-11-22T13:00:00Z", 3600),
        ("2026-11-22T13:00:00+01:00", None),
    ],
)
def test_an_expiry_is_a_span_or_a_date(text: str, seconds: float | None):
    if seconds is None:
        with pytest.raises(InvalidCall, match="in the past"):
            parse_expiry(text, NOW)
    else:
        assert parse_expiry(text, NOW).timestamp() == pytest.approx(NOW + seconds)


MAKER = frozenset({Permission.KEYS_WRITE.value, Permission.CLAUDE_INVOKE.value, Permission.CLAUDE_MODELS.value})


ESCALATIONS: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {"roles": ("admin",)}, False),
    ({}, {"roles": ("developer",)}, False),
    ({}, {"roles": ("developer",), "scopes": ("claude:messages:create",)}, True),
    ({}, {"roles": ("admin",), "scopes": ("claude:messages:create",)}, True),
    ({}, {"roles": ("admin",), "scopes": ("claude:messages:create", "audit:trail:read")}, False),
    ({}, {"roles": ("admin",), "scopes": ("model:x",)}, False),
    ({}, {"roles": ("admin",), "scopes": ("*",)}, False),
    ({"models": ("claude-haiku-*",)}, {"scopes": ("claude:messages:create",)}, False),
    ({"models": ("claude-haiku-*",)}, {"scopes": ("claude:messages:create", "model:claude-*")}, False),
    ({"models": ("claude-haiku-*",)}, {"scopes": ("claude:messages:create", "model:claude-haiku-*")}, True),
    ({"tools": ("kb/*",)}, {"scopes": ("claude:messages:create",)}, False),
    ({"permissions": frozenset({EVERYTHING})}, {"roles": ("admin",)}, True),
    ({"permissions": frozenset({EVERYTHING}), "models": ("x",)}, {"roles": ("admin",)}, False),
]


async def test_nobody_makes_a_key_that_may_do_more_than_the_maker(room: Any):
    for number, (maker, options, allowed) in enumerate(ESCALATIONS):
        by = Principal(**({"id": "usr_m", "name": "maker", "permissions": MAKER} | maker))
        if allowed:
            assert await room.keys.create(f"new {number}", by=by, **options)
        else:
            with pytest.raises(Denied, match="A key cannot be allowed more than the key that makes it"):
                await room.keys.create(f"new {number}", by=by, **options)
    assert len(await room.keys.list(tenant="default")) == sum(allowed for *_, allowed in ESCALATIONS)


async def test_the_first_start_makes_one_admin_key_and_later_ones_none(room: Any, other: Any):
    text = await room.keys.ensure_admin_key()
    assert (await room.enter(text)).permissions == {EVERYTHING}
    assert await room.keys.ensure_admin_key() is None
    assert await other.keys.ensure_admin_key() is None
    replaced = await other.keys.ensure_admin_key(replace=True)
    assert replaced not in {None, text}
    assert (await room.enter(replaced)).permissions == {EVERYTHING}
    await room.auth.watch(room.system)
    room.auth.forget("key_" + text[4:16])
    assert [key.name for key in await room.keys.list(tenant="default")] == ["admin"]


async def test_the_last_key_that_may_do_everything_cannot_be_revoked(room: Any):
    await room.keys.ensure_admin_key()
    await room.make("narrow", roles=("admin",), scopes=("read_code",))
    with pytest.raises(InvalidCall, match="the last key that may do everything"):
        await room.keys.revoke("admin", by=room.admin)
    await room.make("second", roles=("admin",))
    assert (await room.keys.revoke("admin", by=room.admin)).revoked_at


async def test_the_list_shows_owners_scopes_and_use_and_hides_what_ended(room: Any):
    await room.make("ann", email="ann@example.com", team="web", scopes=("model:claude-*",))
    await room.make("ci", kind=PrincipalKind.SERVICE, expires="1h")
    await room.make("gone")
    await room.keys.revoke("gone", by=room.admin)
    room.clock.advance(3601)
    assert [key.name for key in await room.keys.list(tenant="default")] == ["ann"]
    everything = {key.name: key for key in await room.keys.list(tenant="default", include_ended=True)}
    assert {name: room.keys.status(key) for name, key in everything.items()} == {
        "ann": "active",
        "ci": "expired",
        "gone": "revoked",
    }
    assert everything["ann"].created_by == "usr_admin"
    assert b"secret" not in msgspec.json.encode(list(everything.values()))


async def test_a_name_that_is_no_key_is_only_that(room: Any):
    await room.make("ann")
    for name in ("nobody", "'; DROP TABLE keys; --", "", "%", "key_000000000000", "\0", "\xe9" * 5000):
        with pytest.raises(InvalidCall, match="There is no key"):
            await room.keys.revoke(name, by=room.admin)
    assert len(await room.keys.list(tenant="default")) == 1


async def test_a_key_of_another_tenant_cannot_be_seen_or_revoked(room: Any):
    await room.make("ann")
    stranger = Principal(id="usr_x", name="x", permissions=frozenset({EVERYTHING}), tenant="elsewhere")
    assert await room.keys.list(tenant="elsewhere") == []
    with pytest.raises(InvalidCall, match="There is no key"):
        await room.keys.revoke("ann", by=stranger)
