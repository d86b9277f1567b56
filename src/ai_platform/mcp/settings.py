"""What an operator writes about MCP servers and the door to them. Times are seconds, sizes are bytes.

Secrets never stand here: settings name the environment variables that hold them. Needs no MCP SDK, so that a mistake
is told before anything else.
"""

import re
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

import msgspec

from ai_platform.domain.breaker import BreakerSettings
from ai_platform.domain.money import Micros, from_usd
from ai_platform.mcp.server_oauth import ServerOAuth
from ai_platform.sandbox import Limits
from ai_platform.sandbox.settings import SandboxSettings

MIB = 1024 * 1024
NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
LONGEST_NAME = 32
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_FRAMING = frozenset(
    {
        "accept",
        "connection",
        "content-length",
        "content-type",
        "host",
        "mcp-method",
        "mcp-name",
        "mcp-protocol-version",
        "mcp-session-id",
        "transfer-encoding",
        "upgrade",
    }
)


class Protocol(StrEnum):
    """auto: the newest that both sides speak; a client of 2025-11-25 gets a session of that version where one is
    offered, so that nothing needs translating.
    """

    AUTO = "auto"
    SESSIONS = "2025-11-25"
    STATELESS = "2026-07-28"


class Sharing(StrEnum):
    """shared: all callers use one connection (one process); what the server asks of a client mid-call is refused
    where it could not be told whose call it belongs to. caller: each caller has an own one.
    """

    AUTO = "auto"
    SHARED = "shared"
    CALLER = "caller"


class CredentialMode(StrEnum):
    """server: the platform's own, the same for all callers. person: each caller's own, which they connected."""

    SERVER = "server"
    PERSON = "person"


class Ask(StrEnum):
    """What a server may ask of its client in the middle of a call, by the client's capability."""

    ELICITATION = "elicitation"
    ROOTS = "roots"
    SAMPLING = "sampling"


class Resources(StrEnum):
    PINNED = "pinned"
    OPEN = "open"


class Changed(StrEnum):
    WITHDRAW = "withdraw"
    KEEP = "keep"


class McpServerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One MCP server: either `command` (standard input and output) or `url` (streamable HTTP).

    name: how tools (`NAME__TOOL`), policies (`NAME/TOOL`), metrics and the audit log call it: lower-case letters,
    digits and single `-`.
    title: what people read; "" = the name.
    command: the program and its arguments; no shell reads them.
    cwd: the folder it runs in; "" = its home, which is its `state`, else its private /tmp.
    trusted: the command runs with this platform's rights, without a sandbox.
    read: absolute paths of folders and files that the sandboxed command sees, besides the system's programs.
    write: those that it may change as well.
    state: it has a folder that stays when it ends: its home, also named by its variable STATE_DIRECTORY.
    network: it may use the network, this machine's own addresses included.
    limits: other numbers than those of `mcp.sandbox`, such as `memory_mb: 4096`.
    first_use: what it offers when it is first seen is approved, unless it looks like an attack; later changes are held.
    resources: `pinned`, each name is approved like a tool; or `open`, they come and go, and only suspicious ones are
    left out.
    changed: `withdraw` hides a tool whose definition was changed until that is approved; `keep` goes on showing the
    approved words, as long as calls that fit them still fit and the new ones are not suspicious.
    env: environment variables with fixed values; the platform's own environment is not passed on.
    env_from: environment variables taken from the platform's (name there -> name here).
    url: address of the server's MCP endpoint.
    public_only: it is connected to at public addresses only, whatever its name resolves to.
    headers: sent with every request.
    headers_env: headers with values from environment variables (name of the header -> name of the variable).
    credentials: whose credential the server gets: `server` or `person`.
    oauth: how a token for it is got; without, the server's own is in headers_env, and a person enters one.
    token_header: the header that carries a token which a person entered, as `Bearer TOKEN` in `authorization`.
    tell_caller: the server is told in each request's `_meta` who calls, with those of their permissions that begin with
    one of these, such as `deploy:`; empty = it is not told.
    may_ask: what it may ask clients for in the middle of a call: `elicitation` (a question to the person), `roots` (the
    folders they work in), `sampling` (an answer of their model, at their cost and by the server's prompt).
    protocol: `auto`, or the one version to speak.
    sharing: whether callers share a connection: `auto` (HTTP sessions are per caller, processes are shared), `shared`
    or `caller`.
    enabled: false takes it out of service without forgetting it.
    teams: who may see it; empty = all teams.
    regions: callers of which regions may see it; empty = all.
    tenants: whose callers may see it; empty = all.
    connect_timeout: for the start of the process or connection, with the first exchange.
    timeout: for one call.
    idle_timeout: how long a caller's own connection is kept unused.
    retries: how often a call marked idempotent is tried again.
    idempotent: globs of tools that may be tried again after a failure; reading resources and prompts always may.
    price_usd: glob of tools -> dollars per call; the first that matches counts.
    max_concurrency: calls under way at once.
    max_waiting: calls that may wait for that.
    max_connections: connections of callers' own.
    max_message_bytes: largest message taken from the server.
    refresh: how long lists are kept when the server does not say.
    """

    name: str
    title: str = ""
    command: tuple[str, ...] = ()
    cwd: str = ""
    trusted: bool = False
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    state: bool = False
    network: bool = False
    limits: dict[str, int] = {}
    env: dict[str, str] = {}
    env_from: dict[str, str] = {}
    url: str = ""
    public_only: bool = False
    headers: dict[str, str] = {}
    headers_env: dict[str, str] = {}
    credentials: CredentialMode = CredentialMode.SERVER
    oauth: ServerOAuth | None = None
    token_header: str = "authorization"
    tell_caller: tuple[str, ...] = ()
    may_ask: tuple[Ask, ...] = (Ask.ELICITATION, Ask.ROOTS)
    protocol: Protocol = Protocol.AUTO
    sharing: Sharing = Sharing.AUTO
    first_use: bool = False
    resources: Resources = Resources.PINNED
    changed: Changed = Changed.WITHDRAW
    enabled: bool = True
    teams: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    connect_timeout: float = 15.0
    timeout: float = 300.0
    idle_timeout: float = 900.0
    retries: int = 2
    idempotent: tuple[str, ...] = ()
    price_usd: dict[str, str] = {}
    max_concurrency: int = 64
    max_waiting: int = 256
    max_connections: int = 256
    max_message_bytes: int = 16 * MIB
    refresh: float = 300.0

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or len(self.name) > LONGEST_NAME:
            raise ValueError(
                f"name {self.name[:60]!r}: up to {LONGEST_NAME} lower-case letters, digits and single `-`, beginning"
                " with a letter"
            )
        if bool(self.command) == bool(self.url):
            raise ValueError(f"server {self.name}: give either `command` or `url`")
        if self.url:
            self._check_url()
        for variable in (*self.env, *self.env_from, *self.env_from.values(), *self.headers_env.values()):
            if not _VARIABLE.fullmatch(variable):
                raise ValueError(f"server {self.name}: {variable[:60]!r} is no name of an environment variable")
        self._check_headers()
        self._check_numbers()
        for amount in self.price_usd.values():
            _price(self.name, amount)

    def price_of(self, tool: str) -> Micros:
        """What one call of this tool costs; 0 when it has no price."""
        for glob, amount in self.price_usd.items():
            if fnmatchcase(tool, glob):
                return _price(self.name, amount)
        return Micros(0)

    def may_repeat(self, tool: str) -> bool:
        return any(fnmatchcase(tool, glob) for glob in self.idempotent)

    def _check_url(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"server {self.name}: write url as https://host/path or http://host:port/path")
        if parts.username is not None or parts.password is not None:
            raise ValueError(f"server {self.name}: url holds a password; send it with headers_env")
        if parts.fragment:
            raise ValueError(f"server {self.name}: url has a fragment (#), which no server sees")
        if self.env or self.env_from or self.cwd or self.trusted or self.read or self.write or self.limits:
            raise ValueError(
                f"server {self.name}: env, env_from, cwd, trusted, read, write and limits are for a `command`"
            )

    def _is_private_to_read(self) -> bool:
        """Nobody on the way reads what is sent there."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" or parts.hostname in {"127.0.0.1", "localhost", "::1"}

    def _check_headers(self) -> None:
        if (self.oauth is not None or self.credentials is CredentialMode.PERSON) and not self.url:
            raise ValueError(f"server {self.name}: oauth and credentials of a person are for a `url`")
        if self.oauth is not None and not self._is_private_to_read():
            raise ValueError(f"server {self.name}: oauth needs an https address, or one on this machine")
        if self.oauth is not None and self.oauth.machine and self.credentials is CredentialMode.PERSON:
            raise ValueError(f"server {self.name}: with oauth.machine the credentials are the server's")
        taken = {"authorization"} if self.oauth is not None else set[str]()
        taken |= {self.token_header} if self.credentials is CredentialMode.PERSON else set()
        if clash := taken & {*self.headers, *self.headers_env}:
            raise ValueError(f"server {self.name}: the header {min(clash)!r} is its credential's")
        if (self.headers or self.headers_env) and not self.url:
            raise ValueError(f"server {self.name}: headers are for a `url`; a `command` gets env_from")
        for header in (*self.headers, *self.headers_env, self.token_header):
            if not _HEADER.fullmatch(header):
                raise ValueError(f"server {self.name}: header {header[:60]!r}: lower-case letters, digits and `-`")
            if header in _FRAMING:
                raise ValueError(f"server {self.name}: header {header!r} is set by the protocol")
        for header, value in self.headers.items():
            if not _VALUE.fullmatch(value):
                raise ValueError(f"server {self.name}: the value of {header!r} must be printable ASCII on one line")

    def _check_numbers(self) -> None:
        positive = (
            "connect_timeout",
            "timeout",
            "idle_timeout",
            "max_concurrency",
            "max_connections",
            "max_message_bytes",
        )
        for field in positive:
            if not getattr(self, field) > 0:
                raise ValueError(f"server {self.name}: {field} must be greater than 0")
        for limit, number in self.limits.items():
            if limit not in Limits.__struct_fields__ or number < 1:
                known = ", ".join(Limits.__struct_fields__)
                raise ValueError(
                    f"server {self.name}: limits are {known}, each at least 1; not {limit[:40]!r}: {number}"
                )
        if min(self.retries, self.max_waiting, self.refresh) < 0:
            raise ValueError(f"server {self.name}: retries, max_waiting and refresh must not be negative")


class McpSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The door to tools at `/mcp` and `/mcp/NAME`, and the servers behind it.

    servers: none = the door is open and shows nothing.
    breaker: when a server is left alone.
    sandbox: what surrounds the commands.
    credential_keys_env: variables with keys (32 bytes in hexadecimal) that accounts at servers are encrypted with: the
    first encrypts, the others decrypt too; none = a key derived from secret.key, which always decrypts.
    allowed_origins: origins of web pages that may call the door besides its own, e.g. `https://inspector.example`.
    max_message_bytes: largest message taken from a client.
    max_requests: requests and streams under way at the door, all clients together.
    max_requests_each: the same of one caller.
    max_sessions: sessions of clients of 2025-11-25, all callers together.
    max_sessions_each: the same of one caller.
    session_timeout: how long such a session is kept unused.
    list_timeout: how long a list waits for servers that are slow or down; what is not there by then is left out.
    longest_name: of `SERVER__TOOL`; longer ones are shortened, and told apart by a hash.
    max_suspended: calls that wait for an answer of their client between two requests.
    suspended_timeout: how long they wait.
    """

    servers: tuple[McpServerSettings, ...] = ()
    breaker: BreakerSettings = BreakerSettings()
    sandbox: SandboxSettings = SandboxSettings()
    credential_keys_env: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    max_message_bytes: int = 4 * MIB
    max_requests: int = 4_000
    max_requests_each: int = 1_000
    max_sessions: int = 5_000
    max_sessions_each: int = 100
    session_timeout: float = 1800.0
    list_timeout: float = 10.0
    longest_name: int = 64
    max_suspended: int = 1_000
    suspended_timeout: float = 600.0

    def __post_init__(self) -> None:
        names = [server.name for server in self.servers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"names of MCP servers must be unique: {', '.join(twice)} stands twice")
        if not LONGEST_NAME + 16 <= self.longest_name <= 128:
            raise ValueError(f"longest_name must be {LONGEST_NAME + 16} to 128")
        for field in (
            "max_message_bytes",
            "max_requests",
            "max_requests_each",
            "max_sessions",
            "max_sessions_each",
            "session_timeout",
            "list_timeout",
            "max_suspended",
            "suspended_timeout",
        ):
            if not getattr(self, field) > 0:
                raise ValueError(f"{field} must be greater than 0")


def _price(name: str, amount: str) -> Micros:
    try:
        price = from_usd(Decimal(amount))
    except InvalidOperation as error:
        raise ValueError(f"server {name}: price_usd {amount[:40]!r} is no amount such as 0.002") from error
    if not 0 <= price <= from_usd(1_000_000):
        raise ValueError(f"server {name}: price_usd {amount[:40]!r} is out of range")
    return price
