"""The nouns of the knowledge base, and what an index must be able to do."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec


class Stamp(msgspec.Struct, frozen=True):
    """How a file looked when it was indexed. modified, changed, seen: nanoseconds since the epoch. digest: SHA-256.

    changed is the inode's change time, which copying a file's date does not forge. seen: when it was read.
    """

    size: int
    modified: int
    changed: int
    seen: int
    digest: bytes

    def same_as(self, other: "Stamp", racy: int) -> bool:
        """The file cannot have changed since: equal, and not written within `racy` nanoseconds of being read."""
        unchanged = (self.size, self.modified, self.changed) == (other.size, other.modified, other.changed)
        return unchanged and max(self.modified, self.changed) + racy < self.seen


class Document(msgspec.Struct, frozen=True):
    """A document as it is indexed and read. id: `folder/path/below.md`. kind: its media type."""

    id: str
    title: str
    kind: str
    body: str
    stamp: Stamp


class Listed(msgspec.Struct, frozen=True):
    """A document in a list. size: bytes of the file."""

    id: str
    title: str
    kind: str
    size: int


class Hit(msgspec.Struct, frozen=True):
    """A document that was found. score: higher is better, comparable within one answer only."""

    id: str
    title: str
    snippet: str
    score: float


class Changes(msgspec.Struct, frozen=True):
    """One transaction's worth of differences. touched: unchanged text, new stamp."""

    written: Sequence[Document] = ()
    touched: Mapping[str, Stamp] = {}
    gone: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.written or self.touched or self.gone)


class Index(Protocol):
    """Full-text search over documents. Every method may raise StoreUnavailable."""

    async def stamps(self) -> dict[str, Stamp]:
        """Every indexed document's stamp, by identifier."""
        ...

    async def apply(self, changes: Changes) -> None:
        """All of it or nothing."""
        ...

    async def settle(self) -> None:
        """A pass is over that changed something: make searches quick."""
        ...

    async def search(self, words: Sequence[Sequence[str]], limit: int) -> list[Hit]:
        """The best documents that contain every phrase; when none does, the best that contain any of them."""
        ...

    async def page(self, after: str, size: int) -> list[Listed]:
        """Documents in the order of their identifiers, from the one behind `after`."""
        ...

    async def get(self, identifier: str) -> Document | None: ...

    async def count(self) -> int: ...

    async def claim(self) -> bool:
        """Become the one who keeps this index current; false while another process does."""
        ...

    async def close(self) -> None: ...
