"""What an operator writes about upstreams. Durations are seconds, sizes are bytes.

Secrets never stand here: settings name the environment variable or the file that holds them.
"""

import re
from enum import StrEnum
from urllib.parse import SplitResult, urlsplit

import msgspec

from ai_platform.domain.breaker import BreakerSettings
from ai_platform.upstream.headers import REFUSED_EXTRA, TOKEN

MIB = 1024 * 1024
_HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_VALUE = re.compile(r"[\t\x20-\x7e]*")


class Auth(StrEnum):
    """How the upstream wants to be told who calls.

    passthrough: the caller's own `authorization` and `x-api-key` go through, except the one the platform used
    to recognise the caller.
    """

    X_API_KEY = "x-api-key"
    BEARER = "bearer"
    PASSTHROUGH = "passthrough"


class UpstreamSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One server that can answer calls.

    name: how routes, breakers, metrics and the audit log call it.
    url: base address, with a path prefix when the server has one; no user, query or fragment.
    kind: what it speaks; `anthropic` is the Messages API itself.
    auth: the header the key goes out in; `passthrough` sends the caller's own instead.
    api_key_env: environment variable that holds the key, read at the start.
    api_key_file: file that holds the key, read at the start and again when the upstream answers 401.
    region: where it runs inference, for residency rules.
    models: globs of the model ids it serves; empty = all.
    rename: the caller's model id -> this server's.
    tenants: whose it is, with a credential of theirs; empty = everybody's, but files and batches only of `default`.
    headers: added to every request; a caller's header of the same name is dropped.
    headers_env: headers with values from environment variables (name of the header -> name of the variable).
    ca_file: PEM file of the authorities its certificate may come from; replaces the system's.
    client_cert_file: PEM file of the certificate shown to it.
    client_key_file: PEM file of that certificate's key, without a passphrase; absent = it is in client_cert_file.
    proxy: URL of an HTTP proxy, or `direct` for none; absent = HTTPS_PROXY, HTTP_PROXY and NO_PROXY decide.
    proxy_auth_env: environment variable that holds `user:password` for the proxy.
    proxy_auth_file: file that holds `user:password` for the proxy.
    connect_timeout: for name lookup, TCP and the proxy together.
    tls_timeout: for the TLS handshake.
    first_byte_timeout: from the end of the request to the end of the answer's head.
    idle_timeout: longest silence within an upload or an answer; also how long a caller may take nothing.
    total_timeout: for one whole try, answer included; absent = none.
    keep_alive: how long an unused connection is kept; 0 = not at all.
    max_connections: connections open at once.
    max_waiting: calls that may queue for a connection.
    wait_timeout: how long a call queues for a connection.
    max_response_bytes: longest answer, uncompressed.
    max_header_bytes: longest head of an answer, and most bytes without content within it.
    """

    name: str
    url: str
    kind: str = "anthropic"
    auth: Auth = Auth.X_API_KEY
    api_key_env: str | None = None
    api_key_file: str | None = None
    region: str = ""
    models: tuple[str, ...] = ()
    rename: dict[str, str] = {}
    tenants: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    headers_env: dict[str, str] = {}
    ca_file: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    proxy: str | None = None
    proxy_auth_env: str | None = None
    proxy_auth_file: str | None = None
    connect_timeout: float = 10.0
    tls_timeout: float = 10.0
    first_byte_timeout: float = 600.0
    idle_timeout: float = 330.0
    total_timeout: float | None = None
    keep_alive: float = 55.0
    max_connections: int = 1024
    max_waiting: int = 1024
    wait_timeout: float = 10.0
    max_response_bytes: int = 512 * MIB
    max_header_bytes: int = 64 * 1024

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.name):
            raise ValueError(f"upstream name {self.name!r}: use 1 to 64 letters, digits, `.`, `_` or `-`")
        self.address()
        _both_or_neither(self)
        for header in (*self.headers, *self.headers_env):
            _check_extra(header)
        for header, value in self.headers.items():
            if not _VALUE.fullmatch(value):
                raise ValueError(f"header {header!r}: its value must be printable ASCII on one line")
        if self.proxy is not None and "@" in self.proxy:
            raise ValueError("proxy holds a password: put `user:password` in proxy_auth_env or proxy_auth_file")
        positive = (
            "connect_timeout",
            "tls_timeout",
            "first_byte_timeout",
            "idle_timeout",
            "wait_timeout",
            "max_connections",
            "max_response_bytes",
            "max_header_bytes",
        )
        for field in positive:
            if not getattr(self, field) > 0:
                raise ValueError(f"{field} must be greater than 0")
        if self.keep_alive < 0 or self.max_waiting < 0:
            raise ValueError("keep_alive and max_waiting must not be negative")
        if self.total_timeout is not None and not self.total_timeout > 0:
            raise ValueError("total_timeout must be greater than 0 (leave it out for no limit)")

    def address(self) -> SplitResult:
        """The parts of `url`.

        Raises:
            ValueError: not a usable http(s) base address.

        """
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"url {_shown(parts)!r}: write it as https://host or http://host:port")
        if parts.username is not None or parts.password is not None:
            raise ValueError(f"url of {self.name!r} holds a password: put the key in api_key_env or api_key_file")
        if parts.query or parts.fragment or "?" in self.url or "#" in self.url:
            raise ValueError(f"url {self.url!r}: a base address has no query and no fragment")
        if not is_host(parts.hostname):
            raise ValueError(f"url {self.url!r}: not a host name (write an international one in its xn-- form)")
        if not re.fullmatch(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]*)*", parts.path):
            raise ValueError(f"url {self.url!r}: percent-encode unusual characters of the path")
        if parts.port == 0:  # .port itself raises ValueError when it is not a port number
            raise ValueError(f"url {self.url!r}: port 0 cannot be connected to")
        return parts


class RetrySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a failed try is repeated.

    attempts: tries per upstream, the first included.
    base: the wait before repeat n is random between 0 and base * 2^(n-1).
    cap: longest wait before a repeat.
    max_retry_after: a longer `retry-after` is not waited for.
    rate_limit_failover: a 429 that is not waited for goes to the next upstream instead of to the caller.
    retry_sent: repeat a Messages call that may have been executed (and billed) when its answer was lost.
    """

    attempts: int = 3
    base: float = 0.5
    cap: float = 8.0
    max_retry_after: float = 10.0
    rate_limit_failover: bool = False
    retry_sent: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= 10:
            raise ValueError("attempts must be 1 to 10")
        if self.base < 0 or self.cap < 0 or self.max_retry_after < 0:
            raise ValueError("base, cap and max_retry_after must not be negative")


class UpstreamsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every upstream, and how failures are met."""

    upstreams: tuple[UpstreamSettings, ...] = ()
    retry: RetrySettings = RetrySettings()
    breaker: BreakerSettings = BreakerSettings()

    def __post_init__(self) -> None:
        names = [upstream.name for upstream in self.upstreams]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"upstream names must be unique: {', '.join(twice)} stands twice")


def is_host(text: str) -> bool:
    """Whether it is an address or a name that a resolver can be asked for."""
    return len(text) <= 253 and (_HOST.fullmatch(text) or _IPV6.fullmatch(text)) is not None


def _both_or_neither(settings: UpstreamSettings) -> None:
    if settings.api_key_env is not None and settings.api_key_file is not None:
        raise ValueError("api_key_env and api_key_file exclude each other")
    if settings.proxy_auth_env is not None and settings.proxy_auth_file is not None:
        raise ValueError("proxy_auth_env and proxy_auth_file exclude each other")
    if settings.auth is Auth.PASSTHROUGH and (settings.api_key_env or settings.api_key_file):
        raise ValueError("auth: passthrough sends the caller's own key; remove api_key_env and api_key_file")
    if settings.client_key_file is not None and settings.client_cert_file is None:
        raise ValueError("client_key_file needs client_cert_file")


def _check_extra(header: str) -> None:
    name = header.encode("ascii", "replace")
    if not name or name.translate(None, TOKEN):
        raise ValueError(f"header {header!r}: names are lower-case letters, digits and `-`")
    if name in REFUSED_EXTRA:
        raise ValueError(f"header {header!r} cannot be set here: it carries a credential or frames the message")


def _shown(parts: SplitResult) -> str:
    """The address without a password that may have been typed into it."""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
