"""A real PostgreSQL that lives exactly as long as its owner: made on first use, started, watched, stopped.

Not a way to share a server between machines: give a URL for that. Listens on 127.0.0.1 on a free port, asks for a
password, opens no unix socket. Above: bootstrap, testing. Below: binaries, folder, launcher, watchdog.
"""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec

from ai_platform.domain.errors import ConfigError, StoreUnavailable
from ai_platform.stores.binaries import Binaries, find_binaries
from ai_platform.stores.failures import REFUSED, UNREACHABLE
from ai_platform.stores.folder import DataFolder
from ai_platform.stores.settings import StoresSettings
from ai_platform.stores.watchdog import Watchdog, watch

OWNER = "aip_owner"
GATEWAY = "aip_gateway"
DATABASE = "ai_platform"
LAUNCHER = Path(__file__).with_name("launcher.py")
HOUSEKEEPING = 60.0

SERVER_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    "max_worker_processes": "4",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "huge_pages": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Only the life of the server is logged, never a statement or a message that could quote a value.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}


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


@asynccontextmanager
async def embedded_postgres(folder: Path, settings: StoresSettings | None = None) -> AsyncGenerator[PostgresServer]:
    """Run the server of `folder` while the block runs; the first use creates both. A server that dies is started again.

    Raises:
        ConfigError: no PostgreSQL programs, or the folder is in use by a living platform or cannot be used.
        StoreUnavailable: the server did not start; the message ends with what it logged.

    """
    place = DataFolder(folder)
    with place.claimed():
        cluster = _Cluster(place, settings or StoresSettings())
        try:
            yield await cluster.start()
        finally:
            await cluster.stop()


