"""The data folder of an embedded server: whose it is, what is left over in it, its passwords and its log.

`pg/` is the cluster; `postgres.secret` (0600) its passwords; `postgres.log`; `platform.lock` is held by the living
owner; `server.lock` is inherited by every process of the server, so it tells whether one is left. Above: embedded.
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ai_platform.domain.errors import ConfigError

LOG_LIMIT = 8 * 1024 * 1024


class Passwords(msgspec.Struct):
    owner: str
    gateway: str

    def __repr__(self) -> str:
        return "Passwords(***)"


class DataFolder:
    """Paths are absolute. Nothing here talks to PostgreSQL."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.cluster = self.path / "pg"
        self.log = self.path / "postgres.log"

    @contextmanager
    def claimed(self) -> Generator[None]:
        """Make the folder and hold it for this process; the lock falls with the process, however it ends.

        Raises:
            ConfigError: another living platform holds it, or it cannot be written.

        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.path / "platform.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"The data folder {self.path} cannot be used ({error.strerror})."
                " Make it writable for this user, or choose another with --data."
            ) from error
        try:
            self._lock(handle)
            yield
        finally:
            os.close(handle)

    def _lock(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 20, 0).decode(errors="replace").strip() or "unknown"
            raise ConfigError(
                f"The data folder {self.path} is in use by another running platform (process {holder})."
                " Stop that one, or give this one its own folder with --data."
            ) from error
        os.truncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)

    async def without_leftovers(self, patience: float) -> int:
        """Wait until no process of an earlier server is alive; returns the lock to hand to the next one.

        Once the lock is ours whatever postmaster.pid says is stale, even when its pid is in use again. A server that
        is still stopping gets `patience` seconds, then the immediate shutdown, then as long again.
        """
        handle = os.open(self.path / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        pid_file = self.cluster / "postmaster.pid"
        try:
            if not await _acquired(handle, patience):
                # Held, so the pid is a living server's. It recovers from its log at the next start.
                with contextlib.suppress(OSError, ValueError, IndexError):
                    os.kill(int(pid_file.read_text(encoding="utf-8").splitlines()[0]), signal.SIGQUIT)
                if not await _acquired(handle, patience):
                    raise ConfigError(
                        f"A PostgreSQL of an earlier run still works in {self.cluster} and does not stop."
                        f" End the process named in the first line of {pid_file}, then start again."
                    )
            pid_file.unlink(missing_ok=True)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def passwords(self) -> Passwords:
        """Read them, or make them for a cluster that does not exist yet.

        Raises:
            ConfigError: the file is missing or damaged although there is data.

        """
        path = self.path / "postgres.secret"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Passwords)
        except FileNotFoundError as error:
            if self.cluster.exists():
                raise ConfigError(
                    f"{path} is missing although {self.cluster} has data. Restore it from a backup."
                ) from error
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"{path} cannot be read ({error}). Restore it from a backup.") from error
        made = Passwords(secrets.token_urlsafe(24), secrets.token_urlsafe(24))
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.encode(made))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        return made

    def major(self) -> int | None:
        """The PostgreSQL release the cluster was made by, None without a cluster."""
        version = self.cluster / "PG_VERSION"
        return int(version.read_text(encoding="ascii")) if version.exists() else None

    def place_for_a_new_cluster(self) -> Path:
        """An empty folder beside the final place: renamed when initdb has ended, so no half-made cluster is started."""
        unfinished = self.path / "pg.new"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(mode=0o700)
        return unfinished

    def open_log(self) -> int:
        """For appending; it holds no values, only the life of the server."""
        return os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def bound_log(self) -> None:
        """The server appends, so emptying the file under it is safe."""
        with contextlib.suppress(FileNotFoundError):
            if self.log.stat().st_size > LOG_LIMIT:
                os.truncate(self.log, 0)

    def last_words(self) -> str:
        """The end of the log, as one line for an error message."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            return f"its log {self.log} cannot be read ({error.strerror})"
        return " | ".join(line.strip() for line in lines[-4:]) or f"it left nothing in {self.log}"


async def _acquired(handle: int, patience: float) -> bool:
    for _ in range(max(1, int(patience / 0.05))):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(0.05)
        else:
            return True
    return False
