"""Which proxy, if any, stands before an upstream: the setting, else HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY.

The environment's conventions as curl and Go have them: lower-case names win, NO_PROXY holds `*`, host names with
their subdomains, addresses, networks, each with an optional port; loopback is never sent to an environment's proxy.
"""

import base64
import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from ai_platform.domain.errors import ConfigError
from ai_platform.upstream.settings import is_host

DIRECT = "direct"

_WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:]*):(\d+)")
"""A bare IPv6 address has colons too, but never matches whole: its port needs brackets."""


class Proxy:
    """An HTTP proxy. authorization: the value of `proxy-authorization`, never shown."""

    __slots__ = ("authorization", "host", "port", "secure")

    def __init__(self, *, host: str, port: int, secure: bool, authorization: bytes | None) -> None:
        self.host = host
        self.port = port
        self.secure = secure
        self.authorization = authorization

    def __repr__(self) -> str:
        return f"Proxy({'https' if self.secure else 'http'}://{self.host}:{self.port})"


def choose_proxy(
    *, setting: str | None, credential: str | None, secure: bool, host: str, port: int, environ: Mapping[str, str]
) -> Proxy | None:
    """The proxy for an upstream at host:port (`secure`: https), None for a direct connection.

    credential: `user:password` from the settings' environment variable or file.

    Raises:
        ConfigError: the proxy's address is unusable.

    """
    if setting is not None:
        return None if setting == DIRECT else _parse(setting, credential, "proxy")
    variable = "https_proxy" if secure else "http_proxy"
    for name in (variable, variable.upper(), "all_proxy", "ALL_PROXY"):
        url = environ.get(name, "").strip()
        if url:
            no_proxy = environ.get("no_proxy") or environ.get("NO_PROXY", "")
            return None if _excluded(host, port, no_proxy) else _parse(url, credential, name)
    return None


def basic(credential: str) -> bytes:
    """RFC 7617. credential: `user:password`."""
    return b"Basic " + base64.b64encode(credential.encode())


def _parse(url: str, credential: str | None, where: str) -> Proxy:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:
        raise ConfigError("the proxy's address cannot be read: write http://host:port", where=where) from None
    if parts.scheme not in {"http", "https"} or not is_host(parts.hostname or ""):
        raise ConfigError("only HTTP proxies are supported: write http://host:port or https://host:port", where=where)
    if credential is None and parts.username is not None:
        credential = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    secure = parts.scheme == "https"
    return Proxy(
        host=parts.hostname or "",
        port=port or (443 if secure else 80),
        secure=secure,
        authorization=basic(credential) if credential else None,
    )


def _excluded(host: str, port: int, no_proxy: str) -> bool:
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(entry, host, address, port) for entry in no_proxy.lower().replace(",", " ").split())


def _matches(entry: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None, port: int) -> bool:
    if entry == "*":
        return True
    with_port = _WITH_PORT.fullmatch(entry)
    if with_port is not None:
        entry = with_port[1]
        if int(with_port[2]) != port:
            return False
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry.strip("[]"), strict=False)
        except ValueError:
            return False
    suffix = entry.removeprefix("*").removeprefix(".")
    return host == suffix or host.endswith(f".{suffix}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
