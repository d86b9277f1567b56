"""Command line of the Zimbra administration server."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mcp.server.lowlevel import Server

from ai_platform.domain.clock import Clock, SystemClock
from ai_platform.domain.errors import ConfigError
from ai_platform.mcp_servers.serving import Closing, add_options, read_options, run, secret_from
from ai_platform.mcp_servers.zimbra.admin_api import AdminApi, endpoint
from ai_platform.mcp_servers.zimbra.commands import CommandSite
from ai_platform.mcp_servers.zimbra.entry import Site
from ai_platform.mcp_servers.zimbra.logs import Logs
from ai_platform.mcp_servers.zimbra.remote import RemoteSite
from ai_platform.mcp_servers.zimbra.server import ZimbraServer

_BIN, _LOGS = Path("/opt/zimbra/bin"), Path("/opt/zimbra/log")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ai_platform.mcp_servers.zimbra",
        description="Zimbra for administrators, read only. Tried against a simulated Zimbra, not against a live one.",
    )
    add = parser.add_argument
    add("--url", metavar="URL", default="", help="the admin API, such as https://mail.example.com:7071")
    add("--user", metavar="NAME", default="", help="the administrator to sign in as")
    add("--password-env", metavar="NAME", default="", help="variable with the password")
    add("--password-file", type=Path, metavar="FILE", help="file with the password, read at each sign-in")
    add("--ca", type=Path, metavar="FILE", help="certificates (PEM) to trust instead of the system's")
    add(
        "--commands",
        type=Path,
        nargs="?",
        const=_BIN,
        metavar="FOLDER",
        help=f"use the command-line tools, on the host as user zimbra; default folder: {_BIN}",
    )
    add("--logs", type=Path, metavar="FOLDER", default=_LOGS, help=f"where the logs are; default: {_LOGS}")
    add_options(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until the client leaves or a signal. Raises ConfigError."""
    options = _parser().parse_args(arguments)
    serving = read_options(options)
    clock = SystemClock()
    if bool(options.url) == bool(options.commands):
        raise ConfigError("Give either --url URL with --user, or --commands on the Zimbra host.")
    if options.url:
        endpoint(options.url)
        _password(options)()

    async def prepare() -> tuple[Server[Any], Closing]:
        site, closing = _site(options, clock)
        return ZimbraServer(site, Logs(options.logs, clock)).server(), closing

    return run(serving, prepare)


def _site(options: argparse.Namespace, clock: Clock) -> tuple[Site, Closing]:
    if options.url:
        api = AdminApi(options.url, options.user, _password(options), clock=clock, ca=options.ca)
        return RemoteSite(api, clock), api.close
    return CommandSite(options.commands, clock), _nothing


async def _nothing() -> None:
    """Commands end by themselves."""


def _password(options: argparse.Namespace) -> Callable[[], str]:
    """Raises ConfigError: no user, or not one place for the password."""
    if not options.user:
        raise ConfigError("--url needs --user NAME.")
    if bool(options.password_env) == bool(options.password_file):
        raise ConfigError("--url needs either --password-env NAME or --password-file FILE.")
    if options.password_env:
        password = secret_from(options.password_env)
        return lambda: password
    return lambda: _first_line(options.password_file)


def _first_line(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("The password cannot be read.", where=str(path)) from error
    if not lines or not lines[0]:
        raise ConfigError("The first line must be the password.", where=str(path))
    return lines[0]
