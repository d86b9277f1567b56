"""A real PostgreSQL that lives exactly as long as its owner: made on first use, started, watched, stopped.

The data folder holds `pg/` (the cluster), `postgres.secret` (0600), `postgres.log`, `platform.lock` (held by the
living owner) and `server.lock` (inherited by every server process, so it tells whether one is left over).
Not a way to share a server between machines: give a URL for that. Above: bootstrap, testing. Below: binaries, launcher.
"""

import asyncio
import contextlib
import fcntl
import os
import re
import secrets
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg
import msgspec

from ai_platform.domain.errors import ConfigError, StoreUnavailable
from ai_platform.stores.binaries import Binaries, find_binaries
from ai_platform.stores.settings import StoresSettings

OWNER = "aip_owner"
GATEWAY = "aip_gateway"
DATABASE = "ai_platform"
LAUNCHER = Path(__file__).with_name("launcher.py")
LOG_LIMIT = 8 * 1024 * 1024

SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "wal_level": "replica",
    "max_worker_processes": "4",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "huge_pages": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # The log never holds a value: no statements, no DETAIL lines with keys.
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}

# Waits on its standard input. A line means that the server has stopped; the end of the file means that the owner died.
WATCHDOG = """
read -r line && exit 0
kill -INT "$1" 2>/dev/null
n=0
while kill -0 "$1" 2>/dev/null && [ "$n" -lt "$2" ]; do sleep 1; n=$((n + 1)); done
kill -QUIT "$1" 2>/dev/null
"""


class PostgresServer(msgspec.Struct, kw_only=True):
    """A running server. pid changes (and restarts counts) when the server died and was started again.

    owner_dsn: for migrations. gateway_dsn: for everything else, usable once migrations made the role.
    version: e.g. `18.6`.
    """

    owner_dsn: str
    gateway_dsn: str
    pid: int
    version: str
    port: int
    restarts: int = 0

    def __repr__(self) -> str:
        """Without the URLs: they carry passwords."""
        return f"PostgresServer(version={self.version!r}, port={self.port}, pid={self.pid})"


class _Secrets(msgspec.Struct):
    owner: str
    gateway: str


@asynccontextmanager
async def embedded_postgres(folder: Path, settings: StoresSettings | None = None) -> AsyncGenerator[PostgresServer]:
    """Run the server of `folder` while the block runs; the first use creates it.

    Raises:
        ConfigError: no PostgreSQL programs, the folder is in use by a living platform, or cannot be used.
        StoreUnavailable: the server did not start; the message ends with what it logged.

    """
    settings = settings or StoresSettings()
    try:
        folder = folder.absolute()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The data folder {folder} cannot be made ({error.strerror}). Choose another with --data."
        ) from error
    with _claimed(folder):
        cluster = _Cluster(folder, settings)
        try:
            server = await cluster.start()
            yield server
        finally:
            await cluster.stop()


@contextmanager
def _claimed(folder: Path) -> Generator[None]:
    """Hold the folder for this process; the lock falls with the process, however it ends."""
    path = folder / "platform.lock"
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"The data folder {folder} cannot be used ({error.strerror}). Make it writable or choose another."
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 20, 0).decode(errors="replace").strip() or "unknown"
            raise ConfigError(
                f"The data folder {folder} is in use by another running platform (process {holder})."
                " Stop that one, or give this one its own folder with --data."
            ) from error
        os.truncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


