"""The index in PostgreSQL: tsvector with weights, ts_rank_cd, ts_headline. For many readers of one large collection.

Several collections share a database, each under its name. The tables are created when missing. Below: asyncpg.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg

from ai_platform.domain.errors import ConfigError, StoreUnavailable
from ai_platform.mcp_servers.knowledge_base.entry import Changes, Document, Hit, Listed, Stamp

_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
_SEARCHED_CHARACTERS = 200_000  # a tsvector holds 1 MB; what follows is kept and read, but not searched
_TABLES = """
CREATE SCHEMA IF NOT EXISTS ai_platform_kb;
CREATE TABLE IF NOT EXISTS ai_platform_kb.documents (
    collection text NOT NULL, id text COLLATE "C" NOT NULL, title text NOT NULL, kind text NOT NULL, body text NOT NULL,
    size bigint NOT NULL, modified bigint NOT NULL, changed bigint NOT NULL, seen bigint NOT NULL,
    digest bytea NOT NULL, words tsvector NOT NULL, PRIMARY KEY (collection, id));
CREATE INDEX IF NOT EXISTS documents_words ON ai_platform_kb.documents USING gin (words);
"""
_WRITE = """
INSERT INTO ai_platform_kb.documents
    (collection, id, title, kind, body, size, modified, changed, seen, digest, words)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
    setweight(to_tsvector($11::text::regconfig, $3), 'A') || setweight(to_tsvector('simple', $12), 'B')
    || setweight(to_tsvector($11::text::regconfig, left($5, $13)), 'D'))
ON CONFLICT (collection, id) DO UPDATE SET title = EXCLUDED.title, kind = EXCLUDED.kind, body = EXCLUDED.body,
    size = EXCLUDED.size, modified = EXCLUDED.modified, changed = EXCLUDED.changed, seen = EXCLUDED.seen,
    digest = EXCLUDED.digest, words = EXCLUDED.words
"""
_FIND = """
WITH wanted AS (SELECT {expression} AS query), best AS (
    SELECT id, title, body, ts_rank_cd(words, query, 1) AS score, query
    FROM ai_platform_kb.documents, wanted WHERE collection = $1 AND words @@ query
    ORDER BY score DESC, id LIMIT $2)
SELECT id, title, ts_headline($3::text::regconfig, left(body, 50000), query,
    'StartSel=**, StopSel=**, MaxFragments=2, MaxWords=30, MinWords=10, FragmentDelimiter=" … "') AS snippet, score
