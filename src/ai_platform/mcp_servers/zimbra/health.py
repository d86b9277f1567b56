"""What the facts about a mailbox mean: Healthy, Warning or Critical, and why. Pure; nothing is asked here."""

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from ai_platform.mcp_servers.zimbra.entry import Account, Service, Usage

_MINOR = {"stats", "snmp", "logger", "spell"}
"""Without these mail goes on (zmcontrol itself does not count them)."""
_STATUSES = {
    "maintenance": "the account is in maintenance: no login, and mail is deferred",
    "pending": "the account is pending: it is not in use yet",
    "locked": "the account is locked: mail arrives, but nobody can log in",
    "lockout": "the account is locked out after failed logins",
    "closed": "the account is closed: no login, and mail is refused",
}
_CLOSED = {"closed", "maintenance"}


class Verdict(StrEnum):
    HEALTHY = "Healthy"
    WARNING = "Warning"
    CRITICAL = "Critical"


class Problem(msgspec.Struct, frozen=True):
    severity: Verdict
    what: str


def problems(account: Account, usage: Usage | None, *, has_mailbox: bool, services: Sequence[Service]) -> list[Problem]:
    """The gravest first. services: of every host; empty when unknown."""
    found = [
        *_of_account(account, has_mailbox=has_mailbox),
        *(_of_quota(account, usage) if usage else ()),
        *(_of_service(account, one) for one in services if not one.running and one.name not in _MINOR),
    ]
    order = list(Verdict)
    return sorted(found, key=lambda problem: -order.index(problem.severity))


def verdict(found: Sequence[Problem]) -> Verdict:
    order = list(Verdict)
    return max((problem.severity for problem in found), key=order.index, default=Verdict.HEALTHY)


def _of_account(account: Account, *, has_mailbox: bool) -> list[Problem]:
    found: list[Problem] = []
    if account.status in _STATUSES:
        severity = Verdict.CRITICAL if account.status in _CLOSED else Verdict.WARNING
        found.append(Problem(severity, _STATUSES[account.status]))
    if account.mail_status == "disabled":
        found.append(Problem(Verdict.CRITICAL, "mail delivery is disabled (zimbraMailStatus)"))
    if not account.host:
        found.append(Problem(Verdict.CRITICAL, "no mail server is set (zimbraMailHost)"))
    if not has_mailbox:
        what = "there is no mailbox yet: one is made at the first login or the first message"
        found.append(Problem(Verdict.WARNING, what))
    return found


def _of_quota(account: Account, usage: Usage) -> list[Problem]:
    percent = usage.percent
    if percent is None or percent < account.warn_percent:
        return []
    if percent >= 100:
        return [Problem(Verdict.CRITICAL, f"the quota is used up ({percent} %): mail is refused or deferred")]
    return [Problem(Verdict.WARNING, f"{percent} % of the quota is used; Zimbra warns at {account.warn_percent} %")]


def _of_service(account: Account, service: Service) -> Problem:
    severity = Verdict.CRITICAL if service.host == account.host else Verdict.WARNING
    return Problem(severity, f"the service {service.name} does not run on {service.host}")
