"""What the parts of this package hand to one another. Above: the other modules. Below: nothing."""

from typing import NamedTuple, Protocol

import msgspec


class Admin(msgspec.Struct, frozen=True, kw_only=True):
    """As stored. totp: there is a secret for codes. keys: how many security keys. Moments are epoch seconds.

    open_at: when sign-ins over the network are taken again, 0 = now.
    """

    id: str
    name: str
    principal: str
    password: str
    totp: str | None
    keys: int
    created_at: float
    created_by: str
    active_at: float | None
    last_used_at: float | None
    open_at: float


class SecurityKey(NamedTuple):
    """One registered key (WebAuthn credential)."""

    credential_id: bytes
    public_key: bytes
    sign_count: int


class Site(NamedTuple):
    """Where the pages are. host: the relying party's id. origin: scheme, host and port."""

    host: str
    origin: str


class Factors(Protocol):
    """Second factors: codes (RFC 6238) and security keys (W3C Web Authentication). Satisfied by the module `factors`,
    which needs the extra `mfa`. Nothing here waits or stores.
    """

    def new_secret(self) -> str:
        """For codes, in base 32."""
        ...

    def uri(self, secret: str, *, name: str, issuer: str) -> str:
        """What an authenticator application reads."""
        ...

    def step_of(self, secret: str, code: str, *, now: float) -> int | None:
        """Which thirty seconds this is the code of, those before and after now's included. None: of none of them."""
        ...

    def registration(self, site: Site, *, admin: str, name: str, challenge: bytes, known: list[bytes]) -> str:
        """Options for the browser, JSON."""
        ...

    def registered(self, site: Site, *, answer: str, challenge: bytes) -> SecurityKey:
        """Raises Unauthenticated."""
        ...

    def authentication(self, site: Site, *, challenge: bytes, known: list[bytes]) -> str:
        """Options for the browser, JSON."""
        ...

    def credential_in(self, answer: str) -> bytes:
        """Which key an answer claims to be of. Raises Unauthenticated."""
        ...

    def authenticated(self, site: Site, *, answer: str, challenge: bytes, key: SecurityKey) -> int:
        """The key's new sign count. Raises Unauthenticated."""
        ...
