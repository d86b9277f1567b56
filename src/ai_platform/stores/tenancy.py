"""Statements within one tenant: the transaction carries its name, and row-level security shows and takes nothing else.

The name is a parameter of the transaction (`set_config(..., true)`), gone with it, so a connection that goes back to
the pool belongs to nobody. It costs three more round trips than a bare statement; the path of a call has none of these.
Above: postgres. Below: nothing.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

TENANT = "ai_platform.tenant"
PRESENTED = "ai_platform.presented"


class Scoped:
    """`Database.within` and `Database.presenting` make these; they cost nothing and may be made for one statement.

    The same methods as a database's, with the same errors.
    """

    def __init__(self, transaction: Callable[[], AbstractAsyncContextManager[Any]], parameter: str, value: str) -> None:
        if not value:
            raise ValueError(f"{parameter} must not be empty")
        self._transaction = transaction
        self._parameter = parameter
        self._value = value

    async def fetch(self, sql: str, *args: Any) -> list[Any]:
        async with self.transaction() as connection:
            return await connection.fetch(sql, *args)

    async def fetchrow(self, sql: str, *args: Any) -> Any | None:
        async with self.transaction() as connection:
            return await connection.fetchrow(sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        async with self.transaction() as connection:
            return await connection.fetchval(sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        async with self.transaction() as connection:
            return await connection.execute(sql, *args)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[Any]:
        """Several statements, all or none."""
        async with self._transaction() as connection:
            await connection.execute("SELECT set_config($1, $2, true)", self._parameter, self._value)
            yield connection


async def enter(connection: Any, tenant: str) -> None:
    """What follows in this transaction, which found its row by a secret, is within the tenant of the row too."""
    await connection.execute("SELECT set_config($1, $2, true)", TENANT, tenant)
