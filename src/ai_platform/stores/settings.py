"""Settings of the stores: where PostgreSQL is, and how long anything may wait for it."""

from urllib.parse import urlsplit, urlunsplit

import msgspec

SYSTEM = "aip_system"


class StoresSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All times are seconds.

    owner_dsn: URL of a PostgreSQL that is run elsewhere, as the role that applies migrations; empty (both) = the
    embedded server in the data folder. gateway_dsn: the same database as the role for everything else, which must be
    neither owner nor superuser.
    system_dsn: the same database as the role for background work over all tenants, which is not handed to what answers
    requests; empty = gateway_dsn's URL with the user aip_system.
    pool_max: connections at most; they are opened when needed and kept.
    connect_timeout: to open one connection. acquire_timeout: to wait for a free one.
    command_timeout: for one statement, and for one batch of writes.
    probe_interval: how often an idle or failed store is asked whether it answers.
    migration_wait: for another replica that is migrating.
    migration_lock_timeout: for a table that a migration changes and a transaction uses.
    start_timeout: for the embedded server to be ready, recovery after a crash included.
    stop_timeout: for it to stop, before it is stopped the hard way.
    """

    owner_dsn: str = ""
    gateway_dsn: str = ""
    system_dsn: str = ""
    pool_max: int = 10
    connect_timeout: float = 3.0
    acquire_timeout: float = 3.0
    command_timeout: float = 5.0
    probe_interval: float = 1.0
    migration_wait: float = 60.0
    migration_lock_timeout: float = 3.0
    start_timeout: float = 60.0
    stop_timeout: float = 10.0

    def system_of(self, gateway_dsn: str) -> str:
        """The URL of the system's role, beside this one of the gateway's."""
        parts = urlsplit(gateway_dsn)
        _, found, place = parts.netloc.rpartition("@")
        _, has_password, password = parts.netloc.removesuffix(f"{found}{place}").partition(":")
        return self.system_dsn or urlunsplit(parts._replace(netloc=f"{SYSTEM}{has_password}{password}@{place}"))

    def __repr__(self) -> str:
        """Without the URLs: they carry passwords."""
        return f"StoresSettings(external={bool(self.owner_dsn)}, pool_max={self.pool_max})"