class _Cluster:
    """One data folder's server process, its watchdog and the task that starts it again when it dies."""

    def __init__(self, folder: DataFolder, settings: StoresSettings) -> None:
        self._folder = folder
        self._settings = settings
        self._lock = -1
        self._process: asyncio.subprocess.Process | None = None
        self._watchdog: Watchdog | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> PostgresServer:
        folder = self._folder
        self._lock = await folder.without_leftovers(self._settings.stop_timeout)
        passwords = folder.passwords()
        binaries = find_binaries(major=folder.major())
        folder.bound_log()
        if not folder.cluster.exists():
            await self._initialise(binaries, passwords.owner)
        process, port = await self._launch_on_free_port(binaries)
        address = f"127.0.0.1:{port}/{DATABASE}?sslmode=disable"
        server = PostgresServer(
            owner_dsn=f"postgresql://{OWNER}:{passwords.owner}@{address}",
            gateway_dsn=f"postgresql://{GATEWAY}:{passwords.gateway}@{address}",
            pid=process.pid,
            version=binaries.version,
            port=port,
        )
        await _create_database(server.owner_dsn, self._settings)
        self._keeper = asyncio.create_task(self._keep(server, binaries))
        return server

    async def stop(self) -> None:
        """Fast shutdown, then the immediate one. If this task is cancelled in here, the watchdog goes on with both."""
        patience = self._settings.stop_timeout
        try:
            if self._keeper is not None:
                self._keeper.cancel()
                await asyncio.wait({self._keeper})
            if self._process is not None:
                for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                    await _end(self._process, number, patience)
            if self._watchdog is not None:
                await self._watchdog.dismiss()
        finally:
            if self._watchdog is not None:
                self._watchdog.let_go()
            if self._lock >= 0:
                os.close(self._lock)

    async def _initialise(self, binaries: Binaries, password: str) -> None:
        unfinished = self._folder.place_for_a_new_cluster()
        builtin = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8") if binaries.major >= 17 else ()
        read_end, write_end = os.pipe()
        try:
            os.write(write_end, password.encode() + b"\n")
            os.close(write_end)
            process = await self._spawn(
                unfinished,
                binaries.bin / "initdb",
                *(f"--pgdata={unfinished}", f"--username={OWNER}", "--pwfile=/dev/stdin", "--auth=scram-sha-256"),
                *("--encoding=UTF8", "--locale=C", "--no-instructions", *builtin),
                stdin=read_end,
            )
        finally:
            os.close(read_end)
        try:
            async with asyncio.timeout(self._settings.start_timeout):
                status = await process.wait()
        except TimeoutError as error:
            raise StoreUnavailable(
                f"initdb did not end in {self._settings.start_timeout:g} s: {self._why()}"
            ) from error
        finally:
            await _end(process, signal.SIGKILL, self._settings.stop_timeout)
        if status != 0:
            raise StoreUnavailable(f"initdb could not make {self._folder.cluster} (exit {status}): {self._why()}")
        unfinished.rename(self._folder.cluster)

    async def _launch_on_free_port(self, binaries: Binaries) -> tuple[asyncio.subprocess.Process, int]:
        """Another program may take the port between the choice and the start: then choose again."""
        attempts = 5
        while True:
            attempts -= 1
            port = _free_port()
            try:
                return await self._launch(binaries, port), port
            except StoreUnavailable as error:
                if attempts == 0 or "could not create any TCP/IP sockets" not in str(error):
                    raise

    async def _launch(self, binaries: Binaries, port: int) -> asyncio.subprocess.Process:
        """Start the server and wait until it accepts connections (line 8 of postmaster.pid says `ready`)."""
        data = self._folder.cluster
        options = [f"-c{name}={value}" for name, value in {**SERVER_SETTINGS, "port": str(port)}.items()]
        process = self._process = await self._spawn(data, binaries.bin / "postgres", "-D", str(data), *options)
        self._watchdog = await watch(process.pid, self._settings.stop_timeout)
        try:
            async with asyncio.timeout(self._settings.start_timeout):
                while not _is_ready(data, process.pid):
                    if process.returncode is not None:
                        await self._watchdog.dismiss()
                        raise StoreUnavailable(f"PostgreSQL did not start in {data}: {self._why()}")
                    await asyncio.sleep(0.005)
        except TimeoutError as error:
            waited = f"{self._settings.start_timeout:g} s"
            raise StoreUnavailable(f"PostgreSQL was not ready after {waited} in {data}: {self._why()}") from error
        return process

    async def _spawn(
        self, data: Path, program: Path, *arguments: str, stdin: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        """In a session of its own: Ctrl-C in the terminal must reach the platform only, which stops the server last."""
        log = self._folder.open_log()
        try:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(data), str(program), *arguments),
                stdin=stdin,
                stdout=log,
                stderr=log,
                pass_fds=(self._lock,),
                start_new_session=True,
                env=_environment(),
                cwd="/",
            )
        finally:
            os.close(log)

    async def _keep(self, server: PostgresServer, binaries: Binaries) -> None:
        """Start the server again on the same port whenever it dies (killed for memory, disk full, crashed)."""
        while True:
            if not await _ended(self._process, HOUSEKEEPING):
                self._folder.bound_log()
                continue
            if self._watchdog is not None:
                await self._watchdog.dismiss()
            try:
                server.pid = (await self._launch(binaries, server.port)).pid
                server.restarts += 1
            except (StoreUnavailable, OSError):
                await asyncio.sleep(1)

    def _why(self) -> str:
        return self._folder.last_words()


def _is_ready(data: Path, pid: int) -> bool:
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


async def _create_database(owner_dsn: str, settings: StoresSettings) -> None:
    """The platform's own database, made at the first start: initdb makes `postgres` only."""
    try:
        async with asyncio.timeout(settings.start_timeout):
            connection = await asyncpg.connect(owner_dsn, database="postgres")
            try:
                if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", DATABASE):
                    await connection.execute(f"CREATE DATABASE {DATABASE}")
            finally:
                await connection.close(timeout=settings.connect_timeout)
    except UNREACHABLE as error:
        raise StoreUnavailable(f"The embedded PostgreSQL started but does not answer ({error}).") from error
    except REFUSED as error:
        raise ConfigError(f"The embedded PostgreSQL refuses the password in postgres.secret ({error}).") from error


async def _ended(process: asyncio.subprocess.Process | None, patience: float) -> bool:
    """Whether the process has ended within `patience` seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(patience):
            if process is not None:
                await process.wait()
            return True
    return False


async def _end(process: asyncio.subprocess.Process, number: signal.Signals, patience: float) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        await _ended(process, patience)


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
