"""Platform keys: made, listed, revoked. Checking one that a caller presents is the Authenticator's.

A key is stored as an HMAC under a secret that is not in the database (`pepper`), so that a stolen database opens
nothing. Nobody can make a key that may do more than the maker. Above: entrypoints. Below: stores.
"""

import datetime as dt
import hmac
import re
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any

from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied, InvalidCall, NotFound
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.permission import EVERYTHING
from ai_platform.domain.principal import HOME, Principal, PrincipalKind
from ai_platform.identity.expiry import parse_expiry
from ai_platform.identity.key import SELECT, Key, key_of, principal_of, service_handle
from ai_platform.identity.scopes import Reach, RoleBook, check_names, exceeds, reach_of
from ai_platform.identity.token import new_token
from ai_platform.stores.postgres import Database, Duplicate, Gone

DEFAULT_ROLES = ("developer",)
ADMIN_ROLES = ("admin",)
ADMIN_NAME = "admin"
PLATFORM = "platform"
"""`created_by` of what the platform made itself."""

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_EMAIL = re.compile(r"[^@:\s\x00-\x1f]{1,64}@[^@:\s\x00-\x1f]{1,190}")  # no colon: RFC 5321, section 4.1.2


class Keys:
    """forget: called with a key's id when it changes, so that this process sees a revocation at once."""

    def __init__(
        self, database: Database, *, pepper: bytes, roles: RoleBook, clock: Clock, forget: Callable[[str], None]
    ) -> None:
        self._database = database
        self._pepper = pepper
        self._roles = roles
        self._clock = clock
        self._forget = forget

    async def create(
        self,
        name: str,
        *,
        by: Principal,
        kind: PrincipalKind = PrincipalKind.PERSON,
        owner: str = "",
        email: str | None = None,
        roles: Sequence[str] = DEFAULT_ROLES,
        team: str | None = None,
        project: str | None = None,
        scopes: Sequence[str] = (),
        expires: str | None = None,
    ) -> tuple[Key, str]:
        """The key and its text, which is shown this once and cannot be had again.

        name: unique among keys that are not revoked. owner, email: whose calls they are (default: the name); keys of
        one e-mail are one person's. expires: see `parse_expiry`; None = never.

        Raises:
            InvalidCall: a name, role, scope, address or expiry is not usable; the message says why.
            Denied: the key would be allowed more than `by` is.
            StoreUnavailable: nothing was made (or, when the connection broke at the end, a key nobody knows).

        """
        check_names(roles, scopes, self._roles)
        wanted = reach_of(roles, scopes, self._roles)
        if more := exceeds(wanted, Reach(by.permissions, by.models, by.tools)):
            message = (
                f"A key cannot be allowed more than the key that makes it: yours does not have {more}. Choose other"
                " --role or --scope values, or ask an administrator to make it."
            )
            raise Denied(Refusal.PERMISSION_MISSING, message, rule="no privilege escalation")
        ends = parse_expiry(expires, self._clock.now()) if expires else None
        values: dict[str, Any] = {
            "name": _text("name", name),
            "roles": list(dict.fromkeys(roles)),
            "scopes": list(dict.fromkeys(scopes)),
            "team": _label("team", team),
            "project": _label("project", project),
            "expires_at": ends,
            "tenant": by.tenant,
            "created_by": by.id,
        }
        return await self._insert(values, kind, _text("owner", owner or name), _email(email))

    async def _insert(
        self, values: dict[str, Any], kind: PrincipalKind, owner: str, email: str | None
    ) -> tuple[Key, str]:
        token = new_token()
        columns = {**values, "id": token.key_id, "secret_hash": hash_of(self._pepper, token.text)}
        names = ", ".join(columns)
        places = ", ".join(f"${number}" for number in range(2, len(columns) + 2))
        sql = f"INSERT INTO keys (principal_id, {names}) VALUES ($1, {places})"  # noqa: S608 - names come from code
        try:
            async with self._database.within(values["tenant"]).transaction() as connection:
                principal = await self._principal(connection, values["tenant"], kind, owner, email)
                # A key that ended by itself makes room for its successor of the same name.
                await connection.execute(
                    "UPDATE keys SET revoked_at = now(), revoked_by = $3, changed_at = now()"
                    " WHERE tenant = $1 AND lower(name) = lower($2) AND revoked_at IS NULL AND expires_at <= $4",
                    values["tenant"],
                    values["name"],
                    PLATFORM,
                    self._now(),
                )
                await connection.execute(sql, principal, *columns.values())
                row = await connection.fetchrow(f"{SELECT} WHERE k.id = $1", token.key_id)
        except Duplicate as error:
            message = f"There is a key named '{values['name']}' already. Revoke it first, or choose another name."
            raise InvalidCall(Refusal.INVALID_REQUEST, message) from error
        except Gone as error:
            message = (
                f"'{email or owner}' is suspended or removed, so no key can be made for them."
                " `ai-platform people resume` lets them back."
            )
            raise InvalidCall(Refusal.INVALID_REQUEST, message) from error
        return key_of(row), token.text

    async def _principal(self, connection: Any, tenant: str, kind: PrincipalKind, owner: str, email: str | None) -> str:
        """The id of this person or service account, made on first sight."""
        handle = email or f"name:{owner.lower()}" if kind is PrincipalKind.PERSON else service_handle(owner)
        fresh = new_id("svc" if kind is PrincipalKind.SERVICE else "usr", self._clock.now())
        await connection.execute(
            "INSERT INTO principals (id, tenant, kind, handle, name, email) VALUES ($1, $2, $3, $4, $5, $6)"
            " ON CONFLICT (tenant, handle) DO NOTHING",
            fresh,
            tenant,
            kind.value,
            handle,
            owner,
            email,
        )
        return await connection.fetchval("SELECT id FROM principals WHERE tenant = $1 AND handle = $2", tenant, handle)

    async def list(self, *, tenant: str, include_ended: bool = False) -> list[Key]:
        """Newest first. include_ended: expired and revoked ones too."""
        rows = await self._database.within(tenant).fetch(
            f"{SELECT} WHERE k.tenant = $1 AND ($2 OR (k.revoked_at IS NULL AND (k.expires_at IS NULL OR"
            " k.expires_at > $3))) ORDER BY k.created_at DESC, k.id LIMIT 10000",
            tenant,
            include_ended,
            self._now(),
        )
        return [key_of(row) for row in rows]

    async def get(self, id_or_name: str, *, tenant: str) -> Key:
        """By id, or by the name of a key that is not revoked. Raises NotFound."""
        row = await self._database.within(tenant).fetchrow(
            f"{SELECT} WHERE k.tenant = $1 AND (k.id = $2 OR (lower(k.name) = lower($2) AND k.revoked_at IS NULL))"
            " ORDER BY k.id = $2 DESC LIMIT 1",
            tenant,
            id_or_name.replace("\0", ""),
        )
        if row is None:
            raise NotFound(f"There is no key '{id_or_name[:60]}'. `ai-platform keys list` shows what there is.")
        return key_of(row)

    async def makers(self, key_id: str, *, tenant: str) -> frozenset[str]:
        """Principals who made this key, or a key of somebody who made it, and so on: each of them could use it."""
        rows = await self._database.within(tenant).fetch(
            "WITH RECURSIVE chain AS ("
            "  SELECT created_by FROM keys WHERE id = $1"
            "  UNION SELECT k.created_by FROM keys k JOIN chain c ON k.principal_id = c.created_by"
            ") SELECT created_by FROM chain",
            key_id,
        )
        return frozenset(row["created_by"] for row in rows)

    async def holder(self, key_id: str, *, tenant: str) -> Principal | None:
        """Whose key it is, with the rights of now; None when it has ended."""
        row = await self._database.within(tenant).fetchrow(
            f"{SELECT} WHERE k.tenant = $1 AND k.id = $2", tenant, key_id
        )
        key = None if row is None else key_of(row)
        if key is None or self.status(key) != "active":
            return None
        return principal_of(key, reach_of(key.roles, key.scopes, self._roles))

    async def names(self, principals: Collection[str], *, tenant: str) -> dict[str, str]:
        """E-mail address, else name, of each principal that is known."""
        rows = await self._database.within(tenant).fetch(
            "SELECT id, coalesce(email, name) AS shown FROM principals WHERE id = ANY($1::text[])", list(principals)
        )
        return {row["id"]: row["shown"] for row in rows}

    async def revoke(self, id_or_name: str, *, by: Principal) -> Key:
        """End a key now: at once in this process, within a second in the others. A revoked key stays revoked.

        Raises:
            NotFound: no such key.
            InvalidCall: it is the last one that may do everything.

        """
        key = await self.get(id_or_name, tenant=by.tenant)
        if key.revoked_at is not None:
            return key
        async with self.keeping_an_admin(by.tenant, lambda other: other.id == key.id) as connection:
            await connection.execute(
                "UPDATE keys SET revoked_at = now(), revoked_by = $2, changed_at = now()"
                " WHERE id = $1 AND revoked_at IS NULL",
                key.id,
                by.id,
            )
        self._forget(key.id)
        return await self.get(key.id, tenant=by.tenant)

    @asynccontextmanager
    async def keeping_an_admin(self, tenant: str, ends: Callable[[Key], bool]) -> AsyncGenerator[Any]:
        """A transaction within the tenant that may end the keys for which `ends` says so; one at a time, so that two
        of them cannot take away the last two admin keys.

        Raises:
            InvalidCall: none would be left that may do everything.

        """
        async with self._database.within(tenant).transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext($1))", f"ai-platform admins of {tenant}")
            rows = await connection.fetch(
                f"{SELECT} WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $1)", self._now()
            )
            full = [key for row in rows if self._is_full(key := key_of(row))]
            if full and all(ends(key) for key in full):
                message = f"'{full[0].name}' is the last key that may do everything. Make another admin key first."
                raise InvalidCall(Refusal.INVALID_REQUEST, message)
            yield connection

    async def took_last_admin(self, principal_id: str, *, tenant: str) -> bool:
        """Whether this principal had a key that may do everything and no such key is left in the tenant."""
        full = [key for key in await self.list(tenant=tenant, include_ended=True) if self._is_full(key)]
        had = any(key.principal_id == principal_id for key in full)
        return had and not any(self.status(key) == "active" for key in full)

    def status(self, key: Key) -> str:
        """`active`, `expired` or `revoked`, now."""
        return key.status(self._clock.now())

    async def ensure_admin_key(self, *, tenant: str = HOME, replace: bool = False) -> str | None:
        """The text of a new admin key of this tenant when there is none that may do everything, else None.

        replace: make a new one in any case and revoke the one named `admin` (for who lost it and owns the machine).
        """
        full = [key for key in await self.list(tenant=tenant) if self._is_full(key)]
        if full and not replace:
            return None
        for key in full:
            if key.name == ADMIN_NAME:
                await self._database.within(key.tenant).execute(
                    "UPDATE keys SET revoked_at = now(), revoked_by = $2, changed_at = now() WHERE id = $1",
                    key.id,
                    PLATFORM,
                )
                self._forget(key.id)
        values: dict[str, Any] = {
            "name": ADMIN_NAME,
            "roles": [*ADMIN_ROLES],
            "scopes": [],
            "tenant": tenant,
            "created_by": PLATFORM,
        }
        try:
            _, text = await self._insert(values, PrincipalKind.PERSON, ADMIN_NAME, None)
        except InvalidCall:  # another replica that starts at the same moment was faster
            return None
        return text

    def _now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._clock.now(), dt.UTC)

    def _is_full(self, key: Key) -> bool:
        return EVERYTHING in reach_of(key.roles, key.scopes, self._roles).permissions


def hash_of(pepper: bytes, text: str) -> bytes:
    """What is stored of a key: HMAC-SHA-256 of its whole text."""
    return hmac.digest(pepper, text.encode("latin-1", "replace"), "sha256")


def _text(what: str, value: str) -> str:
    text = value.strip()
    if not text or len(text) > 100 or not text.isprintable() or "/" in text:
        message = f"The {what} must be 1 to 100 printable characters without '/'."
        raise InvalidCall(Refusal.INVALID_REQUEST, message)
    return text


def _label(what: str, value: str | None) -> str | None:
    if value is None or not value.strip():
        return None
    if not _LABEL.fullmatch(value.strip()):
        message = f"The {what} '{value[:40]}' is not usable: letters, digits, space, '.', '_' and '-', at most 64."
        raise InvalidCall(Refusal.INVALID_REQUEST, message)
    return value.strip()


def _email(value: str | None) -> str | None:
    if value is None or not value.strip():
        return None
    if not _EMAIL.fullmatch(value.strip()):
        raise InvalidCall(Refusal.INVALID_REQUEST, f"'{value[:60]}' is not an e-mail address.")
    return value.strip().lower()
