"""The one table of what PostgreSQL and its driver raise when the store, and not the statement, is at fault.

Above: postgres, migrate. Below: domain.
"""

from urllib.parse import urlsplit

import asyncpg

UNREACHABLE: tuple[type[Exception], ...] = (
    OSError,  # refused, reset, no route, no such host
    TimeoutError,  # connecting, waiting for a free connection, or the statement
    asyncpg.PostgresConnectionError,  # class 08: the connection broke
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.OperatorInterventionError,  # class 57: shutting down, starting up, cancelled by statement_timeout
    asyncpg.InsufficientResourcesError,  # class 53: disk full, out of memory, too many connections
    asyncpg.PostgresSystemError,  # class 58: input/output error
    asyncpg.ReadOnlySQLTransactionError,  # the primary became a replica
    asyncpg.InternalServerError,  # XX000 and below: a page or an index is damaged
)
"""The call may be tried again later; nothing is wrong with what was asked."""

REFUSED: tuple[type[Exception], ...] = (
    asyncpg.InvalidAuthorizationSpecificationError,  # class 28: wrong role or password
    asyncpg.InvalidCatalogNameError,  # no such database
    asyncpg.ClientConfigurationError,
    ValueError,
)
"""A URL that cannot work until a person changes it."""


def place(dsn: str) -> str:
    """Host, port and database of a URL, without the password."""
    parts = urlsplit(dsn)
    return f"{parts.hostname or 'the default host'}:{parts.port or 5432}{parts.path}"
