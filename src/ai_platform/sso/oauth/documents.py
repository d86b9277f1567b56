"""Client-id metadata documents: what a client says of itself at the address that is its id (an IETF draft, and MCP's).

The address comes from whoever opens a link, so nothing but public hosts is asked, over https, once in a while, and
what is read is small. Above: clients. Below: fetch.
"""

import asyncio
import ipaddress
import re
from collections import OrderedDict
from typing import Any
from urllib.parse import urlsplit

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import InvalidCall, UpstreamError
from ai_platform.sso.fetch import Fetcher

LONGEST = 300
MOST_BYTES = 16 * 1024
KEPT_SECONDS = 3600.0
PAUSE_SECONDS = 60.0
"""How long a document that could not be had is not asked for again."""

MOST_KEPT = 500
MOST_AT_ONCE = 4

_ADDRESS = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_DOTS = re.compile(r"(?i)/(?:\.|%2e){1,2}(?:/|$)")


class ClientDocuments:
    """fetched, failed: counters. development: plain http on loopback will do, because the platform itself is so."""

    def __init__(self, clock: Clock, *, seconds: float, development: bool) -> None:
        self._clock = clock
        self._seconds = seconds
        self._development = development
        self._kept: OrderedDict[str, tuple[float, dict[str, Any] | None]] = OrderedDict()
        self._gate = asyncio.Semaphore(MOST_AT_ONCE)
        self.fetched = 0
        self.failed = 0

    async def of(self, address: str) -> dict[str, Any]:
        """Raises InvalidCall: the address or what is there cannot be used."""
        self._check(address)
        until, document = self._kept.get(address, (0.0, None))
        if until <= self._clock.monotonic():
            async with self._gate:
                document = await self._fetch(address)
            self._keep(address, document)
        if document is None:
            raise _invalid(
                f"The client's document at {urlsplit(address).hostname} cannot be read; try again in a minute"
            )
        return document

    def _check(self, address: str) -> None:
        parts = urlsplit(address)
        host = (parts.hostname or "").lower()
        scheme = "http" if self._development and parts.scheme == "http" else "https"
        if len(address) > LONGEST or not _ADDRESS.fullmatch(address) or _DOTS.search(parts.path) or parts.path == "/":
            raise _invalid("A client_id that is an address has a path, and neither query, fragment, user name nor dots")
        if parts.scheme != scheme or ((_is_number(host) or "." not in host) and not self._development):
            raise _invalid("A client_id that is an address begins with https:// and names a public host")

    async def _fetch(self, address: str) -> dict[str, Any] | None:
        """None: it cannot be had, or is of another client."""
        parts = urlsplit(address)
        origin = f"{parts.scheme}://{parts.netloc}"
        fetcher = Fetcher(origin, (), seconds=self._seconds, name=origin, public=True)
        try:
            content = await fetcher.get_document(address, most=MOST_BYTES)
            document = msgspec.json.decode(content, type=dict[str, Any])
        except (UpstreamError, msgspec.DecodeError, RecursionError):
            document = {}
        finally:
            await fetcher.close()
        if document.get("client_id") != address:
            self.failed += 1
            return None
        self.fetched += 1
        return document

    def _keep(self, address: str, document: dict[str, Any] | None) -> None:
        seconds = PAUSE_SECONDS if document is None else KEPT_SECONDS
        self._kept[address] = (self._clock.monotonic() + seconds, document)
        self._kept.move_to_end(address)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.rpartition(".")[2].isdigit()
    return True


def _invalid(message: str) -> InvalidCall:
    return InvalidCall(Refusal.INVALID_REQUEST, f"{message}.")
