"""Network addresses of people's machines."""

import ipaddress
import re

from ai_platform.domain.finding import DataClass, Severity, Tier
from ai_platform.protection.rule import Anchor, Rule, Span

_IP4 = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\w-]|\.\d)")
_IP6 = re.compile(r"[0-9A-Fa-f:]{2,39}(?![\w:.])")


def _ipv4(text: str, start: int, _end: int) -> Span | None:
    before = text[start - 1] if start else " "
    if before.isalnum() or before in "_.-+":
        return None
    if before == "/" and start > 1 and text[start - 2].isalnum():
        return None  # Chrome/48.104.118.113
    match = _IP4.match(text, start)
    if match is None:
        return None
    first, second, third, fourth = map(int, match.groups())
    if max(first, second, third, fourth) > 255 or not _public(first, second, third):
        return None
    return match.span()


def _public(first: int, second: int, third: int) -> bool:
    """Not in the IANA special-purpose registry (RFC 6890): private, loopback, link-local, documentation, multicast."""
    if first in (0, 10, 127) or first >= 224:
        return False
    match first, second:
        case (100, n) if 64 <= n <= 127:
            return False
        case (169, 254) | (192, 168) | (198, 18) | (198, 19):
            return False
        case (172, n) if 16 <= n <= 31:
            return False
        case (192, 0) if third in (0, 2):
            return False
        case (198, 51) if third == 100:
            return False
        case (203, 0) if third == 113:
            return False
        case _:
            return True


def _ipv6(text: str, start: int, _end: int) -> Span | None:
    before = text[start - 1] if start else " "
    if before.isalnum() or before in "_:.":
        return None
    match = _IP6.match(text, start)
    if match is None:
        return None
    value = match.group()
    groups = value.split(":")
    if (len(groups) != 8 and "::" not in value) or any(len(group) > 4 for group in groups):
        return None
    return match.span() if _is_global(value) else None


def _is_global(value: str) -> bool:
    """Documentation and local ranges are nobody's."""
    try:
        address = ipaddress.IPv6Address(value)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast)


def _dotted_start(text: str, end: int) -> int:
    start = end
    while start and end - start < 16 and (text[start - 1].isdigit() or text[start - 1] == "."):
        start -= 1
    return start


def _hex_start(text: str, end: int) -> int:
    start = end
    while start and end - start < 40 and (text[start - 1] in "0123456789abcdefABCDEF:"):
        start -= 1
    return start


RULES = (
    Rule(
        id="ip-address",
        type="IP_ADDRESS",
        label="an IP address",
        data_class=DataClass.PII,
        tier=Tier.FORMAT,
        severity=Severity.INFO,
        source="RFC 791, IANA special-purpose address registries",
        triggers=(r"(?:^|[^\w.+-])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d",),
        anchor=Anchor.END,
        finder=lambda text, _start, end: _ipv4(text, _dotted_start(text, end), end),
        lead=16,
        extent=r"[\d.]{0,4}",
        examples=("client 48.90.248.226 blocked", "|19.253.176.22|"),
        counter_examples=("192.168.31.85", "127.0.0.1", "Chrome/48.104.118.113", "v85.112.128.114", "1.2.3.4.5"),
    ),
    Rule(
        id="ipv6-address",
        type="IP_ADDRESS",
        label="an IP address",
        data_class=DataClass.PII,
        tier=Tier.FORMAT,
        severity=Severity.INFO,
        source="RFC 4291",
        triggers=(r"(?:^|[^\w:.])[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{0,4}:",),
        anchor=Anchor.END,
        finder=lambda text, _start, end: _ipv6(text, _hex_start(text, end), end),
        lead=16,
        extent=r"[0-9A-Fa-f:]{0,40}",
        examples=("6e40:4041:c617:e898:c11:40d2:c669:2eb4", "2a02:26f0:6d00::1"),
        counter_examples=("fe80:0000:0000:0000:0204:61ff:fe9d:f156", "12:30:45", "ab:cd:ef:01:23:45"),
    ),
)
