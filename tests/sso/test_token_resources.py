"""A token is good at the resource it was issued for and nowhere else (RFC 8707)."""

import pytest

from ai_platform.domain.errors import Unauthenticated
from ai_platform.domain.principal import Credentials, PrincipalKind
from ai_platform.policy import Roles
from ai_platform.sso.people import Account
from ai_platform.sso.tokens import AccessTokens
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.anyio
ANN = Account(id="usr_1", name="Ann", provider="corp", subject="1", roles=("developer",), team="web")


class Book:
    version = "1"

    def permissions(self, roles: tuple[str, ...]) -> frozenset[str]:
        return Roles({}).permissions(roles)

    def role_names(self) -> tuple[str, ...]:
        return Roles({}).names()


class NothingEnded:
    async def revoked_since(self, system: None, seconds: float) -> list[object]:
        del system, seconds
        return []


@pytest.fixture
async def tokens(clock: FakeClock) -> AccessTokens:
    made = AccessTokens(
        key=b"k" * 32,
        issuer="https://p.example",
        clock=clock,
        roles=Book(),  # type: ignore[arg-type]
        seconds=900,
        grants=NothingEnded(),  # type: ignore[arg-type]
    )
    await made.watch(None)  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(
    ("issued_for", "good_at", "bad_at"),
    [
        ("", [""], ["/mcp", "/mcp/kb"]),
        ("/mcp", ["/mcp", "/mcp/kb"], ["", "/mcpx", "/admin"]),
        ("/mcp/kb", ["/mcp/kb"], ["", "/mcp", "/mcp/kb2", "/mcp/deploy"]),
    ],
)
async def test_a_token_is_taken_where_it_is_for(
    tokens: AccessTokens, issued_for: str, good_at: list[str], bad_at: list[str]
):
    token = tokens.mint("grt_1", ANN, resource=issued_for)
    for _ in range(2):  # known from before, too
        for resource in good_at:
            assert tokens.principal(token, resource).id == "usr_1"
        for resource in bad_at:
            with pytest.raises(Unauthenticated, match="good nowhere else"):
                tokens.principal(token, resource)


async def test_a_service_account_is_told_from_a_person_and_narrowed_by_scopes(tokens: AccessTokens, clock: FakeClock):
    account = Account(
        id="svc_1",
        name="ci",
        provider="github",
        subject="repo:acme/web",
        roles=("developer",),
        kind=PrincipalKind.SERVICE,
        project="web",
        scopes=("claude:messages:create", "model:claude-haiku-*"),
    )
    token = tokens.mint("grt_2", account, seconds=300)
    caller = tokens.principal(token)
    assert (caller.kind, caller.project, caller.models) == (PrincipalKind.SERVICE, "web", ("claude-haiku-*",))
    assert caller.permissions == {"claude:messages:create"}
    assert not caller.signed_in
    clock.advance(301)
    with pytest.raises(Unauthenticated, match="expired"):
        tokens.principal(token)


def test_what_credentials_show_holds_no_secret():
    assert "secret-text" not in repr(Credentials("secret-text", "authorization", "/mcp"))