FROM best ORDER BY score DESC, id
"""


class PostgresIndex:
    """See entry.Index. Made by `open_postgres`."""

    def __init__(self, pool: asyncpg.Pool, collection: str, language: str) -> None:
        self._pool = pool
        self._collection = collection
        self._language = language
        self._claim: Any = None
        self._changed = 0

    async def stamps(self) -> dict[str, Stamp]:
        statement = (
            "SELECT id, size, modified, changed, seen, digest FROM ai_platform_kb.documents WHERE collection = $1"
        )
        return {row[0]: Stamp(*row[1:]) for row in await self._ask(statement)}

    async def apply(self, changes: Changes) -> None:
        rows = [self._row(document) for document in changes.written]
        touched = [
            (self._collection, identifier, stamp.size, stamp.modified, stamp.changed, stamp.seen)
            for identifier, stamp in changes.touched.items()
        ]
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(
                    "DELETE FROM ai_platform_kb.documents WHERE collection = $1 AND id = ANY($2)",
                    self._collection,
                    list(changes.gone),
                )
                await connection.executemany(_WRITE, rows)
                await connection.executemany(
                    "UPDATE ai_platform_kb.documents SET size = $3, modified = $4, changed = $5, seen = $6"
                    " WHERE collection = $1 AND id = $2",
                    touched,
                )
        except _FAILURES as error:
            raise _unavailable(error) from error
        self._changed += len(rows) + len(changes.gone)

    async def settle(self) -> None:
        """Without statistics the planner reads every document instead of the index; autovacuum comes minutes later."""
        if self._changed * 10 < await self.count():
            return
        try:
            await self._pool.execute("ANALYZE ai_platform_kb.documents")
        except _FAILURES as error:
            raise _unavailable(error) from error
        self._changed = 0

    async def search(self, words: Sequence[Sequence[str]], limit: int) -> list[Hit]:
        terms = [" ".join(phrase) for phrase in words]
        if not terms:
            return []
        hits = await self._find(terms, " && ", limit)
        return hits or (await self._find(terms, " || ", limit) if len(terms) > 1 else [])

    async def page(self, after: str, size: int) -> list[Listed]:
        statement = (
            "SELECT id, title, kind, size FROM ai_platform_kb.documents WHERE collection = $1 AND id > $2"
            " ORDER BY id LIMIT $3"
        )
        return [Listed(*row) for row in await self._ask(statement, after, size)]

    async def get(self, identifier: str) -> Document | None:
        statement = (
            "SELECT id, title, kind, body, size, modified, changed, seen, digest FROM ai_platform_kb.documents"
            " WHERE collection = $1 AND id = $2"
        )
        rows = await self._ask(statement, identifier.replace("\0", "�"))
        return _document(rows[0]) if rows else None

    async def count(self) -> int:
        return (await self._ask("SELECT count(*) FROM ai_platform_kb.documents WHERE collection = $1"))[0][0]

    async def claim(self) -> bool:
        if self._claim is not None and not self._claim.is_closed():
            return True
        try:
            connection = await self._pool.acquire()
            taken = await connection.fetchval(
                "SELECT pg_try_advisory_lock(hashtext('ai_platform_kb'), hashtext($1))", self._collection
            )
            if not taken:
                await self._pool.release(connection)
        except _FAILURES as error:
            raise _unavailable(error) from error
        self._claim = connection if taken else None
        return bool(taken)

    async def close(self) -> None:
        if self._claim is not None:
            await self._pool.release(self._claim)
            self._claim = None
        await self._pool.close()

    async def _find(self, terms: list[str], joint: str, limit: int) -> list[Hit]:
        phrases = joint.join(f"phraseto_tsquery($3::text::regconfig, ${number})" for number in range(4, 4 + len(terms)))
        rows = await self._ask(_FIND.format(expression=phrases), limit, self._language, *terms)
        return [Hit(*row) for row in rows]

    def _row(self, document: Document) -> tuple[Any, ...]:
        stamp = document.stamp
        parts = document.id.translate({ord(sign): " " for sign in "/._-"})
        return (
            *(self._collection, document.id, document.title, document.kind, document.body),
            *(stamp.size, stamp.modified, stamp.changed, stamp.seen, stamp.digest),
            *(self._language, parts, _SEARCHED_CHARACTERS),
        )

    async def _ask(self, statement: str, *arguments: Any) -> list[Any]:
        try:
            return await self._pool.fetch(statement, self._collection, *arguments)
        except _FAILURES as error:
            raise _unavailable(error) from error


def _document(row: Any) -> Document:
    identifier, title, kind, body, *stamp = row
    return Document(identifier, title, kind, body, Stamp(*stamp))


def _unavailable(error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(f"The index in PostgreSQL cannot be used: {error or type(error).__name__}.")


async def open_postgres(dsn: str, collection: str, language: str) -> PostgresIndex:
    """Connect and create the tables.

    Raises:
        ConfigError: no connection, no right to create the tables, an unknown language.

    """
    try:
        pool = await asyncpg.create_pool(dsn, min_size=1, max_size=5, timeout=10, command_timeout=60)
        async with asyncio.timeout(30), pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('ai_platform_kb'))")
            await connection.execute(_TABLES)
            await connection.fetchval("SELECT $1::text::regconfig", language)
    except (*_FAILURES, ValueError) as error:
        raise ConfigError(f"The index in PostgreSQL cannot be opened: {error or type(error).__name__}.") from error
    return PostgresIndex(pool, collection, language)