class _Cluster:
    """One data folder's server process, its watchdog and the task that starts it again when it dies."""

    def __init__(self, folder: Path, settings: StoresSettings) -> None:
        self.folder = folder
        self.data = folder / "pg"
        self.log = folder / "postgres.log"
        self.settings = settings
        self.server_lock = -1
        self.process: asyncio.subprocess.Process | None = None
        self.watchdog: _Watchdog | None = None
        self.keeper: asyncio.Task[None] | None = None

    async def start(self) -> PostgresServer:
        self.server_lock = await self._wait_for_leftovers()
        passwords = self._passwords()
        binaries = find_binaries(major=self._major())
        _rotate(self.log)
        if not self.data.exists():
            await self._initialise(binaries, passwords)
        port = await self._launch_on_free_port(binaries)
        address = f"127.0.0.1:{port}/{DATABASE}?sslmode=disable"
        server = PostgresServer(
            owner_dsn=f"postgresql://{OWNER}:{passwords.owner}@{address}",
            gateway_dsn=f"postgresql://{GATEWAY}:{passwords.gateway}@{address}",
            pid=self._running().pid,
            version=binaries.version,
            port=port,
        )
        await _create_database(server.owner_dsn, self.settings.connect_timeout)
        self.keeper = asyncio.create_task(self._keep(server, binaries))
        return server

    async def stop(self) -> None:
        """Fast shutdown, then the immediate one. The watchdog goes on with both if this task is cancelled here."""
        if self.keeper is not None:
            self.keeper.cancel()
        try:
            process = self.process
            if process is not None and process.returncode is None:
                await _end(process, signal.SIGINT, self.settings.stop_timeout)
                await _end(process, signal.SIGQUIT, self.settings.stop_timeout)
                await _end(process, signal.SIGKILL, self.settings.stop_timeout)
            if self.watchdog is not None:
                await self.watchdog.dismiss()
        finally:
            if self.watchdog is not None:
                self.watchdog.let_go()
            if self.server_lock >= 0:
                os.close(self.server_lock)

    async def _wait_for_leftovers(self) -> int:
        """The lock every server process inherits. Once it is ours no process of an earlier server is alive, so
        whatever postmaster.pid says is stale, even if its pid is in use again.
        """
        handle = os.open(self.folder / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        pid_file = self.data / "postmaster.pid"
        for attempt in range(int(self.settings.stop_timeout * 40)):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if attempt == int(self.settings.stop_timeout * 20):
                    _signal_leftover(pid_file)
                await asyncio.sleep(0.05)
            else:
                pid_file.unlink(missing_ok=True)
                return handle
        os.close(handle)
        raise ConfigError(
            f"A PostgreSQL of an earlier run still works in {self.data} and does not stop."
            f" End the process named in the first line of {pid_file}, then start again."
        )

    def _passwords(self) -> _Secrets:
        path = self.folder / "postgres.secret"
        if path.exists():
            try:
                return msgspec.json.decode(path.read_bytes(), type=_Secrets)
            except (OSError, msgspec.DecodeError) as error:
                raise ConfigError(f"{path} cannot be read ({error}). Restore it from a backup.") from error
        if self.data.exists():
            raise ConfigError(f"{path} is missing although {self.data} has data. Restore it from a backup.")
        made = _Secrets(secrets.token_urlsafe(24), secrets.token_urlsafe(24))
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(made))
            file.flush()
            os.fsync(file.fileno())
        return made

    def _major(self) -> int | None:
        version = self.data / "PG_VERSION"
        return int(version.read_text(encoding="ascii")) if version.exists() else None

    async def _initialise(self, binaries: Binaries, passwords: _Secrets) -> None:
        """Initdb beside the final place, then a rename, so that a half-made cluster is never started."""
        unfinished = self.folder / "pg.new"
        _remove(unfinished)
        unfinished.mkdir(mode=0o700)
        locale = (
            ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
            if binaries.major >= 17
            else ("--locale=C",)
        )
        read_end, write_end = os.pipe()
        try:
            os.write(write_end, passwords.owner.encode() + b"\n")
            os.close(write_end)
            process = await self._spawn(
                unfinished,
                binaries.bin / "initdb",
                f"--pgdata={unfinished}",
                f"--username={OWNER}",
                "--pwfile=/dev/stdin",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--no-instructions",
                *locale,
                stdin=read_end,
            )
        finally:
            os.close(read_end)
        try:
            async with asyncio.timeout(self.settings.start_timeout):
                status = await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
        if status != 0:
            raise StoreUnavailable(f"initdb could not make {self.data} (exit {status}): {self._last_words()}")
        unfinished.rename(self.data)

    async def _launch_on_free_port(self, binaries: Binaries) -> int:
        """Another program may take the port between the choice and the start: then choose again."""
        for attempt in range(5):
            port = _free_port()
            mark = self.log.stat().st_size if self.log.exists() else 0
            try:
                await self._launch(binaries, port)
            except StoreUnavailable:
                with self.log.open("rb") as file:
                    file.seek(mark)
                    taken = b"could not bind" in file.read() or b"could not create any TCP/IP sockets" in file.read()
                if not taken or attempt == 4:
                    raise
            else:
                return port
        raise StoreUnavailable("no free port on 127.0.0.1")

    async def _launch(self, binaries: Binaries, port: int) -> None:
        """Start the server and wait until it accepts connections (the eighth line of postmaster.pid says `ready`)."""
        options = [f"-c{name}={value}" for name, value in {**SERVER_SETTINGS, "port": str(port)}.items()]
        process = self.process = await self._spawn(self.data, binaries.bin / "postgres", "-D", str(self.data), *options)
        self.watchdog = await _Watchdog.over(process.pid, int(self.settings.stop_timeout))
        deadline = asyncio.get_running_loop().time() + self.settings.start_timeout
        while asyncio.get_running_loop().time() < deadline:
            if process.returncode is not None:
                await self.watchdog.dismiss()
                raise StoreUnavailable(f"PostgreSQL did not start in {self.data}: {self._last_words()}")
            with contextlib.suppress(FileNotFoundError):
                lines = (self.data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
                if len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                    return
            await asyncio.sleep(0.005)
        raise StoreUnavailable(
            f"PostgreSQL did not become ready in {self.settings.start_timeout:g} s in {self.data}: {self._last_words()}"
        )

    async def _spawn(
        self, data: Path, program: Path, *arguments: str, stdin: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        # A session of its own: Ctrl-C in the terminal must reach the platform only, which stops the server last.
        with self.log.open("ab") as log:
            self.log.chmod(0o600)
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                str(LAUNCHER),
                str(os.getpid()),
                str(data),
                str(program),
                *arguments,
                stdin=stdin,
                stdout=log,
                stderr=log,
                pass_fds=(self.server_lock,),
                start_new_session=True,
                env=_environment(),
                cwd="/",
            )

    async def _keep(self, server: PostgresServer, binaries: Binaries) -> None:
        """Start the server again on the same port whenever it dies (killed for memory, crashed)."""
        while True:
            await self._running().wait()
            if self.watchdog is not None:
                await self.watchdog.dismiss()
            try:
                await self._launch(binaries, server.port)
            except StoreUnavailable:
                await asyncio.sleep(1)
            else:
                server.pid = self._running().pid
                server.restarts += 1

    def _running(self) -> asyncio.subprocess.Process:
        assert self.process is not None
        return self.process

    def _last_words(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            return f"its log {self.log} cannot be read ({error.strerror})"
        return " | ".join(line.strip() for line in lines[-4:]) or f"it left nothing in {self.log}"


class _Watchdog:
    """A shell of about 1 MB that stops the server when this process is gone, however it went. Works on every Unix;
    Linux has the launcher's death signal besides.
    """

    def __init__(self, process: asyncio.subprocess.Process, pipe: int) -> None:
        self.process = process
        self.pipe = pipe

    @classmethod
    async def over(cls, pid: int, patience: int) -> "_Watchdog":
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                WATCHDOG,
                "watchdog",
                str(pid),
                str(patience),
                stdin=read_end,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
                env=_environment(),
            )
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)
        return cls(process, write_end)

    async def dismiss(self) -> None:
        """The server has stopped: nothing to watch any more."""
        if self.pipe >= 0:
            with contextlib.suppress(BrokenPipeError):
                os.write(self.pipe, b"stopped\n")
        self.let_go()
        await self.process.wait()

    def let_go(self) -> None:
        """Close the pipe; without a word before, the watchdog ends the server."""
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1


async def _create_database(dsn: str, timeout: float) -> None:
    """Initdb makes `postgres` only; the platform's own database is made here, at the first start."""
    connection = await asyncpg.connect(dsn, database="postgres", timeout=timeout)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close(timeout=timeout)


async def _end(process: asyncio.subprocess.Process, signal_number: int, patience: float) -> None:
    if process.returncode is None:
        process.send_signal(signal_number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await process.wait()


def _signal_leftover(pid_file: Path) -> None:
    """The server's lock is held, so the pid in the file is a living server's: end it at once (it recovers from its log)."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        os.kill(int(pid_file.read_text(encoding="utf-8").splitlines()[0]), signal.SIGQUIT)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment() -> dict[str, str]:
    """Nothing of the platform's own environment: it holds keys, and PG* variables would redirect the programs."""
    kept = {
        name: value for name, value in os.environ.items() if re.fullmatch(r"(DY)?LD_(FALLBACK_)?LIBRARY_PATH", name)
    }
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **kept}


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))


def _remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    if folder.exists():
        folder.rmdir()
