"""The index in one SQLite file: FTS5 with bm25, title and name weigh more than the text.

One writer, a few readers (WAL); SQLite works in threads and releases the interpreter meanwhile. Below: sqlite3.
"""

import asyncio
import fcntl
import os
import queue
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ai_platform.domain.errors import ConfigError, StoreUnavailable
from ai_platform.mcp_servers.knowledge_base.entry import Changes, Document, Hit, Listed, Stamp
from ai_platform.mcp_servers.knowledge_base.query import quoted

T = TypeVar("T")
LAYOUT = 1
READERS = 4
_TABLES = """
CREATE TABLE documents (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
    size INTEGER NOT NULL, modified INTEGER NOT NULL, changed INTEGER NOT NULL, seen INTEGER NOT NULL,
    digest BLOB NOT NULL);
CREATE VIRTUAL TABLE words USING fts5(
    title, id, body, content='documents', content_rowid='number', tokenize="porter unicode61 remove_diacritics 2");
"""
_WEIGHTS = "8.0, 4.0, 1.0"  # title, id, body
_FIND = f"""
SELECT id, title, snippet(words, 2, '**', '**', ' … ', 40), -bm25(words, {_WEIGHTS})
FROM words WHERE words MATCH ? AND rank MATCH 'bm25({_WEIGHTS})' ORDER BY rank LIMIT ?
"""  # noqa: S608 - the weights are constants


class SqliteIndex:
    """See entry.Index. path: the file, created when missing; its folder must be writable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        opened: list[sqlite3.Connection] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            for _ in range(1 + READERS):
                opened.append(sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False))
                _set_up(opened[-1])
            _prepare(opened[0])
            path.chmod(0o600)
            for reader in opened[1:]:
                reader.execute("PRAGMA query_only = ON")
        except (OSError, sqlite3.Error) as error:
            for connection in opened:
                connection.close()
            raise ConfigError(
                f"The index cannot be opened: {error}. Choose another --index.", where=str(path)
            ) from error
        self._writer, *readers = opened
        self._readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for reader in readers:
            self._readers.put(reader)
        self._writing = asyncio.Lock()
        self._claim: int | None = None
        self._under_way: set[asyncio.Future[Any]] = set()

    async def stamps(self) -> dict[str, Stamp]:
        statement = "SELECT id, size, modified, changed, seen, digest FROM documents"
        return await self._read(lambda db: {row[0]: Stamp(*row[1:]) for row in db.execute(statement)})

    async def apply(self, changes: Changes) -> None:
        async with self._writing:
            await self._in_thread(_apply, self._writer, changes)

    async def settle(self) -> None:
        """FTS5 keeps itself in order."""

    async def search(self, words: Sequence[Sequence[str]], limit: int) -> list[Hit]:
        terms = [quoted(list(phrase)) for phrase in words]
        if not terms:
            return []
        hits = await self._find(" AND ".join(terms), limit)
        return hits or (await self._find(" OR ".join(terms), limit) if len(terms) > 1 else [])

    async def page(self, after: str, size: int) -> list[Listed]:
        statement = "SELECT id, title, kind, size FROM documents WHERE id > ? ORDER BY id LIMIT ?"
        return await self._read(lambda db: [Listed(*row) for row in db.execute(statement, (after, size))])

    async def get(self, identifier: str) -> Document | None:
        statement = "SELECT id, title, kind, body, size, modified, changed, seen, digest FROM documents WHERE id = ?"
        row = await self._read(lambda db: db.execute(statement, (identifier,)).fetchone())
        if row is None:
            return None
        identifier, title, kind, body, *stamp = row
        return Document(identifier, title, kind, body, Stamp(*stamp))

    async def count(self) -> int:
        return await self._read(lambda db: db.execute("SELECT count(*) FROM documents").fetchone()[0])

    async def claim(self) -> bool:
        if self._claim is None:
            descriptor = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                return False
            self._claim = descriptor
        return True

    async def close(self) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way)
        async with self._writing:
            self._writer.close()
            while not self._readers.empty():
                self._readers.get().close()
            if self._claim is not None:
                os.close(self._claim)
                self._claim = None

    async def _find(self, expression: str, limit: int) -> list[Hit]:
        return await self._read(lambda db: [Hit(*row) for row in db.execute(_FIND, (expression, limit))])

    async def _read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        def ask() -> T:
            reader = self._readers.get()
            try:
                return question(reader)
            finally:
                self._readers.put(reader)

        return await self._in_thread(ask)

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        # A thread cannot be cancelled; close() waits for it, since a connection must not be closed while it is used.
        work = asyncio.ensure_future(asyncio.to_thread(function, *arguments))
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)
        try:
            return await asyncio.shield(work)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"The index {self._path} cannot be used: {error}.") from error


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")  # a crash may lose the last batch; the next pass finds it again
    connection.execute("PRAGMA cache_size = -32768")


def _prepare(db: sqlite3.Connection) -> None:
    """Create the tables; an index of another layout is built anew."""
    db.execute("BEGIN IMMEDIATE")
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found != LAYOUT:
        for statement in ("DROP TABLE IF EXISTS words", "DROP TABLE IF EXISTS documents", *_TABLES.split(";\n")):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {LAYOUT}")
    db.execute("COMMIT")


def _apply(db: sqlite3.Connection, changes: Changes) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        for identifier in (*changes.gone, *(document.id for document in changes.written)):
            _forget(db, identifier)
        for document in changes.written:
            _write(db, document)
        for identifier, stamp in changes.touched.items():
            db.execute(
                "UPDATE documents SET size = ?, modified = ?, changed = ?, seen = ? WHERE id = ?",
                (stamp.size, stamp.modified, stamp.changed, stamp.seen, identifier),
            )
        db.execute("COMMIT")
    except sqlite3.Error:
        db.execute("ROLLBACK")
        raise


def _forget(db: sqlite3.Connection, identifier: str) -> None:
    row = db.execute("SELECT number, title, id, body FROM documents WHERE id = ?", (identifier,)).fetchone()
    if row:
        # An external-content index must be told the old text (sqlite.org/fts5.html, 4.4.3).
        db.execute("INSERT INTO words(words, rowid, title, id, body) VALUES ('delete', ?, ?, ?, ?)", row)
        db.execute("DELETE FROM documents WHERE number = ?", row[:1])


def _write(db: sqlite3.Connection, document: Document) -> None:
    stamp = document.stamp
    cursor = db.execute(
        "INSERT INTO documents(id, title, kind, body, size, modified, changed, seen, digest)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(document.id, document.title, document.kind, document.body),
            *(stamp.size, stamp.modified, stamp.changed, stamp.seen, stamp.digest),
        ),
    )
    row = (cursor.lastrowid, document.title, document.id, document.body)
    db.execute("INSERT INTO words(rowid, title, id, body) VALUES (?, ?, ?, ?)", row)
