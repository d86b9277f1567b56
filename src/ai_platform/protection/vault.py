"""Reversible tokens: what stands for a value towards the model, and the way back for the one who sent it.

A token is keyed by its scope (a person's session), so that the same value gives the same token on every turn, and only
what was kept in a scope comes back in it: a guessed or injected token is just text. What is kept is encrypted with a
key of its scope, in memory and in the store, bounded, and expires.
Above: guard.py, exchange.py. Below: domain, stores.rows.
"""

import secrets
from base64 import b32encode
from collections import OrderedDict
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from hashlib import blake2b
from typing import NamedTuple, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import StoreUnavailable
from ai_platform.protection.tokens import check_character
from ai_platform.stores.rows import Insert

MOST_OF_A_SCOPE = 10_000
"""So many entries are read back of one session."""

_SWEEP = 256
_NONCE = 12
_LONG = 1024
_TABLE = "aip.vault_entries"
_COLUMNS = ("tenant", "scope", "name", "sealed", "principal_id", "expires_at")


class Scope(NamedTuple):
    """Within it tokens are stable, and can be restored. session: empty for a client that names none."""

    tenant: str
    person: str
    session: str


class Stored(NamedTuple):
    """An entry as the store holds it. expires: seconds since the epoch."""

    name: str
    sealed: bytes
    expires: float


class VaultStore(Protocol):
    """Remembers entries over restarts and for other replicas; they are written as rows with the events of the call."""

    async def fetch(self, tenant: str, scope: bytes, names: Collection[str] | None, now: float) -> Iterable[Stored]:
        """Of this scope: these entries, or the newest (None). Raises StoreUnavailable."""
        ...


class NoStore:
    async def fetch(self, tenant: str, scope: bytes, names: Collection[str] | None, now: float) -> Iterable[Stored]:
        del tenant, scope, names, now
        return ()


class _Kept(msgspec.Struct):
    """stored_until: for how long the store has it (0 = not at all)."""

    sealed: bytes
    expires: float
    stored_until: float

    @property
    def weight(self) -> int:
        """What it counts towards the limit: a long text as many short ones."""
        return 1 + len(self.sealed) // _LONG


class _Shelf:
    """What is kept of one scope."""

    __slots__ = ("cipher", "complete", "entries", "id", "scope")

    def __init__(self, scope: Scope, secret: bytes) -> None:
        told = "\0".join(scope).encode("utf-8", "surrogatepass")
        self.scope = scope
        self.id = blake2b(told, digest_size=16, key=secret, person=b"vault scope").digest()
        self.cipher = AESGCM(blake2b(told, digest_size=32, key=secret, person=b"vault seal").digest())
        self.entries: dict[str, _Kept] = {}
        self.complete = False  # has been read from the store

    def seal(self, name: str, text: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self.cipher.encrypt(nonce, text.encode("utf-8", "surrogatepass"), self.id + name.encode())

    def open(self, name: str, sealed: bytes) -> str | None:
        """None for what was not sealed here under this name."""
        try:
            plain = self.cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], self.id + name.encode())
        except (InvalidTag, ValueError):
            return None
        return plain.decode("utf-8", "surrogatepass")


