"""Rules that turn groups and attributes into roles, team, region and tenant: each provider's and the shared file's."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ai_platform.config import Settings
from ai_platform.documents import load
from ai_platform.domain.errors import ConfigError, Denied
from ai_platform.policy import Roles
from ai_platform.sso.mapping import Person, person_of, said_by_claims
from ai_platform.sso.people import People
from ai_platform.sso.rules import Rules
from ai_platform.sso.settings import ClaimNames, GroupRule, ProviderSettings, SsoSettings
from ai_platform.stores.postgres import Database, SystemDatabase
from ai_platform.testing import FakeClock

pytestmark = pytest.mark.anyio

CLAIMS = {"sub": "1", "email": "ann@a.example", "email_verified": True, "department": "Finance", "groups": ["dev"]}
A = ProviderSettings(
    name="a",
    issuer="https://a.example",
    client_id="x",
    email_domains=("a.example",),
    groups=(GroupRule(group="dev", roles=("developer",), team="own"),),
)
B = ProviderSettings(name="b", issuer="https://b.example", client_id="x", email_domains=("*",), tenant="bees")


class Book:
    version = "1"

    def permissions(self, roles: Iterable[str]) -> frozenset[str]:
        return Roles({}).permissions(roles)

    def role_names(self) -> tuple[str, ...]:
        return Roles({}).names()


async def person(rules: Rules, provider: ProviderSettings, **claims: Any) -> Person:
    said = said_by_claims(CLAIMS | claims, provider.claims)
    return person_of(said, provider, await rules.of(provider), contact="Ask Bo.")


def rules_of(file: Path, text: str) -> Rules:
    file.write_text(text)
    return Rules(SsoSettings(providers=(A, B), mapping_file=file), Book())


async def test_the_shared_file_adds_to_a_providers_own_rules_which_come_first(tmp_path: Path):
    rules = rules_of(
        tmp_path / "rules.yaml",
        """
        rules:
          - {group: dev, roles: [reviewer], team: shared, region: eu}
          - {attribute: department, value: Finance, roles: [security_auditor]}
          - {provider: b, attribute: department, value: "*", roles: [member]}
        """,
    )
    ann = await person(rules, A)
    assert (ann.roles, ann.team, ann.region) == (("developer", "reviewer", "security_auditor"), "own", "eu")
    bo = await person(rules, B, groups=[])
    assert (bo.roles, bo.tenant) == (("security_auditor", "member"), "bees")
    with pytest.raises(Denied, match=r"Ask Bo\."):
        await person(rules, B, groups=[], department=None)


async def test_a_changed_file_counts_at_the_next_sign_in_and_a_bad_one_not_at_all(tmp_path: Path):
    file = tmp_path / "rules.yaml"
    rules = rules_of(file, "rules: [{provider: b, group: dev, roles: [developer]}]")
    assert (await person(rules, B)).roles == ("developer",)
    file.write_text("rules: [{provider: b, group: dev, roles: [reviewer]}] ")
    assert (await person(rules, B)).roles == ("reviewer",)
    file.write_text("rules: [{provider: b, group: dev, roles: [admiral]}]  ")
    assert (await person(rules, B)).roles == ("reviewer",)
    assert rules.failures == 1
    file.unlink()
    assert (await person(rules, B)).roles == ("reviewer",)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("rules: [{group: dev, roles: [admiral]}]", r"rules\.yaml:1:9: .*'admiral'"),
        ("rules: [{provider: c, group: dev}]", "no provider 'c'"),
        ("rules: [{provider: b, group: dev, tenant: wasps}]", "belongs to 'bees'"),
        ("rules: [{group: dev, tenant: wasps}]", "belongs to 'bees'"),
        ("rules: [{roles: [developer]}]", "either a group, or an attribute"),
        ("rules: [{group: x, attribute: y, value: z}]", "either a group, or an attribute"),
        ("rules: [{attribute: y}]", "either a group, or an attribute"),
        ("rule: []", "Unknown key 'rule'"),
    ],
)
def test_a_rule_that_cannot_hold_is_told_with_its_place(tmp_path: Path, text: str, why: str):
    with pytest.raises(ConfigError, match=why):
        rules_of(tmp_path / "rules.yaml", text)


async def test_who_belongs_to_a_provider_of_one_tenant_cannot_say_to_be_of_another():
    named = ProviderSettings(
        name="a",
        issuer="https://a.example",
        client_id="x",
        claims=ClaimNames(tenant="org"),
        groups=(GroupRule(group="*", roles=("member",), tenant="ants"),),
    )
    rules = Rules(SsoSettings(providers=(named,)), Book())
    assert (await person(rules, named)).tenant == "ants"
    assert (await person(rules, named, org="wasps")).tenant == "wasps"
    fixed = ProviderSettings(
        name="a", issuer="https://a.example", client_id="x", tenant="bees", claims=named.claims,
        groups=(GroupRule(group="*", roles=("member",)),),
    )  # fmt: skip
    rules = Rules(SsoSettings(providers=(fixed,)), Book())
    assert (await person(rules, fixed, org="wasps")).tenant == "bees"


def test_of_several_providers_each_says_for_whose_addresses_it_speaks():
    text = """
    sso:
      providers:
        - {name: a, issuer: "https://a.example", client_id: x, email_domains: [a.example]}
        - {name: b, issuer: "https://b.example", client_id: x}
    """
    with pytest.raises(ConfigError, match="'b' needs email_domains"):
        load(text, Settings)
    assert load(text.replace("client_id: x}", 'client_id: x, email_domains: ["*"]}'), Settings).sso.providers


async def test_the_same_address_in_two_tenants_is_two_people_and_nobody_moves_over(
    database: Database, system: SystemDatabase, clock: FakeClock
):
    await system.execute("INSERT INTO tenants (name, title, created_by) VALUES ('bees', 'Bees', 'test')")
    people = People(database, clock, contact="Ask Bo.")
    here = Person(provider="a", subject="1", name="Ann", email="ann@a.example", roles=("member",))
    there = Person(provider="b", subject="1", name="Ann", email="ann@a.example", roles=("member",), tenant="bees")
    ann, other = await people.account_of(here), await people.account_of(there)
    assert (ann.tenant, other.tenant) == ("default", "bees")
    assert ann.id != other.id
    moved = Person(provider="a", subject="1", name="Ann", email="ann@a.example", roles=("member",), tenant="bees")
    with pytest.raises(Denied, match="belongs to the organisation 'default'"):
        await people.account_of(moved)


async def test_an_address_is_never_the_handle_of_something_else():
    """A service account's or a local administrator's: whoever chooses their address at the provider would be it."""
    anybody = ProviderSettings(
        name="a", issuer="https://a.example", client_id="x", groups=(GroupRule(group="dev", roles=("developer",)),)
    )
    rules = Rules(SsoSettings(providers=(anybody,)), Book())
    for address in ("service:ci@a.example", "break-glass:x@a.example", "scim:y@a.example", "a b@a.example", "@a@b"):
        assert (await person(rules, anybody, email=address)).email is None
    assert (await person(rules, anybody, email="Ann+x@a.example")).email == "ann+x@a.example"
