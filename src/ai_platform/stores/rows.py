"""Rows on their way to PostgreSQL, so that one transaction can carry the facts of several rooms."""

from typing import Any

import msgspec


class Insert(msgspec.Struct, frozen=True):
    """One row for `table`. columns and values have the same length; inserts of one batch with the same
    (table, columns) are written together. The table and column names come from code, never from a request.
    """

    table: str
    columns: tuple[str, ...]
    values: tuple[Any, ...]