class Vault:
    """limit: entries held in memory, each KiB of a long one counting as one (size: how many there are); lifetime: seconds since a value was last seen.

    kept: how many there ever were. unread: how often the store did not answer.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        secret: bytes,
        store: VaultStore | None = None,
        limit: int = 50_000,
        lifetime: float = 24 * 3600,
    ) -> None:
        self.kept = 0
        self.unread = 0
        self._clock = clock
        self._secret = secret[:64]
        self._store = store or NoStore()
        self._limit = limit
        self._lifetime = lifetime
        self.size = 0
        self._shelves: OrderedDict[Scope, _Shelf] = OrderedDict()

    def token(self, scope: Scope, kind: str, value: str) -> str:
        """What stands for a value of type `kind`: the same for the same scope, type and value. Nothing is kept."""
        told = "\0".join((*scope, kind, value)).encode("utf-8", "surrogatepass")
        digest = blake2b(told, digest_size=10, key=self._secret, person=b"token").digest()
        body = b32encode(digest).decode()[:8]
        return f"{kind}_{body}{check_character(body)}"

    def keep(self, scope: Scope, name: str, text: str) -> Insert | None:
        """Hold `text` under `name` for its lifetime; what has to be written for the store to have it too."""
        shelf = self._shelf(scope)
        now = self._clock.now()
        kept = shelf.entries.get(name)
        if kept is None or shelf.open(name, kept.sealed) != text:
            self.kept += 1
            self._drop(shelf, name)
            kept = shelf.entries[name] = _Kept(shelf.seal(name, text), now, 0.0)
            self.size += kept.weight
        kept.expires = now + self._lifetime
        self._forget(shelf)
        if kept.stored_until > now + self._lifetime / 2:
            return None
        expires = datetime.fromtimestamp(kept.expires, UTC)
        return Insert(_TABLE, _COLUMNS, (scope.tenant, shelf.id, name, kept.sealed, scope.person, expires))

    def written(self, scope: Scope, rows: Iterable[Insert]) -> None:
        """These rows are durable."""
        shelf = self._shelf(scope)
        for row in rows:
            if kept := shelf.entries.get(row.values[2]):
                kept.stored_until = kept.expires

    def find(self, scope: Scope, name: str) -> str | None:
        """What is kept under this name, as far as it is in memory (see `recall`)."""
        shelf = self._shelves.get(scope)
        kept = shelf.entries.get(name) if shelf is not None else None
        if shelf is None or kept is None:
            return None
        if kept.expires < self._clock.now():
            self._drop(shelf, name)
            return None
        return shelf.open(name, kept.sealed)

    def holds(self, scope: Scope) -> bool:
        shelf = self._shelves.get(scope)
        return shelf is not None and bool(shelf.entries)

    async def recall(self, scope: Scope, names: Collection[str] | None = None) -> None:
        """Read from the store what memory lacks: these entries, or (None) everything, the first time in this process.

        Fails closed: without the store, tokens stay what they are (counted in `unread`).
        """
        shelf = self._shelf(scope)
        if names is None:
            if shelf.complete:
                return
        else:
            names = [name for name in names if name not in shelf.entries]
            if not names:
                return
        now = self._clock.now()
        try:
            found = await self._store.fetch(scope.tenant, shelf.id, names, now)
        except StoreUnavailable:
            self.unread += 1
            return
        for entry in found:
            if entry.name not in shelf.entries and shelf.open(entry.name, entry.sealed) is not None:
                kept = shelf.entries[entry.name] = _Kept(entry.sealed, entry.expires, entry.expires)
                self.size += kept.weight
        shelf.complete = shelf.complete or names is None
        self._forget(shelf)

    def _shelf(self, scope: Scope) -> _Shelf:
        shelf = self._shelves.get(scope)
        if shelf is None:
            shelf = self._shelves[scope] = _Shelf(scope, self._secret)
        self._shelves.move_to_end(scope)
        return shelf

    def _forget(self, current: _Shelf) -> None:
        """Drop what has expired; above the limit also the scopes used longest ago (a tenth more, so not at each call),
        and at last the oldest entries of the only scope.
        """
        if self.size <= self._limit and len(self._shelves) <= self._limit and self.kept % _SWEEP:
            return
        limit = self._limit - self._limit // 10 if self.size > self._limit else self._limit
        now = self._clock.now()
        for scope, shelf in list(self._shelves.items()):
            for name in [name for name, kept in shelf.entries.items() if kept.expires < now]:
                self._drop(shelf, name)
            if not shelf.entries and shelf is not current:
                del self._shelves[scope]
        while self.size > limit and len(self._shelves) > 1:
            _, oldest = self._shelves.popitem(last=False)
            self.size -= sum(kept.weight for kept in oldest.entries.values())
        while self.size > limit and len(current.entries) > 1:
            self._drop(current, next(iter(current.entries)))
            current.complete = False

    def _drop(self, shelf: _Shelf, name: str) -> None:
        kept = shelf.entries.pop(name, None)
        if kept is not None:
            self.size -= kept.weight
