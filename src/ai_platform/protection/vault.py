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
        told = "\0".join((*scope, kind, value)).encode("utf-8", "surrogatepass")
        digest = blake2b(told, digest_size=10, key=self._secret, person=b"token").digest()
        body = b32encode(digest).decode()[:8]
        token = f"{kind}_{body}{_check(body)}"
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
        while self._size > self._limit and len(self._scopes) > 1:
            _, dropped = self._scopes.popitem(last=False)
            self._size -= len(dropped)
        return token

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

    def exchange(self, scope: Scope, *, tools: bool) -> "Exchange":
        """For one answer. tools: may values be restored in tool arguments?"""
        return Exchange(self, scope, holds=bool(self._scopes.get(scope)), tools=tools)


class Exchange:
    """A vault seen from one scope. holds: it has tokens to restore. tools: also in tool arguments."""

    def __init__(self, vault: Vault, scope: Scope, *, holds: bool, tools: bool) -> None:
        self.holds = holds
        self.tools = tools
        self._vault = vault
        self._scope = scope

    def for_tools(self) -> "Exchange":
        """The same for tool arguments: it restores only where that is allowed."""
        return Exchange(self._vault, self._scope, holds=self.holds and self.tools, tools=self.tools)

    def mint(self, kind: str, value: str) -> str:
        return self._vault.mint(self._scope, kind, value)

    def restore(self, token: str) -> str | None:
        return self._vault.restore(self._scope, token)


def is_token(text: str) -> bool:
    """Is it shaped like a token, check character included?"""
    return TOKEN.fullmatch(text) is not None and _check(text[-9:-1]) == text[-1]


def _check(body: str) -> str:
    total = sum(_ALPHABET.index(char) * (place + 1) for place, char in enumerate(body))
    return _ALPHABET[total % 31]
