"""The command-line tools of a simulated Zimbra: zmprov, zmcontrol, zmhostname. Standard library only, so that each call
starts at once. `gmi` makes a mailbox where none is, as the real one does. Formats as in zm-mailbox and zm-core-utils.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Words = list[str]
Site = dict[str, Any]


def main(home: Path, words: Words) -> int:
    """home: the simulated /opt/zimbra. words: program and arguments. Returns the exit code."""
    path = home / "site.json"
    site: Site = json.loads(path.read_text(encoding="utf-8"))
    site["asked"].append(" ".join(words))
    sys.stderr.write("This is a simulated Zimbra.\n")
    program, *arguments = words
    try:
        code = _PROGRAMS[program](site, arguments)
    except (KeyError, IndexError):
        sys.stderr.write(f"usage: {program} …\n")
        code = 1
    except LookupError as error:
        sys.stderr.write(f"ERROR: {error}\n")
        code = 2
    path.write_text(json.dumps(site), encoding="utf-8")
    return code


def _zmprov(site: Site, words: Words) -> int:
    _COMMANDS[words[0]](site, words[1:])
    return 0


def _zmcontrol(site: Site, words: Words) -> int:
    if words != ["status"]:
        raise KeyError(words[0])
    host, services = next(iter(site["services"].items()))
    _say(f"Host {host}")
    for name, runs in services.items():
        _say(f"\t{name:<20} {'Running' if runs else 'Stopped':>10}")
        if not runs:
            _say(f"\t\t{name} is not running.")
    return 0 if all(runs or name in {"stats", "snmp", "logger", "spell"} for name, runs in services.items()) else 1


def _zmhostname(site: Site, _words: Words) -> int:
    _say(next(iter(site["services"])))
    return 0


def _account(site: Site, name: str) -> Any:
    for one in site["accounts"]:
        if name in {one["name"], one["id"], *one["aliases"]}:
            return one
    raise LookupError(f"account.NO_SUCH_ACCOUNT (no such account: {name})")


def _ga(site: Site, words: Words) -> None:
    one = _account(site, words[0])
    known = {
        "zimbraAccountStatus": one["status"],
        "zimbraId": one["id"],
        "zimbraLastLogonTimestamp": one["last_login"],
        "zimbraMailHost": one["host"],
        "zimbraMailQuota": one["limit"],
        "zimbraMailStatus": one["mail_status"],
        "zimbraQuotaWarnPercent": 90,
    }
    _say(f"# name {one['name']}")
    for attribute, value in known.items():
        if value != "" and (attribute in words[1:] or not words[1:]):
            _say(f"{attribute}: {value}")
    _say("")


def _gad(site: Site, words: Words) -> None:
    for name, status in site["domains"].items():
        if words[:1] != ["-v"]:
            _say(name)
            continue
        _say(f"# name {name}")
        _say(f"zimbraDomainStatus: {'active' if status == 'alias' else status}")
        _say(f"zimbraDomainType: {'alias' if status == 'alias' else 'local'}")
        _say("")


def _gas(site: Site, _words: Words) -> None:
    for host in site["services"]:
        _say(host)


def _gis(site: Site, words: Words) -> None:
    one = _account(site, words[0])
    if not one["mailbox"]:
        raise LookupError(f"service.FAILURE (system failure: mailbox not found for account {one['id']})")
    _say("stats: maxDocs:120 numDeletedDocs:3")


def _gqu(site: Site, words: Words) -> None:
    for one in site["accounts"]:
        if one["host"] == words[0]:
            _say(f"{one['name']} {one['limit']} {one['used'] if one['mailbox'] else 0}")


def _gmi(site: Site, words: Words) -> None:
    one = _account(site, words[0])
    one["mailbox"] = True
    _say(f"mailboxId: 1\nquotaUsed: {one['used']}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


_PROGRAMS: dict[str, Callable[[Site, Words], int]] = {
    "zmprov": _zmprov,
    "zmcontrol": _zmcontrol,
    "zmhostname": _zmhostname,
}
_COMMANDS: dict[str, Callable[[Site, Words], None]] = {
    "ga": _ga,
    "gad": _gad,
    "gas": _gas,
    "gis": _gis,
    "gqu": _gqu,
    "gmi": _gmi,
}
