"""Reversible tokens: what stands for a value towards the model, and the way back for the one who sent it.

A token is keyed by its scope (a person's session), so that the same value gives the same token on every turn, and only
tokens minted in a scope are restored in it: a guessed or injected one is just text. Values come back with every turn of
a conversation, so nothing is written to disk; what is held is encrypted, bounded and expires.
Above: guard.py, stream.py. Below: domain.
"""

import re
import secrets
from base64 import b32encode
from collections import OrderedDict
from hashlib import blake2b

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ai_platform.domain.clock import Clock

Scope = tuple[str, str, str]
"""(tenant, person, session)."""

TOKEN = re.compile(r"(?<![A-Za-z0-9_])[A-Z][A-Z0-9_]{1,38}_[A-Z2-7]{9}(?![A-Za-z0-9_])")
"""`EMAIL_ADDRESS_7QK3ZD2AX`: the type, eight characters of a keyed hash, and a check character."""

_SWEEP = 256

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class _Kept(msgspec.Struct):
    nonce: bytes
    sealed: bytes
    expires: float


class Vault:
    """limit: tokens kept in all; lifetime: seconds since a value was last seen. minted, restored: counters."""

    def __init__(self, clock: Clock, *, secret: bytes, limit: int = 50_000, lifetime: float = 24 * 3600) -> None:
        self.minted = 0
        self.restored = 0
        self._clock = clock
        self._secret = secret[:64]
        self._limit = limit
        self._lifetime = lifetime
        self._sealing = AESGCM(AESGCM.generate_key(256))
        self._size = 0
        self._scopes: OrderedDict[Scope, dict[str, _Kept]] = OrderedDict()

    def mint(self, scope: Scope, kind: str, value: str) -> str:
        """The token for a value of type `kind`; the same for the same scope, type and value."""
        token = self.stand_in(scope, kind, value)
        kept = self._scopes.setdefault(scope, {})
        self._scopes.move_to_end(scope)
        expires = self._clock.monotonic() + self._lifetime
        if token in kept:
            kept[token].expires = expires
            return token
        nonce = secrets.token_bytes(12)
        kept[token] = _Kept(nonce, self._sealing.encrypt(nonce, value.encode("utf-8", "surrogatepass"), None), expires)
        self.minted += 1
        self._size += 1
        if self._size > self._limit or not self.minted % _SWEEP:
            self._forget(kept)
        return token

    def stand_in(self, scope: Scope, kind: str, value: str) -> str:
        """The same token, without keeping the value: it cannot be restored by it."""
        told = "\0".join((*scope, kind, value)).encode("utf-8", "surrogatepass")
        digest = blake2b(told, digest_size=10, key=self._secret, person=b"token").digest()
        body = b32encode(digest).decode()[:8]
        return f"{kind}_{body}{_check(body)}"

    def restore(self, scope: Scope, token: str) -> str | None:
        """The value of a token minted in this scope, or None."""
        kept = self._scopes.get(scope, {}).get(token)
        if kept is None or not is_token(token):
            return None
        if kept.expires < self._clock.monotonic():
            del self._scopes[scope][token]
            self._size -= 1
            return None
        self.restored += 1
        return self._sealing.decrypt(kept.nonce, kept.sealed, None).decode("utf-8", "surrogatepass")

    def _forget(self, current: dict[str, _Kept]) -> None:
        """Drop what has expired; above the limit also the scopes used longest ago (a tenth more, so not at each mint),
        and at last the oldest tokens of the only scope.
        """
        limit = self._limit - self._limit // 10 if self._size > self._limit else self._limit
        now = self._clock.monotonic()
        for scope, kept in list(self._scopes.items()):
            for token in [token for token, value in kept.items() if value.expires < now]:
                del kept[token]
            if not kept and kept is not current:
                del self._scopes[scope]
        self._size = sum(map(len, self._scopes.values()))
        while self._size > limit and len(self._scopes) > 1:
            self._size -= len(self._scopes.popitem(last=False)[1])
        while self._size > limit:
            del current[next(iter(current))]
            self._size -= 1

    def exchange(self, scope: Scope, *, tools: bool) -> "Exchange":
        """For one answer. tools: may values be restored in tool arguments?"""
        return Exchange(self, scope, holds=bool(self._scopes.get(scope)), tools=tools)


class Exchange:
    """A vault seen from one scope. holds: it has tokens to restore. tools: also in tool arguments.

    restored: how many values were put back.
    """

    def __init__(self, vault: Vault, scope: Scope, *, holds: bool, tools: bool) -> None:
        self.holds = holds
        self.tools = tools
        self.restored = 0
        self._vault = vault
        self._scope = scope

    def mint(self, kind: str, value: str) -> str:
        return self._vault.mint(self._scope, kind, value)

    def stand_in(self, kind: str, value: str) -> str:
        return self._vault.stand_in(self._scope, kind, value)

    def restore(self, token: str) -> str | None:
        value = self._vault.restore(self._scope, token)
        self.restored += value is not None
        return value


def is_token(text: str) -> bool:
    """Is it shaped like a token, check character included?"""
    return TOKEN.fullmatch(text) is not None and _check(text[-9:-1]) == text[-1]


def _check(body: str) -> str:
    total = sum(_ALPHABET.index(char) * (place + 1) for place, char in enumerate(body))
    return _ALPHABET[total % 31]
