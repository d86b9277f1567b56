"""Who calls a bundled server: named by the gateway in front of it, or, when it stands alone, by its configuration.

The gateway authenticates; this only believes who may be believed: over HTTP a header or `_meta` counts only when the
request also carried the server's bearer token. Over stdio the environment is the host's own; `_meta` counts when the
host, which started the program, says with an option that it names callers there.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Any

import msgspec

from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Unauthenticated

HEADER = "x-ai-platform-caller"
META = "ai-platform/caller"
VARIABLE = "AI_PLATFORM_CALLER"
ANY = "*"


class Caller(msgspec.Struct, frozen=True):
    """id: in every audit line. permissions: such as `deploy:api:staging`; `*` is all, also for one part."""

    id: str
    permissions: tuple[str, ...] = ()

    def may(self, permission: str) -> bool:
        """One granted permission covers every part of `permission`."""
        parts = permission.split(":")
        return any(_covers(granted, parts) for granted in self.permissions)


class Callers:
    """Finds the caller of a request.

    alone: who calls when nobody is named. trusted: HTTP requests may name a caller. from_meta: every request names its
    caller in `_meta`, over stdio too; one that does not is refused.
    """

    def __init__(self, alone: Caller | None, *, trusted: bool, from_meta: bool = False) -> None:
        self._trusted = trusted
        self._from_meta = from_meta
        named = os.environ.get(VARIABLE, "")
        self._alone = _decode(named.encode(), VARIABLE) if named else alone

    def of(self, request: Any, meta: Mapping[str, Any] | None = None) -> Caller:
        """request: the HTTP request, None over stdio. meta: the `_meta` of the MCP request.

        Raises:
            Unauthenticated: nobody is named, or the name cannot be read (fails closed).

        """
        believed = self._trusted if request is not None else self._from_meta
        if believed and (named := (meta or {}).get(META)) is not None:
            return _convert(named, META)
        presented = request.headers.get(HEADER) if request is not None and self._trusted else None
        if presented is not None:
            try:
                text = base64.b64decode(presented + "=" * (-len(presented) % 4), altchars=b"-_", validate=True)
            except (binascii.Error, ValueError) as error:
                raise _unreadable(HEADER) from error
            return _decode(text, HEADER)
        if self._alone is None or self._from_meta:
            raise Unauthenticated(
                Refusal.UNAUTHENTICATED,
                f"Nobody is named as the caller: the gateway names them in _meta ({META}) or {HEADER}, a host sets"
                f" {VARIABLE}, or the configuration has an identity.",
            )
        return self._alone


def header_for(caller: Caller) -> str:
    """The header's value: JSON as base64url, which every HTTP stack carries unharmed."""
    return base64.urlsafe_b64encode(msgspec.json.encode(caller)).decode()


def _decode(text: bytes, place: str) -> Caller:
    try:
        return _convert(msgspec.json.decode(text), place)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unreadable(place) from error


def _convert(said: Any, place: str) -> Caller:
    try:
        caller = msgspec.convert(said, Caller)
    except msgspec.ValidationError as error:
        raise _unreadable(place) from error
    if not caller.id.strip():
        raise _unreadable(place)
    return caller


def _unreadable(place: str) -> Unauthenticated:
    return Unauthenticated(
        Refusal.UNAUTHENTICATED, f'{place} names no caller: {{"id": …, "permissions": […]}} is needed.'
    )


def _covers(granted: str, wanted: list[str]) -> bool:
    if granted == ANY:
        return True
    parts = granted.split(":")
    return len(parts) == len(wanted) and all(mine in {ANY, part} for mine, part in zip(parts, wanted, strict=True))
