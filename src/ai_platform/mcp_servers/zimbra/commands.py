"""A site by Zimbra's own command-line tools, on the host, as the user zimbra.

Only the commands of `Reading` can be run: argument lists, no shell, no standard input, bounded output and time. Each
zmprov takes seconds (three JVMs), so one runs at a time and what many questions need is kept for a minute. Formats were
read in zm-mailbox (ProvUtil) and zm-core-utils (zmcontrol).
"""

import asyncio
import os
import signal
from contextlib import suppress
from enum import Enum
from pathlib import Path

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import ConfigError, UpstreamBroken, UpstreamTimeout, UpstreamUnreachable
from ai_platform.mcp_servers.zimbra.entry import Account, Domain, Service, Usage, is_address

MOST_OUTPUT = 64 << 20
SECONDS = 120.0
KNOWN_SECONDS = 60.0
_NOT_ZIMBRA = 255
_ACCOUNT = (
    "zimbraAccountStatus",
    "zimbraId",
    "zimbraLastLogonTimestamp",
    "zimbraMailHost",
    "zimbraMailStatus",
    "zimbraQuotaWarnPercent",
)


class Reading(Enum):
    """Program and first arguments of what may be run. gmi and zmmailbox are not here: they make mailboxes."""

    ACCOUNT = ("zmprov", "ga")
    DOMAINS = ("zmprov", "gad", "-v")
    INDEX = ("zmprov", "gis")
    MAIL_SERVERS = ("zmprov", "gas", "mailbox")
    USAGE = ("zmprov", "gqu")
    SERVICES = ("zmcontrol", "status")


class Said(msgspec.Struct, frozen=True):
    code: int
    output: str
    complaint: str


