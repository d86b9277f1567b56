"""What the room needs from outside: trust in definitions, credentials for servers, a way to start programs.

Each has a plain default here or in the wiring; the doors and rooms that do more meet it there. Needs no MCP SDK.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import ConfigError, Denied
from ai_platform.domain.principal import Principal
from ai_platform.mcp.settings import McpServerSettings

Item = dict[str, Any]
"""A definition as it stands on the wire: a tool, a prompt, a resource or a resource template."""


class Kind(StrEnum):
    """What a server says that a client, and a model, will read. `instructions` is one item `{"instructions": text}`."""

    TOOLS = "tools"
    PROMPTS = "prompts"
    RESOURCES = "resources"
    TEMPLATES = "templates"
    INSTRUCTIONS = "instructions"


class Trust(Protocol):
    """Decides what of a server is shown and may be used; what it leaves out cannot be called."""

    async def review(self, server: str, kind: Kind, items: Sequence[Item]) -> Sequence[Item]:
        """Asked whenever a list was fetched: the definitions that are approved, in any order. items: all pages."""
        ...

    def quarantined(self, server: str) -> str:
        """Asked at every call: why the server may not be used now, "" when it may."""
        ...


class NotConnected(Denied):
    """A credential is missing that somebody has to get first; the message says where. server: its name."""

    def __init__(self, server: str, message: str) -> None:
        super().__init__(Refusal.PERMISSION_MISSING, message, rule="not connected")
        self.server = server


class Rejected(NamedTuple):
    """status: 401 or 403. challenge: `www-authenticate`. shown: the headers that it was an answer to."""

    status: int
    challenge: str
    shown: Mapping[str, str]


class ServerCredentials(Protocol):
    """What a server is shown of who calls."""

    async def headers(self, server: McpServerSettings, principal: Principal | None) -> Mapping[str, str]:
        """Header fields for one request. principal: None for the platform's own requests (lists).

        Raises:
            NotConnected: this person, or the platform, has no account there yet.
            UpstreamError: a new token cannot be had now.
        """
        ...

    async def rejected(self, server: McpServerSettings, principal: Principal | None, refusal: Rejected) -> bool:
        """The server did not take what it was shown. True: other headers are there, try once more.

        Raises:
            NotConnected: their account there may not do this; the message says how it may.
        """
        ...


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What to run: no shell, this environment and no other. stderr: an open file descriptor that stays the launcher's,
    None = nowhere.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str | None = None
    stderr: int | None = None


class Launcher(Protocol):
    """Says how a server's program is run: sandbox, limits, where its messages go."""

    def prepare(self, server: McpServerSettings) -> AbstractAsyncContextManager[Program]:
        """Entered before each start, left when the process has ended.

        Raises:
            ConfigError: it cannot be run here; the message says what is missing.
        """
        ...


class TrustAll:
    """Every definition is taken as it comes: for programs that bring their own servers, and for tests."""

    async def review(self, server: str, kind: Kind, items: Sequence[Item]) -> Sequence[Item]:
        del server, kind
        return items

    def quarantined(self, server: str) -> str:
        del server
        return ""


class EnvironmentCredentials:
    """The headers of the settings, with values from the environment.

    Raises:
        ConfigError: a variable that a server names is not set.
    """

    def __init__(self, servers: Sequence[McpServerSettings], environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._known = {server.name: (server, _headers(server, environ)) for server in servers}

    async def headers(self, server: McpServerSettings, principal: Principal | None) -> Mapping[str, str]:
        del principal
        known = self._known.get(server.name)
        if known is None or known[0] is not server:  # added, or given other settings, since
            known = self._known[server.name] = (server, _headers(server, self._environ))
        return known[1]

    async def rejected(self, server: McpServerSettings, principal: Principal | None, refusal: Rejected) -> bool:
        del server, principal, refusal
        return False


def _headers(server: McpServerSettings, environ: Mapping[str, str]) -> dict[str, str]:
    return server.headers | {
        header: variable_of(server, variable, environ) for header, variable in server.headers_env.items()
    }


def variable_of(server: McpServerSettings, variable: str, environ: Mapping[str, str]) -> str:
    """Raises ConfigError when it is not set."""
    if value := environ.get(variable):
        return value
    raise ConfigError(
        f"The MCP server '{server.name}' needs the environment variable {variable}, which is not set. Set it where the"
        " platform is started, or remove it from the server's settings."
    )
