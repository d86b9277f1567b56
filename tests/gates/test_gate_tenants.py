"""Every table keeps organisations apart, or stands here with the reason why it need not."""

from typing import Any

import pytest

from ai_platform.stores.postgres import SystemDatabase
from ai_platform.testing.postgres import FreshDatabase

pytestmark = pytest.mark.anyio

SYSTEM_ONLY = {
    "migrations": "what was applied to the database; the owner's",
    "audit_log": "which logs there are: they are one for all tenants",
    "audit_log_sealed": "the same",
    "audit_block": "hashes over all tenants' leaves",
    "audit_checkpoint": "signed hashes over all tenants' leaves",
    "audit_subject": "wrapped keys by pseudonym",
    "audit_alias": "pseudonyms by keyed hash",
    "audit_key": "check values of key files",
    "gateway_process": "which processes live",
    "mcp_servers": "MCP servers are the operator's; each names the tenants that may see it",
    "mcp_trust": "decisions of the operator about them",
    "mcp_pins": "the same",
}
"""Tables of no organisation: the gateway's role has no right on them at all."""

BY_SECRET = {
    "sso_devices": "a code on a screen is nobody's until it is approved; it is found by the hash of one of its codes",
    "saml_requests": "a sign-in under way is nobody's until its answer has come; found by the hash of its id",
}
"""Tables without a tenant whose rows can only be found by a secret."""

PRESENTED = {
    ("keys", "SELECT"): "the Authenticator finds a key by its id, one row",
    ("principals", "SELECT"): "and its owner",
    ("sso_sessions", "SELECT"): "a cookie's session, by hash",
    ("sso_sessions", "UPDATE"): "the same, to note its use and its end",
    ("sso_identities", "SELECT"): "who a provider speaks of, by its own identifier of them",
    ("sso_grants", "SELECT"): "a refresh token's family, by id",
    ("sso_grants", "UPDATE"): "the same, to rotate and end it",
    ("sso_devices", "ALL"): "see above",
    ("sso_codes", "SELECT"): "an authorisation code, by hash",
    ("sso_codes", "UPDATE"): "the same, to use it up",
    ("saml_requests", "ALL"): "see above",
}
"""Rows that may be found without a tenant, by a secret, and for what."""

OWN_ROW = {"tenants": "a tenant sees its own name"}
"""Tables of the tenants themselves: the name is the tenant."""

TABLES = """
SELECT c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS forced,
    coalesce((SELECT a.attnotnull FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant'), false)
        AS has_tenant,
    has_table_privilege('aip_gateway', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
        OR has_any_column_privilege('aip_gateway', c.oid, 'SELECT, INSERT, UPDATE, REFERENCES') AS open
FROM pg_class c WHERE c.relnamespace = 'aip'::regnamespace AND c.relkind IN ('r', 'p', 'f', 'm')
"""
POLICIES = """
SELECT tablename AS name, policyname AS policy, permissive, roles::text[] AS roles, cmd, qual, with_check
FROM pg_policies WHERE schemaname = 'aip'
"""


async def tables(system: SystemDatabase) -> dict[str, Any]:
    return {row["name"]: row for row in await system.fetch(TABLES)}


def how_to(name: str) -> str:
    return f"{name} is not isolated: see 'A new table' in ARCHITECTURE.md (CALL isolate('{name}'))"


async def test_every_table_has_a_tenant_and_forced_row_level_security(system: SystemDatabase):
    found = await tables(system)
    for name, row in found.items():
        if name in SYSTEM_ONLY:
            assert not row["open"], f"{name} is the system's alone: REVOKE ALL ON {name} FROM aip_gateway"
            continue
        assert row["forced"], how_to(name)
        assert row["has_tenant"] or name in BY_SECRET or name in OWN_ROW, how_to(name)
    assert set(found) >= set(SYSTEM_ONLY) | set(BY_SECRET) | set(OWN_ROW), "an exception for a table that is gone"


async def test_no_policy_shows_the_gateway_more_than_one_tenant(system: SystemDatabase):
    known = await tables(system)
    seen: set[tuple[str, str]] = set()
    for row in await system.fetch(POLICIES):
        name, policy = row["name"], row["policy"]
        assert row["permissive"] == "PERMISSIVE"
        if policy == "system":
            assert row["roles"] == ["aip_system"], f"{name}: 'system' is for aip_system and nobody else"
        elif policy == "tenant" and name in OWN_ROW:
            assert (row["cmd"], row["qual"]) == ("SELECT", "(name = tenant())")
        elif policy == "tenant":
            assert (row["cmd"], row["qual"], row["with_check"]) == (
                "ALL",
                "(tenant = tenant())",
                "(tenant = tenant())",
            ), how_to(name)
            seen.add((name, "tenant"))
        else:
            assert (name, row["cmd"]) in PRESENTED, f"{name}: the policy {policy!r} is not in the list of exceptions"
            assert "presented()" in row["qual"]
    isolated = set(known) - set(SYSTEM_ONLY) - set(BY_SECRET) - set(OWN_ROW)
    assert {name for name, _ in seen} == isolated


async def test_an_insert_that_names_no_tenant_takes_the_one_it_is_made_in(system: SystemDatabase):
    rows = await system.fetch(
        "SELECT c.relname, pg_get_expr(d.adbin, d.adrelid) AS given FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)"
        " WHERE c.relnamespace = 'aip'::regnamespace AND c.relkind IN ('r', 'p') AND a.attname = 'tenant'"
    )
    assert {row["relname"]: row["given"] for row in rows} == {row["relname"]: "tenant()" for row in rows}


async def test_views_read_with_the_rights_of_who_asks(system: SystemDatabase):
    rows = await system.fetch(
        "SELECT relname, coalesce('security_invoker=true' = ANY(reloptions), false) AS safe FROM pg_class"
        " WHERE relnamespace = 'aip'::regnamespace AND relkind = 'v'"
    )
    assert rows
    assert [row["relname"] for row in rows if not row["safe"]] == [], "CREATE VIEW ... WITH (security_invoker = true)"


async def test_no_function_lends_anybody_its_owners_rights(system: SystemDatabase):
    rows = await system.fetch("SELECT proname FROM pg_proc WHERE pronamespace = 'aip'::regnamespace AND prosecdef")
    assert [row["proname"] for row in rows] == [], "SECURITY DEFINER would see every tenant"


async def test_the_gateways_role_cannot_become_the_systems(own_database: FreshDatabase, system: SystemDatabase):
    rights = await system.fetchrow(
        "SELECT pg_has_role('aip_gateway', 'aip_system', 'MEMBER') AS member,"
        " bool_or(rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication) AS much"
        " FROM pg_roles WHERE rolname IN ('aip_gateway', 'aip_system')"
    )
    assert dict(rights) == {"member": False, "much": False}