class CommandSite:
    """See entry.Site. folder: where the tools are, /opt/zimbra/bin."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        missing = [name for name in ("zmprov", "zmcontrol") if not (folder / name).is_file()]
        if missing:
            raise ConfigError(f"There is no {missing[0]} in {folder}: --commands is for a Zimbra host.")
        self._folder = folder.resolve()
        self._clock = clock
        self._running = asyncio.Lock()
        self._asking = asyncio.Lock()
        self._usage: tuple[float, dict[str, Usage]] = (0.0, {})

    async def domains(self) -> list[Domain]:
        said = await self._run(Reading.DOMAINS, "zimbraDomainStatus", "zimbraDomainType")
        found = blocks(_output(said))
        domains = [
            Domain(name, one.get("zimbraDomainStatus", ""), one.get("zimbraDomainType", "")) for name, one in found
        ]
        return sorted(domains, key=lambda domain: domain.name)

    async def usage(self, domain: str) -> dict[str, Usage]:
        async with self._asking:  # many questions at once are one to Zimbra
            until, known = self._usage
            if self._clock.monotonic() >= until:
                servers = _output(await self._run(Reading.MAIL_SERVERS)).split()
                known = {}
                for server in servers:
                    known |= usages(_output(await self._run(Reading.USAGE, _host(server))))
                self._usage = (self._clock.monotonic() + KNOWN_SECONDS, known)
        return {name: one for name, one in known.items() if name.rpartition("@")[2] == domain}

    async def account(self, email: str) -> Account | None:
        said = await self._run(Reading.ACCOUNT, _address(email), *_ACCOUNT)
        if said.code and "account.NO_SUCH_ACCOUNT" in said.complaint:
            return None
        found = blocks(_output(said))
        if len(found) != 1:
            raise _unreadable("zmprov ga")
        name, one = found[0]
        warn = one.get("zimbraQuotaWarnPercent", "")
        return Account(
            name=name,
            id=one.get("zimbraId", ""),
            status=one.get("zimbraAccountStatus", ""),
            mail_status=one.get("zimbraMailStatus", ""),
            host=one.get("zimbraMailHost", ""),
            last_login=one.get("zimbraLastLogonTimestamp", ""),
            warn_percent=int(warn) if warn.isdecimal() and len(warn) < 4 else 90,
        )

    async def has_mailbox(self, account: Account) -> bool:
        said = await self._run(Reading.INDEX, _address(account.name))
        if said.code and "mailbox not found for account" in said.complaint:
            return False
        _output(said)
        return True

    async def services(self) -> list[Service]:
        said = await self._run(Reading.SERVICES)
        if said.code == _NOT_ZIMBRA:
            raise UpstreamBroken("zmcontrol must be run by the user zimbra: start this server as that user.")
        found = services(said.output)  # exit code 1 means that a service is stopped, which is what is asked
        if not found:
            raise _unreadable("zmcontrol status")
        return found

    async def _run(self, what: Reading, *arguments: str) -> Said:
        program, *words = what.value
        async with self._running:
            try:
                process = await asyncio.create_subprocess_exec(
                    *(str(self._folder / program), *words, *arguments),
                    cwd="/",
                    env={name: os.environ[name] for name in ("PATH", "HOME", "USER") if name in os.environ}
                    | {"LC_ALL": "C"},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    start_new_session=True,
                )
            except OSError as error:
                raise UpstreamUnreachable(f"{program} cannot be started: {error.strerror or error}.") from error
            try:
                async with asyncio.timeout(SECONDS):
                    output, complaint = await asyncio.gather(
                        _bounded(process.stdout, program), _bounded(process.stderr, program)
                    )
                    code = await process.wait()
            except TimeoutError as error:  # zmcontrol hangs when LDAP does
                raise UpstreamTimeout(f"{program} did not end within {SECONDS:.0f} seconds.") from error
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return Said(code, output, complaint)


async def _bounded(stream: asyncio.StreamReader | None, program: str) -> str:
    assert stream is not None
    data = bytearray()
    while chunk := await stream.read(65_536):
        data += chunk
        if len(data) > MOST_OUTPUT:
            raise UpstreamBroken(f"{program} has too much to say.")
    return data.decode(errors="replace")


def blocks(text: str) -> list[tuple[str, dict[str, str]]]:
    """`# name N`, then `attribute: value` lines: (name, attributes) of each entry."""
    found: list[tuple[str, dict[str, str]]] = []
    for line in text.splitlines():
        if line.startswith("# name "):
            found.append((line.removeprefix("# name ").strip(), {}))
        elif found and ": " in line:
            attribute, _, value = line.partition(": ")
            found[-1][1].setdefault(attribute, value.strip())
    return found


def usages(text: str) -> dict[str, Usage]:
    """`name limit used` lines, in bytes."""
    found: dict[str, Usage] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[1].isdecimal() and words[2].isdecimal():
            found[words[0]] = Usage(words[0], used=int(words[2]), limit=int(words[1]))
    return found


def services(text: str) -> list[Service]:
    """`Host H`, then a tab, the name and its state; lines with two tabs are details of the one above."""
    found: list[Service] = []
    host = ""
    for line in text.splitlines():
        if line.startswith("Host "):
            host = line.removeprefix("Host ").strip()
        elif host and line.startswith("\t") and not line.startswith("\t\t"):
            name, _, state = line.strip().rpartition(" ")
            if name and state in {"Running", "Stopped"}:
                found.append(Service(host, name.strip(), state == "Running"))
    return found


def _output(said: Said) -> str:
    if said.code:
        lines = [line for line in said.complaint.splitlines() if line.strip()]
        raise UpstreamBroken(f"Zimbra refused: {lines[-1][:300] if lines else f'exit code {said.code}'}")
    return said.output


def _address(text: str) -> str:
    if not is_address(text):
        raise UpstreamBroken("Zimbra named an account that cannot be one.")
    return text


def _host(text: str) -> str:
    if not set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") or text.startswith("-"):
        raise _unreadable("zmprov gas")
    return text


def _unreadable(command: str) -> UpstreamBroken:
    return UpstreamBroken(f"The output of {command} cannot be understood.")
