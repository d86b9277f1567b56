"""Where a code may be sent: a program on the person's own computer, or an https address of a listed host.

Compared as text (RFC 9700 section 2.1); only the port of a loopback address may differ (RFC 8252 section 7.3).
Above: clients. Below: nothing.
"""

import re
from collections.abc import Collection
from urllib.parse import parse_qsl, urlsplit

LONGEST = 300
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
RESERVED = frozenset({"code", "state", "iss", "error", "error_description", "error_uri"})

_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/?\[\]!$&'()*+,;=%-]+")
_LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|localhost|\[::1\]))(?::(\d{1,5}))?((?:/[^?]*)?(?:\?.*)?)")
_HTTPS = re.compile(r"https://([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::(\d{1,5}))?(?:/.*)?")


def check_redirect(uri: str, hosts: Collection[str] | None) -> None:
    """hosts: listed ones, None = any.

    Raises:
        ValueError: codes are not sent there; why and what would be.

    """
    if len(uri) > LONGEST or not _CHARACTERS.fullmatch(uri):
        raise ValueError(f"a redirect address is at most {LONGEST} plain characters, without a fragment or a user name")
    if {name for name, _ in parse_qsl(urlsplit(uri).query, keep_blank_values=True)} & RESERVED:
        raise ValueError("a redirect address must not carry parameters of the answer itself")
    if _LOOPBACK.fullmatch(uri):
        return
    remote = _HTTPS.fullmatch(uri)
    if remote is None:
        raise ValueError(
            "a redirect address is http://127.0.0.1, http://localhost or http://[::1] with any port, or https with a"
            " host in lower case"
        )
    if hosts is not None and remote[1] not in hosts:
        raise ValueError(f"codes are not sent to {remote[1]}; `sso.oauth.redirect_hosts` lists hosts that may get them")


def fits(asked: str, registered: Collection[str]) -> bool:
    """Whether it is one of those that the client registered."""
    if asked in registered:
        return True
    own = _LOOPBACK.fullmatch(asked)
    return own is not None and any(_same_but_port(own, other) for other in registered)


def _same_but_port(own: re.Match[str], other: str) -> bool:
    found = _LOOPBACK.fullmatch(other)
    return found is not None and (own[1], own[3]) == (found[1], found[3])


def place_of(uri: str) -> str:
    """As people are told: a program on their own computer, or the host."""
    if _LOOPBACK.fullmatch(uri):
        return "a program on this computer"
    return urlsplit(uri).hostname or ""
