"""Who signed in -> the principal they are here, the same one that keys, budgets and the audit log know.

A person is known by the provider's own identifier. An address joins them to what was there before them (a key made
for that address), but never to somebody else of the same provider: an address can be given to another person.
Above: signon. Below: stores.
"""

from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.principal import FEDERATED, HOME, SIGNED_IN, Principal, PrincipalKind
from ai_platform.identity.scopes import RoleBook, reach_of
from ai_platform.sso.mapping import Person
from ai_platform.stores.postgres import Database, Gone


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A person with the rights of their last word from the provider; what sessions and tokens are for.

    For a service account, provider and subject are the issuer's name and what it calls the caller.
    scopes: narrow the roles, as those of a key do. sid: the provider's name of this sign-in, for its sign-out.
    until: epoch seconds after which nothing may come of this sign-in, where the provider set an end to it.
    """

    id: str
    name: str
    provider: str
    subject: str
    email: str | None = None
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    team: str | None = None
    region: str | None = None
    tenant: str = HOME
    kind: PrincipalKind = PrincipalKind.PERSON
    project: str | None = None
    scopes: tuple[str, ...] = ()
    sid: str | None = None
    until: float | None = None

    def principal(self, roles: RoleBook) -> Principal:
        """Whoever calls with this sign-in, with what the policy lets them do now. The only place that says so."""
        reach = reach_of(self.roles, self.scopes, roles)
        return Principal(
            id=self.id,
            name=self.name,
            kind=self.kind,
            email=self.email,
            roles=self.roles,
            permissions=reach.permissions,
            team=self.team,
            project=self.project,
            tenant=self.tenant,
            region=self.region,
            key_id=(SIGNED_IN if self.kind is PrincipalKind.PERSON else FEDERATED) + self.id,
            models=reach.models,
            tools=reach.tools,
            groups=self.groups,
            narrowed=reach.narrowed,
        )


def access_ended() -> Denied:
    """Nothing begins any more for this person, or this organisation."""
    return Denied(Refusal.PERMISSION_MISSING, "Your access to this platform was ended.", rule="people")


class People:
    def __init__(self, database: Database, clock: Clock, *, contact: str) -> None:
        self._database = database
        self._clock = clock
        self._contact = contact

    async def account_of(self, person: Person) -> Account:
        """Made on first sight.

        Raises:
            Denied: the address belongs to another account of the same provider, or the account to another tenant; the
                tenant is not there, or disabled; the person was suspended or removed.

        """
        tenant = person.tenant or HOME
        found = await self.find(person.provider, person.subject)
        if found is not None and found[1] != tenant:
            message = (
                f"Your account belongs to the organisation '{found[1]}' here, and the identity provider now says"
                f" '{tenant}'. {self._contact}"
            )
            raise Denied(Refusal.PERMISSION_MISSING, message, rule="one organisation an account")
        known = found[0] if found else await self._join(person, tenant)
        if known is None:
            message = (
                f"The address {person.email} belongs to another account of this identity provider. {self._contact}"
            )
            raise Denied(Refusal.PERMISSION_MISSING, message, rule="one account an address")
        team = await self._check(known, person, tenant)
        return Account(
            id=known,
            name=person.name,
            provider=person.provider,
            subject=person.subject,
            email=person.email,
            roles=person.roles,
            groups=person.groups,
            team=team,
            region=person.region,
            tenant=tenant,
            sid=person.sid,
            until=person.until,
        )

    async def _check(self, principal: str, person: Person, tenant: str) -> str | None:
        """Their team: the provider's word, which is kept, else the one they were put into. Raises Denied."""
        row: Any = await self._database.within(tenant).fetchrow(
            "WITH moved AS ("
            "  UPDATE principals SET team = $2::text"
            "  WHERE id = $1 AND $2::text IS NOT NULL AND team IS DISTINCT FROM $2::text)"
            " SELECT p.state, p.team, t.disabled_at IS NOT NULL AS disabled FROM principals p, tenants t"
            " WHERE p.id = $1",
            principal,
            person.team,
        )
        if row["disabled"]:
            message = f"The organisation '{tenant}' is disabled on this platform. {self._contact}"
            raise Denied(Refusal.PERMISSION_MISSING, message, rule="tenants")
        if row["state"] != "active":
            message = f"Your access to this platform is {row['state']}. {self._contact}"
            raise Denied(Refusal.PERMISSION_MISSING, message, rule="people")
        return person.team or row["team"]

    async def find(self, provider: str, subject: str) -> tuple[str, str] | None:
        """(principal, tenant) of whom the provider calls so, before it is known whose they are here."""
        row: Any = await self._database.presenting(f"{provider} {subject}").fetchrow(
            "SELECT principal_id, tenant FROM sso_identities WHERE provider = $1 AND subject = $2", provider, subject
        )
        return (row["principal_id"], row["tenant"]) if row else None

    async def _join(self, person: Person, tenant: str) -> str | None:
        try:
            return await self._joined(person, tenant)
        except Gone as error:
            message = f"The organisation '{tenant}' does not exist on this platform. {self._contact}"
            raise Denied(Refusal.PERMISSION_MISSING, message, rule="tenants") from error

    async def _joined(self, person: Person, tenant: str) -> str | None:
        handle = person.email or f"oidc:{person.provider}:{person.subject}"
        async with self._database.within(tenant).transaction() as connection:
            await connection.execute(
                "INSERT INTO principals (id, kind, handle, name, email) VALUES ($1, $2, $3, $4, $5)"
                " ON CONFLICT (tenant, handle) DO NOTHING",
                new_id("usr", self._clock.now()),
                PrincipalKind.PERSON.value,
                handle,
                person.name,
                person.email,
            )
            principal: str = await connection.fetchval("SELECT id FROM principals WHERE handle = $1", handle)
            # The constraint (provider, principal_id) says no when the address is another subject's already.
            added = await connection.fetchval(
                "INSERT INTO sso_identities (provider, subject, principal_id) VALUES ($1, $2, $3)"
                " ON CONFLICT DO NOTHING RETURNING principal_id",
                person.provider,
                person.subject,
                principal,
            )
            return added or await connection.fetchval(
                "SELECT principal_id FROM sso_identities WHERE provider = $1 AND subject = $2",
                person.provider,
                person.subject,
            )
