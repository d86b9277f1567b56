"""Who is calling: a person, a service account or the platform's own admin key, after authentication."""

from enum import StrEnum

import msgspec

from ai_platform.domain.permission import EVERYTHING, PLATFORM_WIDE, Permission

SIGNED_IN = "signin_"
"""Prefix of `key_id` of whoever signed in: the same for all tokens of one person, so that a budget for a key is not
fresh after every sign-in.
"""

FEDERATED = "federated_"
"""The same of a service account that came with a token of another issuer."""
HOME = "default"
"""The operator's own tenant, the only one unless others are made. Who runs the platform belongs to it."""


class PrincipalKind(StrEnum):
    PERSON = "person"
    SERVICE = "service"


class Credentials(msgspec.Struct, frozen=True):
    """What the caller presented, unverified. `repr` hides the secret.

    secret: the bearer token or API key, None when there was none.
    source: the header it came in, e.g. `authorization` or `x-api-key`.
    resource: the path of the protected resource they were presented to (RFC 8707), `/mcp/NAME`; "" = the API. A
    token that was issued for one is not taken at another; a platform key is good at all.
    """

    secret: str | None
    source: str = ""
    resource: str = ""

    def __repr__(self) -> str:
        return f"Credentials(secret={'***' if self.secret else None}, source={self.source!r}, {self.resource!r})"


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated caller.

    id: stable identifier used in the ledger, the audit log and budgets.
    models: glob patterns this credential may use; empty = no restriction by the credential.
    tools: the same for MCP tools, `server/tool`.
    narrowed: the credential may do less than its owner's roles; no rule of the policy widens it again.
    permissions: granted permissions, or {"*"}.
    groups: of the identity provider, those that the configuration names.
    """

    id: str
    name: str
    kind: PrincipalKind = PrincipalKind.PERSON
    email: str | None = None
    roles: tuple[str, ...] = ()
    permissions: frozenset[str] = frozenset()
    team: str | None = None
    project: str | None = None
    tenant: str = HOME
    region: str | None = None
    key_id: str | None = None
    models: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    narrowed: bool = False

    @property
    def signed_in(self) -> bool:
        """By single sign-on, not with a platform key."""
        return self.key_id is not None and self.key_id.startswith(SIGNED_IN)

    def may(self, permission: Permission) -> bool:
        if self.tenant != HOME and permission in PLATFORM_WIDE:
            return False
        return permission in self.permissions or EVERYTHING in self.permissions
