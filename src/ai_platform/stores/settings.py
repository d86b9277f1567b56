"""Settings of the stores: where PostgreSQL is, and how long anything may wait for it."""

import msgspec


class StoresSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All times are seconds.

    owner_dsn, gateway_dsn: URLs of a PostgreSQL that is run elsewhere; both empty = the embedded server in the
    data folder. The owner applies migrations; the gateway's role must be neither owner nor superuser.
    pool_min, pool_max: connections kept, connections at most.
    connect_timeout: to open one connection. acquire_timeout: to wait for a free one.
    command_timeout: for one statement, and for one batch of writes.
    probe_interval: how often an idle or failed store is asked whether it answers.
    migration_wait: for another replica that is migrating. migration_lock_timeout: for a table a migration changes.
    start_timeout, stop_timeout: of the embedded server.
    """

    owner_dsn: str = ""
    gateway_dsn: str = ""
    pool_min: int = 2
    pool_max: int = 10
    connect_timeout: float = 3.0
    acquire_timeout: float = 3.0
    command_timeout: float = 5.0
    probe_interval: float = 1.0
    migration_wait: float = 60.0
    migration_lock_timeout: float = 3.0
    start_timeout: float = 60.0
    stop_timeout: float = 10.0

    def __repr__(self) -> str:
        """Without the URLs: they carry passwords."""
        return f"StoresSettings(external={bool(self.owner_dsn)}, pool_max={self.pool_max})"
