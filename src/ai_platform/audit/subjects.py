"""Personal fields at rest: AES-256-GCM under one data key a subject, each key wrapped by the KEK.

Who destroys a subject's wrapped key makes all that was ever written of the person unreadable, in every copy, while
the log and its proofs stay as they are. Above: trail, reader. Below: stores, cryptography.
"""

import asyncio
import base64
import binascii
import hmac
import os
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ai_platform.domain.clock import Clock
from ai_platform.stores.postgres import SystemDatabase

_NONCE = 12
_CACHED = 4096
_CACHE_SECONDS = 300.0

_FIND_OR_MAKE = """
WITH made AS (
    INSERT INTO audit_subject (subject_ref, wrapped_key) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING wrapped_key
), named AS (
    INSERT INTO audit_alias (alias, subject_ref) SELECT $3, $1 WHERE $3 <> '' ON CONFLICT DO NOTHING
)
SELECT wrapped_key FROM made UNION ALL SELECT wrapped_key FROM audit_subject WHERE subject_ref = $1
"""


class SubjectKey:
    """Seals and opens the personal fields of one subject. ref: the pseudonym that stands in the log."""

    __slots__ = ("_cipher", "ref")

    def __init__(self, ref: str, data_key: bytes) -> None:
        self.ref = ref
        self._cipher = AESGCM(data_key)

    def seal(self, event_id: str, personal: dict[str, Any]) -> bytes:
        """base64(nonce || ciphertext || tag); bound to the event, so that it cannot be moved to another one.

        The random nonce also keeps guesses at short values from being checked.
        """
        nonce = os.urandom(_NONCE)
        text = msgspec.json.encode(personal)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, text, event_id.encode()))

    def open(self, event_id: str, sealed: str) -> dict[str, Any] | None:
        """None when it does not open: damaged, or sealed for another event."""
        try:
            data = base64.b64decode(sealed, validate=True)
            return msgspec.json.decode(self._cipher.decrypt(data[:_NONCE], data[_NONCE:], event_id.encode()))
        except (InvalidTag, binascii.Error, ValueError):
            return None


class SubjectKeys:
    """Finds, makes and caches data keys. lookups: how often the database was asked.

    A key stays cached for at most 300 s, which bounds how long a destroyed key may still be used.
    """

    def __init__(self, database: SystemDatabase, kek: bytes, pepper: bytes, clock: Clock) -> None:
        self.lookups = 0
        self._database = database
        self._kek = AESGCM(kek)
        self._pepper = pepper
        self._clock = clock
        self._by_subject: dict[str, SubjectKey] = {}
        self._by_ref: dict[str, SubjectKey | None] = {}
        self._loading: dict[str, asyncio.Task[SubjectKey]] = {}
        self._fresh_until = 0.0

    def ref(self, subject: str) -> str:
        """32 hex digits: HMAC-SHA256(pepper, subject) cut to 128 bits."""
        return hmac.digest(self._pepper, b"subject\0" + subject.encode("utf-8", "replace"), "sha256")[:16].hex()

    def alias(self, email: str) -> str:
        """The same for an e-mail address, under which a search finds the subject."""
        return hmac.digest(self._pepper, b"alias\0" + email.lower().encode("utf-8", "replace"), "sha256")[:16].hex()

    def cached(self, subject: str) -> SubjectKey | None:
        self._expire()
        return self._by_subject.get(subject)

    async def load(self, subject: str, email: str = "") -> SubjectKey:
        """The subject's key, made when it has none.

        Raises:
            StoreUnavailable: PostgreSQL does not answer.

        """
        task = self._loading.get(subject)
        if task is None:  # a burst of a person's first calls asks once
            task = self._loading[subject] = asyncio.create_task(self._find_or_make(subject, email))
            task.add_done_callback(lambda _: self._loading.pop(subject))
        return await asyncio.shield(task)

    async def _find_or_make(self, subject: str, email: str) -> SubjectKey:
        ref = self.ref(subject)
        nonce = os.urandom(_NONCE)
        fresh = nonce + self._kek.encrypt(nonce, os.urandom(32), ref.encode())
        wrapped = None
        while wrapped is None:  # a key that another replica makes at this moment is seen by the next look
            self.lookups += 1
            wrapped = await self._database.fetchval(_FIND_OR_MAKE, ref, fresh, self.alias(email) if email else "")
        key = self._unwrap(ref, wrapped)
        _put(self._by_subject, subject, key)
        return key

    async def existing(self, refs: set[str]) -> dict[str, SubjectKey | None]:
        """Keys by ref for reading; None where the key was destroyed."""
        self._expire()
        if missing := [ref for ref in refs if ref not in self._by_ref]:
            self.lookups += 1
            rows = await self._database.fetch(
                "SELECT subject_ref, wrapped_key FROM audit_subject WHERE subject_ref = ANY($1)", missing
            )
            found = {row["subject_ref"]: self._unwrap(row["subject_ref"], row["wrapped_key"]) for row in rows}
            for ref in missing:
                _put(self._by_ref, ref, found.get(ref))
            return {ref: found[ref] if ref in found else self._by_ref.get(ref) for ref in refs}
        return {ref: self._by_ref[ref] for ref in refs}

    def _unwrap(self, ref: str, wrapped: bytes) -> SubjectKey:
        return SubjectKey(ref, self._kek.decrypt(wrapped[:_NONCE], wrapped[_NONCE:], ref.encode()))

    def _expire(self) -> None:
        now = self._clock.monotonic()
        if now >= self._fresh_until:
            self._fresh_until = now + _CACHE_SECONDS
            self._by_subject.clear()
            self._by_ref.clear()


def _put(cache: dict[str, Any], key: str, value: Any) -> None:
    if len(cache) >= _CACHED:
        cache.pop(next(iter(cache)))
    cache[key] = value
