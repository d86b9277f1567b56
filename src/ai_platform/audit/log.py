"""One log in PostgreSQL, owned by one connection: claimed by an advisory lock, checked, then appended to.

The lock belongs to the session that writes, so a writer that lost its lock has lost its connection too: two writers
never fork a log, and the primary key (log, index) would refuse it if they tried. Above: trail. Below: walk, statement.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec

from ai_platform.audit.errors import TamperedLog
from ai_platform.audit.files import CheckpointFiles
from ai_platform.audit.keys import Keys
from ai_platform.audit.leaf import Draft
from ai_platform.audit.merkle import BLOCK, Frontier, leaf_hash
from ai_platform.audit.note import Checkpoint, NoteError, open_checkpoint
from ai_platform.audit.settings import AuditSettings
from ai_platform.audit.statement import Statements
from ai_platform.audit.walk import Expected, Walk
from ai_platform.domain.errors import AuditUnavailable, ConfigError
from ai_platform.stores.postgres import SystemDatabase
from ai_platform.stores.rows import Insert

LOCK_CLASS = 0x41554454  # "AUDT": the first half of the advisory lock's number, the slot is the second
CHUNK = 2000
MOST_CHECKPOINTS = 1000
"""Signatures that a start verifies at most (a tenth of a second)."""

LEAVES_FROM = """
SELECT index, leaf, leaf_hash FROM audit_leaf WHERE log = $1 AND index >= $2 ORDER BY index LIMIT $3
"""
_BLOCK_COLUMNS = ("log", "block", "hash")
_CHECKPOINT_COLUMNS = ("log", "size", "note", "frontier")


class Pending(msgspec.Struct, frozen=True):
    """A batch with its places in the log, before its commit."""

    base: int
    leaves: list[bytes]
    frontier: Frontier
    inserts: list[Insert]
    note: str | None


class OpenLog:
    """frontier: the tree of what is committed. covered: leaves under the newest signed checkpoint."""

    def __init__(self, connection: Any, slot: int, origin: str, settings: AuditSettings, keys: Keys) -> None:
        self.connection = connection
        self.slot = slot
        self.origin = origin
        self.frontier = Frontier()
        self.covered = 0
        self._origin = origin.encode()
        self._settings = settings
        self._keys = keys
        self._statements = Statements(connection)

    def plan(self, drafts: Sequence[Draft], inserts: Sequence[Insert], *, sign: bool = False) -> Pending:
        """Give each draft its place. sign: with a checkpoint even if none is due."""
        frontier = self.frontier.copy()
        base = frontier.size
        rows = list(inserts)
        leaves: list[bytes] = []
        for draft in drafts:
            leaf = draft.at_place(frontier.size, self._origin)
            leaves.append(leaf)
            if block := frontier.append(leaf_hash(leaf)):
                rows.append(Insert("audit_block", _BLOCK_COLUMNS, (self.slot, frontier.size // BLOCK - 1, block)))
        note = None
        if sign or frontier.size - self.covered >= self._settings.checkpoint_events:
            note = self._keys.signer.sign(Checkpoint(self.origin, frontier.size, frontier.root()).text())
            values = (self.slot, frontier.size, note, frontier.to_bytes())
            rows.append(Insert("audit_checkpoint", _CHECKPOINT_COLUMNS, values))
        return Pending(base, leaves, frontier, rows, note)

    async def write(self, pending: Pending) -> None:
        """Durable on return; any error leaves `frontier` as it was."""
        await self._statements.write(self.slot, pending.leaves, pending.inserts, self._settings.commit_timeout)
        self.frontier = pending.frontier
        if pending.note:
            self.covered = pending.frontier.size

    async def holds(self, pending: Pending) -> bool:
        """Whether a batch whose commit was not answered is in the table. It is there whole or not at all."""
        stored = await self.connection.fetchval(
            "SELECT leaf FROM audit_leaf WHERE log = $1 AND index = $2", self.slot, pending.base
        )
        return stored == pending.leaves[0]

    async def load(self, files: CheckpointFiles, known: Frontier | None) -> None:
        """Rebuild the frontier from the newest part of the table and hold it against every checkpoint of that part.

        known: what this process committed before its connection broke.

        Raises:
            TamperedLog: the table is not what was signed.

        """
        total = await self.connection.fetchval(
            "SELECT coalesce(max(index) + 1, 0) FROM audit_leaf WHERE log = $1", self.slot
        )
        start, expected = await self._checkpoints()
        with _tampered(self.slot, f"the checkpoint file {files.path(self.slot)}"):
            if (filed := files.newest(self.slot)) and filed.origin == self.origin and filed.size >= start.size:
                expected.append(Expected(filed.size, filed.root, f"the checkpoint file {files.path(self.slot)}"))
        if known is not None:
            expected.append(Expected(known.size, known.root(), "what this process wrote"))
        walk = Walk(self.origin, expected, frontier=start)
        while walk.frontier.size < total and not walk.is_lost:
            walk.feed(await self.connection.fetch(LEAVES_FROM, self.slot, walk.frontier.size, CHUNK))
        walk.finish()
        if walk.problems:
            raise TamperedLog(self.slot, walk.problems[0])
        self.frontier = walk.frontier

    async def _checkpoints(self) -> tuple[Frontier, list[Expected]]:
        """The tree at the last checkpoint before the part to check, and the roots to find in that part."""
        rows = await self.connection.fetch(
            """
            SELECT size, note, frontier FROM audit_checkpoint
            WHERE log = $1 AND size >= (
                SELECT coalesce(max(c.size), 0) FROM audit_checkpoint c WHERE c.log = $1 AND c.size <=
                    (SELECT max(n.size) FROM audit_checkpoint n WHERE n.log = $1) - $2)
            ORDER BY size DESC LIMIT $3
            """,
            self.slot,
            self._settings.recent_check,
            MOST_CHECKPOINTS,
        )
        expected: list[Expected] = []
        start = Frontier()
        for row in reversed(rows):
            with _tampered(self.slot, f"the stored checkpoint at {row['size']}"):
                checkpoint = open_checkpoint(row["note"], self._keys.trusted)
                if checkpoint.origin != self.origin or checkpoint.size != row["size"]:
                    raise NoteError("it belongs to another place")
                if not expected and (self._settings.recent_check < rows[0]["size"] or len(rows) == MOST_CHECKPOINTS):
                    start = Frontier.from_bytes(checkpoint.size, row["frontier"])
            expected.append(Expected(checkpoint.size, checkpoint.root, f"the checkpoint at {checkpoint.size}"))
            self.covered = checkpoint.size
        return start, expected

    async def others(self) -> list[dict[str, Any]]:
        """The newest checkpoint of every other log, to be witnessed in this one."""
        rows = await self.connection.fetch(
            "SELECT DISTINCT ON (log) note FROM audit_checkpoint WHERE log <> $1 ORDER BY log, size DESC", self.slot
        )
        seen: list[dict[str, Any]] = []
        for row in rows:
            with contextlib.suppress(NoteError):  # a forged one is verification's business, and is not vouched for
                checkpoint = open_checkpoint(row["note"], self._keys.trusted)
                seen.append({"log": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()})
        return seen

    @property
    def is_cut(self) -> bool:
        try:
            return self.connection.is_closed()
        except asyncpg.InterfaceError:  # the pool took the dead connection back
            return True

    def abandon(self) -> None:
        """End the session without waiting; the server frees the slot when it notices."""
        cut(self.connection)

    async def close(self) -> None:
        """End the session, which frees the slot."""
        try:
            await self.connection.close(timeout=1)
        except (OSError, TimeoutError, asyncpg.InterfaceError):
            cut(self.connection)


def cut(connection: Any) -> None:
    with contextlib.suppress(asyncpg.InterfaceError):  # it was gone already
        connection.terminate()


async def open_log(
    database: SystemDatabase, settings: AuditSettings, keys: Keys, files: CheckpointFiles, last: OpenLog | None = None
) -> OpenLog:
    """Claim a log on a new session, check it, and be ready to append. last: what this process wrote to before.

    Raises:
        TamperedLog: what is stored is not what was signed; the log is left alone.
        ConfigError: this data folder has other keys than the database was written with.
        AuditUnavailable, StoreUnavailable: PostgreSQL does not answer, or not as it should.

    """
    connection = await database.session()
    try:
        # Whatever the server's default is: an acknowledged event survives a crash of the server.
        await connection.execute("SET synchronous_commit = on")
        if last is None:
            await _check_keys(connection, keys)
        slot, origin = await _claim(connection, settings, prefer=last.slot if last else None)
        log = OpenLog(connection, slot, origin, settings, keys)
        await log.load(files, last.frontier if last and last.slot == slot else None)
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresError) as error:
        cut(connection)
        raise AuditUnavailable(f"PostgreSQL does not open the audit log ({type(error).__name__}).") from error
    except BaseException:
        cut(connection)
        raise
    return log


async def seal_log(database: SystemDatabase, slot: int, reason: str) -> None:
    """Leave a damaged log as it is: no writer claims it any more."""
    await database.execute(
        "INSERT INTO audit_log_sealed (slot, reason) VALUES ($1, $2) ON CONFLICT DO NOTHING", slot, reason
    )


async def _check_keys(connection: Any, keys: Keys) -> None:
    """Refuse to write with other keys than the database was written with: half of the events would be unreadable.

    Raises:
        ConfigError: this data folder has other keys.

    """
    for purpose, value in keys.fingerprints().items():
        await connection.execute("INSERT INTO audit_key VALUES ($1, $2) ON CONFLICT DO NOTHING", purpose, value)
        if value != await connection.fetchval("SELECT check_value FROM audit_key WHERE purpose = $1", purpose):
            raise ConfigError(
                f"This database's audit trail was written with another {purpose}.key. Copy the key files of the replica"
                " that wrote it (DATA/audit/keys, or audit.keys) and audit.pub to this data folder, or restore them."
            )


async def _claim(connection: Any, settings: AuditSettings, *, prefer: int | None = None) -> tuple[int, str]:
    """Lock a free log, or open a new one. Returns slot and origin.

    A log that is still held may belong to a session that is just ending: that is waited for, for `slot_wait` seconds.
    """
    deadline = asyncio.get_running_loop().time() + settings.slot_wait
    while True:
        logs = await connection.fetch(
            "SELECT slot, origin FROM audit_log WHERE slot NOT IN (SELECT slot FROM audit_log_sealed)"
            " ORDER BY slot <> $1, slot",
            -1 if prefer is None else prefer,
        )
        for row in logs:
            if await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", LOCK_CLASS, row["slot"]):
                return row["slot"], row["origin"]
        if not logs or asyncio.get_running_loop().time() >= deadline:
            await connection.execute(
                "INSERT INTO audit_log (slot, origin) SELECT n, $1 || n"
                " FROM (SELECT coalesce(max(slot) + 1, 0) AS n FROM audit_log) AS next ON CONFLICT DO NOTHING",
                f"{settings.name}/audit/",
            )
        else:
            await asyncio.sleep(0.05)


@contextlib.contextmanager
def _tampered(slot: int, what: str) -> Any:
    try:
        yield
    except ValueError as error:  # NoteError, or a frontier of the wrong length
        raise TamperedLog(slot, f"{what} is not genuine ({error})") from error
