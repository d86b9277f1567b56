"""A site over the admin API. Only requests that read; never GetMailboxRequest, which makes a mailbox where none is."""

import asyncio

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import UpstreamBroken
from ai_platform.mcp_servers.zimbra.admin_api import AdminApi, Fault
from ai_platform.mcp_servers.zimbra.entry import Account, Domain, Service, Usage

MOST_DOMAINS = 5000
KNOWN_SECONDS = 60.0
"""Zimbra looks up a whole domain to tell one account's usage; so long its answer is used again."""
MOST_KNOWN = 16
_ACCOUNT = "zimbraAccountStatus,zimbraMailStatus,zimbraMailHost,zimbraLastLogonTimestamp,zimbraQuotaWarnPercent"


class _Attribute(msgspec.Struct):
    name: str = msgspec.field(name="n")
    content: str = msgspec.field(default="", name="_content")


class _Named(msgspec.Struct):
    """Attributes come in one of two forms, depending on the version."""

    name: str
    id: str = ""
    listed: list[_Attribute] = msgspec.field(default_factory=list[_Attribute], name="a")
    keyed: dict[str, str | list[str]] = msgspec.field(default_factory=dict[str, str | list[str]], name="_attrs")

    def get(self, attribute: str) -> str:
        value = self.keyed.get(attribute, "")
        if isinstance(value, list):
            value = value[0] if value else ""
        return value or next((one.content for one in self.listed if one.name == attribute), "")


class _Domains(msgspec.Struct):
    domain: list[_Named] = []


class _Accounts(msgspec.Struct):
    account: list[_Named] = []


class _Usages(msgspec.Struct):
    account: list[Usage] = []


class _Status(msgspec.Struct):
    server: str
    service: str
    content: str = msgspec.field(default="0", name="_content")


class _Services(msgspec.Struct):
    status: list[_Status] = []


class _Nothing(msgspec.Struct):
    pass


class RemoteSite:
    """See entry.Site."""

    def __init__(self, api: AdminApi, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._known: dict[str, tuple[float, dict[str, Usage]]] = {}
        self._asking = asyncio.Lock()

    async def domains(self) -> list[Domain]:
        found: _Domains = await self._api.ask(
            "SearchDirectory",
            _Domains,
            types="domains",
            attrs="zimbraDomainStatus,zimbraDomainType",
            sortBy="zimbraDomainName",
            limit=MOST_DOMAINS,
        )
        domains = [Domain(one.name, one.get("zimbraDomainStatus"), one.get("zimbraDomainType")) for one in found.domain]
        return sorted(domains, key=lambda domain: domain.name)

    async def usage(self, domain: str) -> dict[str, Usage]:
        async with self._asking:  # many questions at once are one to Zimbra
            now = self._clock.monotonic()
            if (known := self._known.get(domain)) is not None and now < known[0]:
                return known[1]
            # Without a domain Zimbra tells of one server only, whatever allServers says.
            found: _Usages = await self._api.ask("GetQuotaUsage", _Usages, domain=domain, allServers=1)
            usages = {usage.name: usage for usage in found.account}
            self._known.pop(domain, None)
            while len(self._known) >= MOST_KNOWN:
                self._known.pop(next(iter(self._known)))
            self._known[domain] = (now + KNOWN_SECONDS, usages)
            return usages

    async def account(self, email: str) -> Account | None:
        try:
            found: _Accounts = await self._api.ask(
                "GetAccount", _Accounts, account={"by": "name", "_content": email}, applyCos=1, attrs=_ACCOUNT
            )
        except Fault as fault:
            if fault.code == "account.NO_SUCH_ACCOUNT":
                return None
            raise
        if len(found.account) != 1:
            raise UpstreamBroken("Zimbra's answer to GetAccountRequest cannot be understood.", target="zimbra")
        one = found.account[0]
        warn = one.get("zimbraQuotaWarnPercent")
        return Account(
            name=one.name,
            id=one.id,
            status=one.get("zimbraAccountStatus"),
            mail_status=one.get("zimbraMailStatus"),
            host=one.get("zimbraMailHost"),
            last_login=one.get("zimbraLastLogonTimestamp"),
            warn_percent=int(warn) if warn.isdecimal() and len(warn) < 4 else 90,
        )

    async def has_mailbox(self, account: Account) -> bool:
        try:
            await self._api.ask("GetIndexStats", _Nothing, mbox={"id": account.id})
        except Fault as fault:
            if "mailbox not found for account" in fault.reason:
                return False
            raise
        return True

    async def services(self) -> list[Service]:
        found: _Services = await self._api.ask("GetServiceStatus", _Services)
        return [Service(one.server, one.service, one.content == "1") for one in found.status]
