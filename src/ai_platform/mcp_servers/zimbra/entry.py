"""The nouns of a Zimbra site, and what must be known of one. Nothing here can change a site."""

import re
from typing import Protocol

import msgspec

ADDRESS = r"^[A-Za-z0-9_][A-Za-z0-9._%+'=&~-]{0,63}@[A-Za-z0-9][A-Za-z0-9.-]{0,250}[A-Za-z0-9]$"
DOMAIN = r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,250}[A-Za-z0-9])?$"
_SYSTEM = re.compile(r"(?:galsync|spam\.|ham\.|virus-quarantine\.)[^@]*@")


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """name: its own address, also when an alias was asked for. last_login: as Zimbra writes it. "" is unknown."""

    name: str
    id: str
    status: str = ""
    mail_status: str = ""
    host: str = ""
    last_login: str = ""
    warn_percent: int = 90


class Usage(msgspec.Struct, frozen=True):
    """used, limit: bytes. A limit of 0 is none."""

    name: str
    used: int
    limit: int

    @property
    def percent(self) -> float | None:
        return round(100 * self.used / self.limit, 1) if self.limit > 0 else None

    @property
    def is_system(self) -> bool:
        """Zimbra's own account: address list synchronisation, spam training, quarantine."""
        return _SYSTEM.match(self.name) is not None


class Domain(msgspec.Struct, frozen=True):
    """status: active, maintenance, locked, closed, suspended, shutdown. kind: local or alias."""

    name: str
    status: str = ""
    kind: str = ""


class Service(msgspec.Struct, frozen=True):
    host: str
    name: str
    running: bool


class Site(Protocol):
    """Every method may raise UpstreamError: Zimbra cannot be asked, refused, or said what cannot be understood."""

    async def domains(self) -> list[Domain]: ...

    async def usage(self, domain: str) -> dict[str, Usage]:
        """Of every account of a domain, by its name; 0 used for one that has no mailbox yet."""
        ...

    async def account(self, email: str) -> Account | None: ...

    async def has_mailbox(self, account: Account) -> bool:
        """Whether one was made, which happens at the first login or the first message."""
        ...

    async def services(self) -> list[Service]: ...


def is_address(text: str) -> bool:
    """One that cannot be an option or more than one argument, whoever reads it."""
    return re.fullmatch(ADDRESS[1:-1], text) is not None and ".." not in text


def is_domain(text: str) -> bool:
    return re.fullmatch(DOMAIN[1:-1], text) is not None and ".." not in text
