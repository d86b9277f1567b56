"""Moments as PostgreSQL takes them."""

import datetime as dt


def moment(seconds: float) -> dt.datetime:
    """Seconds since the epoch as a UTC datetime."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
