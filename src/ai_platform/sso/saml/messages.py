"""What the parts of this package hand to one another; none of it needs XML.

Above: answer, idp_metadata, provider. Below: nothing.
"""

from typing import Literal, NamedTuple, Protocol

import msgspec


class Opened(NamedTuple):
    """An answer as it came, not believed yet. request: the request it claims to answer, None = it was not asked for."""

    document: bytes
    request: str | None
    issuer: str
    encrypted: bool


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What a good answer must be.

    acs: the address it came to. entity_id: ours. issuer: the provider's. certificates: PEM, any of them may have
    signed. keys: our private keys, PEM, newest last. request: the one it must answer; None = it must answer none.
    now: epoch seconds. skew: how far clocks may differ, seconds.
    """

    acs: str
    entity_id: str
    issuer: str
    certificates: tuple[str, ...]
    keys: tuple[str, ...]
    request: str | None
    signed: Literal["assertion", "response", "either", "both"]
    encrypted: bool
    now: float
    skew: float


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a verified answer says. name_id, name_format: "" without one. expires: of the assertion, epoch seconds.

    session: the provider's name of the sign-in. until: when it ends there, None = not said. name_format_uri,
    qualifiers: of the name, as they stand there; a logout must repeat them.
    """

    assertion: str
    name_id: str
    name_format: str
    attributes: dict[str, list[str]]
    session: str | None
    until: float | None
    expires: float
    name_format_uri: str = ""
    qualifiers: tuple[str, str] = ("", "")


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """pem: of X.509. sha256: fingerprint in hexadecimal. expires: epoch seconds."""

    pem: str
    sha256: str
    expires: float


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider's metadata says. sso_url: for the redirect binding. wants_signed: requests must be signed.

    certificates: its signing keys; several while it changes them. until: epoch seconds after which all of this is void.
    logout_url, logout_answer_url: for single logout by the redirect binding, "" = it has none.
    """

    sso_url: str
    certificates: tuple[Certificate, ...]
    wants_signed: bool
    until: float | None
    logout_url: str = ""
    logout_answer_url: str = ""


class LogoutDemand(msgspec.Struct, frozen=True, kw_only=True):
    """What a good logout message must be. address: it came to. issuer: the provider's. now, skew: seconds."""

    address: str
    issuer: str
    now: float
    skew: float


class LogoutAsked(msgspec.Struct, frozen=True, kw_only=True):
    """The provider wants sign-ins ended. sessions: its names of them, empty = all of the person's.

    name_id: who; "" when it is encrypted.
    """

    id: str
    name_id: str
    sessions: tuple[str, ...]


class LogoutAnswered(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's answer to our wish. succeeded: everything ended there; False: not all, or nothing."""

    request: str
    succeeded: bool


class Reading(Protocol):
    """Reading XML: blocking, in a thread. Satisfied by the module `reading`, which needs the extra `saml`."""

    def opened(self, form_value: str, *, now: float, skew: float) -> Opened:
        """Raises Unauthenticated."""
        ...

    def verified(self, answer: Opened, demand: Demand) -> Facts:
        """Raises Unauthenticated."""
        ...

    def logout_asked(self, document: bytes, demand: LogoutDemand) -> LogoutAsked:
        """Of a document whose signature is good. Raises Unauthenticated."""
        ...

    def logout_answered(self, document: bytes, demand: LogoutDemand) -> LogoutAnswered:
        """Of a document whose signature is good. Raises Unauthenticated."""
        ...

    def described(self, document: bytes, *, issuer: str, signer: str | None, now: float) -> Described:
        """signer: PEM of the certificate that must have signed it. Raises ConfigError: it cannot be used."""
        ...
