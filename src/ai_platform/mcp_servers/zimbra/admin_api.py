"""Zimbra's SOAP admin API in its JSON form: one address, signed in as one administrator, bounded answers.

The operator alone chooses the address; nothing that a caller sends gets into it, and no redirect is followed. Formats:
Zimbra's soap.txt and soap-admin.txt. Above: remote. Below: httpx2.
"""

import asyncio
import ipaddress
import re
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from ai_platform import __version__
from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import ConfigError, UpstreamBroken, UpstreamTimeout, UpstreamUnreachable

MOST_BYTES = 64 << 20
SECONDS = 60.0
MARGIN_SECONDS = 60.0
"""A token is renewed so long before it expires."""
PAUSE_SECONDS = 60.0
"""After a refused sign-in nobody tries again for so long: Zimbra locks an account after some failures."""
_PATH = "/service/admin/soap"
_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?P<path>/[!-~]*)?"
)
_EXPIRED = {"service.AUTH_EXPIRED", "service.AUTH_REQUIRED"}


class Fault(UpstreamBroken):
    """Zimbra refused a request. code: its own, such as `account.NO_SUCH_ACCOUNT`."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"Zimbra refused: {reason[:300]} ({code[:100]}).", target="zimbra")
        self.code = code
        self.reason = reason


class _Reason(msgspec.Struct):
    text: str = msgspec.field(default="", name="Text")


class _Error(msgspec.Struct):
    code: str = msgspec.field(default="", name="Code")


class _Detail(msgspec.Struct):
    error: _Error = msgspec.field(default_factory=_Error, name="Error")


class _Fault(msgspec.Struct):
    reason: _Reason = msgspec.field(default_factory=_Reason, name="Reason")
    detail: _Detail = msgspec.field(default_factory=_Detail, name="Detail")


class _Envelope(msgspec.Struct):
    body: dict[str, msgspec.Raw] = msgspec.field(name="Body")


class _Token(msgspec.Struct):
    content: str = msgspec.field(name="_content")


class _Signed(msgspec.Struct):
    """lifetime: milliseconds."""

    tokens: list[_Token] = msgspec.field(name="authToken")
    lifetime: int = 0


class AdminApi:
    """ask(). password: read at each sign-in, so that it can be changed under way. signed_in: counter."""

    def __init__(
        self, url: str, user: str, password: Callable[[], str], *, clock: Clock, ca: Path | None = None
    ) -> None:
        self._url = endpoint(url)
        self._user = user
        self._password = password
        self._clock = clock
        self._signing = asyncio.Lock()
        self._token = ""
        self._until = 0.0
        self._refused: tuple[float, str, str] | None = None
        self.signed_in = 0
        self._http = httpx2.AsyncClient(
            verify=_trusting(ca), timeout=SECONDS, follow_redirects=False, trust_env=False, cookies=None
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, request: str, kind: Any, **arguments: Any) -> Any:
        """`ask("GetAccount", Answer, account={…})`: the answer as `kind`.

        Raises:
            Fault: Zimbra refused.
            UpstreamUnreachable, UpstreamTimeout, UpstreamBroken: no answer, or one that cannot be understood.

        """
        token = await self._signed_in()
        try:
            return await self._post(request, kind, arguments, token)
        except Fault as fault:
            if fault.code not in _EXPIRED:
                raise
        return await self._post(request, kind, arguments, await self._signed_in(instead_of=token))

    async def _signed_in(self, instead_of: str = "") -> str:
        async with self._signing:
            now = self._clock.monotonic()
            if self._token and self._token != instead_of and now < self._until:
                return self._token
            if self._refused is not None and now < self._refused[0]:
                raise Fault(self._refused[1], f"{self._refused[2]}; not tried again for a minute")
            try:
                signed = await self._post("Auth", _Signed, {"name": self._user, "password": self._password()}, "")
            except Fault as fault:
                self._refused = (now + PAUSE_SECONDS, fault.code, fault.reason)
                raise
            if not signed.tokens:
                raise _unreadable("Auth")
            self._token = signed.tokens[0].content
            self._until = now + max(signed.lifetime / 1000 - MARGIN_SECONDS, 1.0)
            self._refused = None
            self.signed_in += 1
            return self._token

    async def _post(self, request: str, kind: Any, arguments: Mapping[str, Any], token: str) -> Any:
        context: dict[str, Any] = {
            "_jsns": "urn:zimbra",
            "format": {"type": "js"},
            "nosession": {},
            "userAgent": {"name": "ai-platform", "version": __version__},
        }
        if token:
            context["authToken"] = {"_content": token}
        body = {f"{request}Request": {"_jsns": "urn:zimbraAdmin", **arguments}}
        data = await self._bytes(msgspec.json.encode({"Header": {"context": context}, "Body": body}))
        try:
            parts = msgspec.json.decode(data, type=_Envelope).body
            if (fault := parts.get("Fault")) is not None:
                said = msgspec.json.decode(fault, type=_Fault)
                raise Fault(said.detail.error.code, said.reason.text)
            return msgspec.json.decode(parts[f"{request}Response"], type=kind, strict=False)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError) as error:
            raise _unreadable(request) from error

    async def _bytes(self, content: bytes) -> bytes:
        data = bytearray()
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        try:
            async with (
                asyncio.timeout(SECONDS),
                self._http.stream("POST", self._url, content=content, headers=headers) as answer,
            ):
                if answer.status_code not in {200, 500}:  # 500 carries a Fault (SOAP 1.2, part 2, 7.5.2.2)
                    raise UpstreamBroken(f"Zimbra answered with status {answer.status_code}.", target="zimbra")
                async for chunk in answer.aiter_bytes():
                    data += chunk
                    if len(data) > MOST_BYTES:
                        raise UpstreamBroken("Zimbra's answer is too large.", target="zimbra")
        except (httpx2.TimeoutException, TimeoutError) as error:
            raise UpstreamTimeout(f"Zimbra did not answer within {SECONDS:.0f} seconds.", target="zimbra") from error
        except httpx2.HTTPError as error:
            what = _certificate(error) or type(error).__name__
            raise UpstreamUnreachable(f"Zimbra cannot be reached: {what}.", target="zimbra") from error
        return bytes(data)


def endpoint(url: str) -> str:
    """The address of the admin API; `https://HOST:7071` is enough.

    Raises:
        ConfigError: no such address, or plain http to another machine.

    """
    parts = _ADDRESS.fullmatch(url)
    if parts is None:
        raise ConfigError(f"--url {url}: an address such as https://mail.example.com:7071 is needed.")
    if parts["scheme"] == "http" and not _is_loopback(parts["host"].strip("[]")):
        raise ConfigError(f"--url {url}: https is needed, since an administrator's password is sent there.")
    return url if (parts["path"] or "/") != "/" else url.rstrip("/") + _PATH


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _trusting(ca: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(ca) if ca else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("--ca: no certificates in PEM form could be read.", where=str(ca)) from error


def _certificate(error: BaseException) -> str:
    """What is wrong with the other side's certificate, when that is what it is."""
    said = str(error)
    at = said.find("certificate verify failed")
    return f"{said[at : at + 150].partition(' (_ssl')[0]} (--ca FILE names its authority)" if at >= 0 else ""


def _unreadable(request: str) -> UpstreamBroken:
    return UpstreamBroken(f"Zimbra's answer to {request}Request cannot be understood.", target="zimbra")
