"""Uncompresses an answer that was compressed although `identity` was asked for; gzip and deflate only.

Bounded: a piece never exceeds PIECE bytes and the whole never exceeds the upstream's max_response_bytes,
however well it was compressed. Sources: RFC 9110 8.4.1, RFC 1950-1952.
"""

import zlib
from collections.abc import AsyncIterator

from ai_platform.upstream.errors import AnswerTooLarge, NotUnderstood

PIECE = 256 * 1024

MAX_MEMBERS = 100
"""Each member costs a copy of what follows it: a flood of empty ones would be work out of proportion."""

DECODABLE = frozenset({b"gzip", b"x-gzip", b"deflate"})
UNCODED = frozenset({b"", b"identity"})

_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class Decoded:
    """An async iterator over the plain content of `source`."""

    __slots__ = ("_encoding", "_limit", "_members", "_name", "_pending", "_produced", "_source", "_unzip")

    def __init__(self, source: AsyncIterator[bytes], encoding: bytes, *, limit: int, name: str) -> None:
        self._source = source
        self._encoding = encoding
        self._limit = limit
        self._name = name
        self._pending = b""
        self._members = 1
        self._produced = 0
        self._unzip = None if encoding == b"deflate" else zlib.decompressobj(_GZIP)

    def __aiter__(self) -> "Decoded":
        return self

    async def __anext__(self) -> bytes:
        """A piece of plain content, as soon as the compressed bytes for it are there.

        Raises:
            NotUnderstood: the compressed data is damaged or ends early.
            AnswerTooLarge: the plain content exceeds the limit.

        """
        while True:
            while self._pending:
                plain = self._inflate()
                if plain:
                    return self._counted(plain)
            try:
                self._pending = await anext(self._source)
            except StopAsyncIteration:
                if self._unzip is not None and not self._unzip.eof:
                    raise self._damaged("it ends early") from None
                raise

    def _counted(self, plain: bytes) -> bytes:
        self._produced += len(plain)
        if self._produced > self._limit:
            raise AnswerTooLarge(
                f"the uncompressed answer of upstream {self._name!r} exceeds {self._limit} bytes (max_response_bytes)",
                target=self._name,
                sent=True,
            )
        return plain

    def _inflate(self) -> bytes:
        """The next piece, possibly empty; uses up some of `_pending`."""
        if self._unzip is None:
            # "deflate" means zlib's wrapping, but some servers send the bare data: the first byte tells (RFC 1950 2.2).
            self._unzip = zlib.decompressobj(_ZLIB if self._pending[0] & 0x0F == 8 else _RAW)
        if self._unzip.eof:
            if self._encoding == b"deflate":
                raise self._damaged("there is more data after its end")
            self._members += 1
            if self._members > MAX_MEMBERS:
                raise self._damaged(f"more than {MAX_MEMBERS} members")
            self._unzip = zlib.decompressobj(_GZIP)  # RFC 1952 2.2: members may follow each other
        try:
            plain = self._unzip.decompress(self._pending, PIECE)
        except zlib.error as error:
            raise self._damaged(str(error)) from None
        self._pending = self._unzip.unused_data or self._unzip.unconsumed_tail
        return plain

    def _damaged(self, why: str) -> NotUnderstood:
        return NotUnderstood(
            f"upstream {self._name!r} sent a damaged {self._encoding.decode()} answer: {why}",
            target=self._name,
            sent=True,
        )
