"""What a simulated Zimbra has: domains, accounts, mailboxes, services, as one JSON file that all its parts share."""

from pathlib import Path

import msgspec

GIB = 1 << 30


class SimulatedAccount(msgspec.Struct, kw_only=True):
    """used, limit: bytes; a limit of 0 is none. mailbox: false until one was made."""

    name: str
    id: str
    status: str = "active"
    mail_status: str = "enabled"
    used: int = 0
    limit: int = 0
    mailbox: bool = True
    aliases: list[str] = []
    host: str = "mail1.simulated.example"
    last_login: str = "20261120081500.123Z"


class SimulatedSite(msgspec.Struct, kw_only=True):
    """domains: name -> status; an alias' status is `alias`. services: host -> name -> runs. asked: requests and
    commands as they came, without secrets. listed_attributes: the form of attributes in answers; it differs by version.
    logger: whether service states can be told.
    """

    administrator: str = "admin@simulated.example"
    password: str = "simulated-password"
    domains: dict[str, str] = {}
    accounts: list[SimulatedAccount] = []
    services: dict[str, dict[str, bool]] = {}
    listed_attributes: bool = False
    logger: bool = True
    lifetime_ms: int = 43_200_000
    asked: list[str] = []

    def find(self, name: str) -> SimulatedAccount | None:
        """By address, alias or identifier."""
        wanted = name.casefold()
        return next((one for one in self.accounts if wanted in {one.name, one.id, *one.aliases}), None)


def example() -> SimulatedSite:
    """Two servers, two domains and an alias of one; mailboxes in every condition that a health check tells apart."""

    def account(number: int, name: str, used: int, limit: int = 10 * GIB, **more: object) -> SimulatedAccount:
        facts = {"name": name, "id": f"00000000-0000-4000-8000-{number:012d}", "used": used, "limit": limit, **more}
        return msgspec.convert(facts, SimulatedAccount)

    second = "mail2.simulated.example"
    return SimulatedSite(
        domains={"simulated.example": "active", "branch.simulated.example": "active", "old.simulated.example": "alias"},
        accounts=[
            account(1, "ada@simulated.example", 4 * GIB, aliases=["lovelace@simulated.example"]),
            account(2, "grace@simulated.example", 19 * GIB // 2),
            account(3, "full@simulated.example", 10 * GIB + 1),
            account(4, "unlimited@simulated.example", 70 * GIB, 0),
            account(5, "newcomer@simulated.example", 0, mailbox=False, last_login=""),
            account(6, "closed@simulated.example", GIB, status="closed", mail_status="disabled"),
            account(7, "locked@branch.simulated.example", GIB, status="lockout", host=second),
            account(8, "galsync.x7@simulated.example", 1024, 0),
        ],
        services={
            "mail1.simulated.example": {"ldap": True, "mailbox": True, "mta": True, "logger": True, "spell": True},
            "mail2.simulated.example": {"mailbox": True, "mta": True, "stats": False},
        },
    )


def load(path: Path) -> SimulatedSite:
    return msgspec.json.decode(path.read_bytes(), type=SimulatedSite)


def save(site: SimulatedSite, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(site)))
