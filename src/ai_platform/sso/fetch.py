"""Requests to identity providers, kept from reaching what they must not (OWASP, "Server-side request forgery").

The addresses in a provider's metadata are input: only its own host and the listed ones are asked, over https, at an
address that was checked and is then connected to, never by redirect, with a bound on time and size.
Above: provider. Below: httpx2.
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from ai_platform.domain.errors import ConfigError, UpstreamBroken, UpstreamUnreachable

MAX_BYTES = 1024 * 1024
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Answered(msgspec.Struct, frozen=True):
    """status: the HTTP status. body: the JSON object in the answer."""

    status: int
    body: dict[str, Any]


class Fetcher:
    """One provider's. hosts: allowed beside the issuer's own. refused: addresses that were not asked."""

    def __init__(
        self,
        issuer: str,
        hosts: tuple[str, ...],
        *,
        seconds: float,
        name: str,
        ca_file: Path | None = None,
        public: bool = False,
        what: str = "identity provider",
    ) -> None:
        """public: no private network either, for an address that a stranger named. what: it is, in errors.

        Raises:
            ConfigError: the file of the authority cannot be used.

        """
        self._public = public
        self._what = what
        parts = urlsplit(issuer)
        self._name = name
        self._seconds = seconds
        self._scheme = parts.scheme
        self._hosts = frozenset({(parts.hostname or "").lower(), *(host.lower() for host in hosts)})
        try:
            context = ssl.create_default_context(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"ca_file {ca_file} of sso.providers '{name}' cannot be used ({error}).") from error
        self._http = httpx2.AsyncClient(verify=context, timeout=seconds, follow_redirects=False, trust_env=False)
        self.refused = 0

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, url: str, *, bearer: str | None = None) -> Answered:
        """Raises UpstreamUnreachable (no answer) and UpstreamBroken (not allowed, or not JSON)."""
        return await self._ask("GET", url, headers={"authorization": f"Bearer {bearer}"} if bearer else {})

    async def get_document(self, url: str, *, most: int) -> bytes:
        """What lies there, `most` bytes at most. Raises as `get`, and UpstreamBroken for another answer than 200."""
        status, content = await self._content("GET", url, headers={"accept": "*/*"}, most=most)
        if status != 200:
            raise UpstreamBroken(f"{url} answers with status {status}.", target=self._name)
        return content

    async def challenge(self, url: str) -> str:
        """`www-authenticate` of the answer to a request without a credential; "" without one. Raises as `get`."""
        found: dict[str, str] = {}
        await self._content("GET", url, headers={"accept": "application/json, text/event-stream"}, seen=found)
        return found.get("www-authenticate", "")

    async def post_json(self, url: str, content: bytes) -> Answered:
        return await self._ask("POST", url, headers={"content-type": "application/json"}, content=content)

    async def post(self, url: str, form: Mapping[str, str], *, basic: tuple[str, str] | None = None) -> Answered:
        return await self._ask("POST", url, data=dict(form), auth=httpx2.BasicAuth(*basic) if basic else None)

    def check(self, url: str) -> None:
        """Raises UpstreamBroken for an address that this provider may not name."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if parts.scheme != self._scheme or parts.username or parts.password or parts.fragment:
            raise self._refuse(f"{url!r} is not an {self._scheme} address")
        if host not in self._hosts:
            raise self._refuse(f"its metadata names {host!r}, which is neither its own host nor listed in `hosts`")

    async def _ask(self, method: str, url: str, **options: Any) -> Answered:
        status, content = await self._content(method, url, **options)
        return Answered(status, _object(content))

    async def _content(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        most: int = MAX_BYTES,
        seen: dict[str, str] | None = None,
        **options: Any,
    ) -> tuple[int, bytes]:
        """seen: takes the answer's header fields; then its content is left alone."""
        self.check(url)
        target = httpx2.URL(url)
        try:
            async with asyncio.timeout(self._seconds):
                address = await self._address(target)
                pinned = target.copy_with(host=address)
                request = self._http.build_request(
                    method,
                    pinned,
                    headers={"accept": "application/json", **(headers or {}), "host": target.netloc.decode("ascii")},
                    extensions={"sni_hostname": target.host},
                    data=options.get("data"),
                    content=options.get("content"),
                )
                response = await self._http.send(request, stream=True, auth=options.get("auth"))
                try:
                    if seen is not None:
                        seen |= response.headers
                    body = await self._read(response, most) if seen is None else b""
                finally:
                    await response.aclose()
        except (httpx2.HTTPError, TimeoutError, OSError) as error:
            raise UpstreamUnreachable(
                f"The {self._what} '{self._name}' does not answer ({type(error).__name__}). Try again soon.",
                target=self._name,
            ) from error
        return response.status_code, body

    async def _address(self, url: httpx2.URL) -> str:
        """An address of the host; every one it has must be allowed, so that a second answer cannot slip in."""
        port = url.port or (443 if url.scheme == "https" else 80)
        found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        for address in addresses:
            if not _is_allowed(address, loopback=self._scheme == "http", public=self._public):
                raise self._refuse(f"{url.host} resolves to {address}, where nobody is asked")
        return addresses[0]

    async def _read(self, response: httpx2.Response, most: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > most:
                raise UpstreamBroken(f"The {self._what} '{self._name}' sent far too much.", target=self._name)
            chunks.append(chunk)
        return b"".join(chunks)

    def _refuse(self, why: str) -> UpstreamBroken:
        self.refused += 1
        return UpstreamBroken(f"The {self._what} '{self._name}' is not asked: {why}.", target=self._name)


def _is_allowed(text: str, *, loopback: bool, public: bool = False) -> bool:
    """Private networks are allowed, since providers stand there; the machine itself and cloud metadata are not.

    loopback: development: plain http, and then nothing but this machine. public: private networks are not, either.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    every = [address, *_inside(address)] if isinstance(address, ipaddress.IPv6Address) else [address]
    if loopback:
        return every[-1].is_loopback
    return not any(
        one.is_loopback
        or one.is_link_local
        or one.is_multicast
        or one.is_unspecified
        or (public and not one.is_global and one is every[-1])
        or str(one) in {"fd00:ec2::254", "100.100.100.200", "168.63.129.16"}
        for one in every
    )


def _inside(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 address that packets to this one end at: mapped (RFC 4291), 6to4 (3056), Teredo (4380), NAT64 (6052)."""
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    teredo = address.teredo
    found = (address.ipv4_mapped, address.sixtofour, teredo[1] if teredo else None)
    return [one for one in found if one is not None]


def _object(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        value = msgspec.json.decode(body)
        if isinstance(value, dict):
            return value
    return {}
