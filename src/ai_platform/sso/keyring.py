"""The public keys of one issuer, kept and read anew: when they are old, or when a token names one that is not known.

Not more often than KEYS_PAUSE (FAILURE_PAUSE when the issuer does not answer), so that forged tokens cannot make this
process flood it. Above: provider, federation. Below: idtoken.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import UpstreamBroken, UpstreamError
from ai_platform.sso.idtoken import Head, PublicKey, choose, keys_of, refused

KEYS_SECONDS = 3600.0
KEYS_PAUSE = 10.0
FAILURE_PAUSE = 1.0


class KeyRing:
    """read: gives the issuer's JWK set. name: of the issuer, in errors."""

    def __init__(self, read: Callable[[], Awaitable[dict[str, Any]]], *, name: str, clock: Clock) -> None:
        self._read = read
        self._name = name
        self._clock = clock
        self._keys: dict[str | None, list[PublicKey]] = {}
        self._read_at = float("-inf")
        self._failed_at = float("-inf")
        self._failure: UpstreamError | None = None
        self._reading = asyncio.Lock()

    async def key(self, head: Head) -> PublicKey:
        """Raises Unauthenticated: there is no such key; UpstreamError: they cannot be had."""
        age = self._clock.monotonic() - self._read_at
        key = choose(self._keys, head) if age < KEYS_SECONDS else None
        if key is None and age >= KEYS_PAUSE:
            async with self._reading:
                if self._clock.monotonic() - self._read_at >= min(age, KEYS_PAUSE):
                    await self._refresh()
        key = key or choose(self._keys, head)
        if key is None:
            raise refused("its issuer has no key of that id")
        return key

    async def _refresh(self) -> None:
        if self._failure is not None and self._clock.monotonic() - self._failed_at < FAILURE_PAUSE:
            raise type(self._failure)(str(self._failure), target=self._failure.target)
        try:
            if not (keys := keys_of(await self._read())):
                raise UpstreamBroken(f"The identity provider '{self._name}' shows no keys.", target="jwks")
        except UpstreamError as error:
            self._failure, self._failed_at = error, self._clock.monotonic()
            raise
        self._keys, self._failure = keys, None
        self._read_at = self._clock.monotonic()
