"""The embedded server from outside: who may use the folder, what survives, and that nothing is left running."""

import asyncio
import fcntl
import json
import os
import shutil
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from ai_platform.domain.errors import ConfigError
from ai_platform.stores.binaries import find_binaries
from ai_platform.stores.embedded import LAUNCHER, embedded_postgres
from ai_platform.stores.folder import DataFolder
from ai_platform.stores.settings import StoresSettings
from ai_platform.stores.watchdog import watch
from ai_platform.testing.eventually import eventually

pytestmark = pytest.mark.anyio

OWNER = Path(__file__).with_name("owner.py")
NOBODY = 65534

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv to become other users"
)
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="a Linux mechanism")


class Owner:
    """A running owner.py."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process = process
        self.folder = folder

    async def says(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            return json.loads(await self.process.stdout.readline())

    async def leaves(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        async with asyncio.timeout(30):
            await self.process.wait()


@asynccontextmanager
async def owner_of(folder: Path, *options: str, through: tuple[str, ...] = ()) -> AsyncIterator[Owner]:
    process = await asyncio.create_subprocess_exec(
        *(*through, sys.executable, str(OWNER), str(folder), *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Owner(process, folder)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        await everyone_is_gone(folder)


async def everyone_is_gone(folder: Path) -> None:
    """Every server process inherits this lock, so it can be had exactly when none is left."""
    lock = folder / "server.lock"
    if lock.exists():
        with lock.open("rb+") as handle:
            async with asyncio.timeout(30):
                await asyncio.to_thread(fcntl.flock, handle, fcntl.LOCK_EX)


async def value_in(dsn: str, sql: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


@pytest.mark.requirement("OP-1")
async def test_a_restart_on_the_same_folder_keeps_data_and_passwords(tmp_path: Path):
    async with embedded_postgres(tmp_path / "data") as server:
        await value_in(server.owner_dsn, "CREATE TABLE kept AS SELECT 41 AS n")
        first = server
    async with embedded_postgres(tmp_path / "data") as server:
        assert await value_in(server.owner_dsn, "SELECT n FROM kept") == 41
        assert server.owner_dsn.partition("@")[0] == first.owner_dsn.partition("@")[0]
        assert server.pid != first.pid


async def test_only_loopback_with_a_password_is_served_and_secrets_are_private(tmp_path: Path):
    async with embedded_postgres(tmp_path) as server:
        shown = await value_in(
            server.owner_dsn,
            "SELECT current_setting('listen_addresses') || ',' || current_setting('unix_socket_directories')",
        )
        assert shown == "127.0.0.1,"
        assert (
            await value_in(server.owner_dsn, "SELECT current_setting('fsync') || current_setting('synchronous_commit')")
            == "onon"
        )
        for right in ("owner", "gateway"):
            user = {"owner": "aip_owner", "gateway": "aip_gateway"}[right]
            with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
                await value_in(f"postgresql://{user}:guess@127.0.0.1:{server.port}/ai_platform", "SELECT 1")
        for name in ("postgres.secret", "postgres.log", "platform.lock"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
        password = server.owner_dsn.partition("@")[0].rpartition(":")[2]
        assert password not in repr(server)
        assert password not in (tmp_path / "postgres.log").read_text()


@pytest.mark.requirement("OP-1")
async def test_no_server_is_left_after_its_owner_was_killed_and_committed_rows_are_there(tmp_path: Path):
    async with owner_of(tmp_path) as owner:
        about = await owner.says()
        await value_in(about["owner_dsn"], "CREATE TABLE kept AS SELECT 42 AS n")
        owner.process.kill()
        await owner.process.wait()
        await everyone_is_gone(tmp_path)
        with pytest.raises(ConnectionRefusedError):
            await value_in(about["owner_dsn"], "SELECT 1")
    async with embedded_postgres(tmp_path) as server:
        assert await value_in(server.owner_dsn, "SELECT n FROM kept") == 42


async def test_the_next_owner_waits_for_the_server_of_a_killed_one(tmp_path: Path):
    async with owner_of(tmp_path) as owner:
        about = await owner.says()
        owner.process.kill()
        await owner.process.wait()
        async with embedded_postgres(tmp_path) as server:
            assert server.pid != about["pid"]
            assert await value_in(server.owner_dsn, "SELECT 1") == 1


@needs_linux
async def test_the_death_signal_alone_ends_the_program_when_its_starter_dies(tmp_path: Path):
    starter = (
        "import os, subprocess, sys\n"
        "launcher, folder, program = sys.argv[1:]\n"
        "command = [sys.executable, '-I', '-S', launcher, str(os.getpid()), folder, program, '600']\n"
        "subprocess.Popen(command)\n"
        "print('started', flush=True)\n"
        "sys.stdin.read()\n"
    )
    program = shutil.which("sleep")
    assert program is not None
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", starter, str(LAUNCHER), str(tmp_path), program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"started\n"
    process.kill()
    async with asyncio.timeout(20):
        # The launched program holds the other end of this pipe: its end is the end of the file.
        assert await process.stdout.read() == b""
    await process.communicate()


async def test_the_watchdog_alone_ends_the_server_when_the_pipe_breaks():
    server = await asyncio.create_subprocess_exec("sleep", "600")
    watchdog = await watch(server.pid, patience=5)
    watchdog.let_go()
    async with asyncio.timeout(20):
        assert await server.wait() == -signal.SIGINT
        await watchdog.dismiss()


async def test_the_watchdog_goes_on_to_the_immediate_shutdown_when_the_fast_one_does_nothing():
    deaf = await asyncio.create_subprocess_exec(
        *("sh", "-c", "trap '' INT; echo deaf; while :; do read -r line || exit; done"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert deaf.stdout is not None
    await deaf.stdout.readline()
    watchdog = await watch(deaf.pid, patience=1)
    watchdog.let_go()
    async with asyncio.timeout(20):
        assert await deaf.wait() == -signal.SIGQUIT
        await watchdog.dismiss()
    await deaf.communicate()


async def test_a_dismissed_watchdog_leaves_the_process_alone():
    server = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE)
    watchdog = await watch(server.pid, patience=5)
    await watchdog.dismiss()
    assert server.stdin is not None
    server.stdin.close()
    async with asyncio.timeout(20):
        assert await server.wait() == 0


async def test_a_folder_in_use_by_another_platform_is_refused_with_its_process(tmp_path: Path):
    async with owner_of(tmp_path) as owner:
        await owner.says()
        with pytest.raises(ConfigError, match=f"in use by another running platform \\(process {owner.process.pid}\\)"):
            async with embedded_postgres(tmp_path):
                pass
        await owner.leaves()
    async with embedded_postgres(tmp_path) as server:
        assert await value_in(server.owner_dsn, "SELECT 1") == 1


async def test_a_pid_file_that_names_a_living_stranger_does_not_stop_the_start(tmp_path: Path):
    async with embedded_postgres(tmp_path):
        pid_file = (tmp_path / "pg" / "postmaster.pid").read_text()
    _, _, rest = pid_file.partition("\n")
    (tmp_path / "pg" / "postmaster.pid").write_text(f"{os.getpid()}\n{rest}")
    async with embedded_postgres(tmp_path) as server:
        assert await value_in(server.owner_dsn, "SELECT 1") == 1


async def test_a_left_over_server_that_does_not_stop_is_ended_at_once(tmp_path: Path):
    folder = DataFolder(tmp_path)
    folder.cluster.mkdir()
    holder = (
        "import fcntl, sys\n"
        "lock = open(sys.argv[1], 'w')\n"
        "fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    leftover = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", holder, str(tmp_path / "server.lock")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert leftover.stdout is not None
    await leftover.stdout.readline()
    (folder.cluster / "postmaster.pid").write_text(f"{leftover.pid}\n")
    async with asyncio.timeout(30):
        os.close(await folder.without_leftovers(patience=0.1))
        assert await leftover.wait() == -signal.SIGQUIT
    await leftover.communicate()
    assert not (folder.cluster / "postmaster.pid").exists()


async def test_a_server_that_was_killed_is_started_again_at_the_same_address(tmp_path: Path):
    async with embedded_postgres(tmp_path) as server:
        before = server.pid
        await value_in(server.owner_dsn, "CREATE TABLE kept AS SELECT 43 AS n")
        os.kill(before, signal.SIGKILL)
        await eventually(lambda: server.restarts == 1)
        assert server.pid != before
        assert await value_in(server.owner_dsn, "SELECT n FROM kept") == 43


async def test_data_without_its_passwords_is_refused_with_advice(tmp_path: Path):
    async with embedded_postgres(tmp_path):
        pass
    (tmp_path / "postgres.secret").unlink()
    with pytest.raises(ConfigError, match=r"postgres\.secret is missing.*backup"):
        async with embedded_postgres(tmp_path):
            pass


async def test_data_of_another_postgresql_release_is_refused_with_advice(tmp_path: Path):
    async with embedded_postgres(tmp_path):
        pass
    (tmp_path / "pg" / "PG_VERSION").write_text("9\n")
    with pytest.raises(ConfigError, match=r"made by PostgreSQL 9.*AI_PLATFORM_PG_BIN"):
        async with embedded_postgres(tmp_path):
            pass


async def test_an_interrupted_first_start_is_begun_again(tmp_path: Path):
    (tmp_path / "pg.new" / "base").mkdir(parents=True)
    (tmp_path / "pg.new" / "PG_VERSION").write_text("18\n")
    async with embedded_postgres(tmp_path) as server:
        assert await value_in(server.owner_dsn, "SELECT 1") == 1
    assert not (tmp_path / "pg.new").exists()


async def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        async with embedded_postgres(tmp_path / "file" / "data"):
            pass


async def test_a_server_that_fails_to_start_tells_what_it_logged(tmp_path: Path):
    async with embedded_postgres(tmp_path):
        pass
    (tmp_path / "pg" / "postgresql.conf").write_text("no_such_setting_anywhere = 1\n")
    async with owner_of(tmp_path) as owner:
        answer = await owner.says()
    assert answer["kind"] == "StoreUnavailable"
    assert "no_such_setting_anywhere" in answer["error"]


def test_missing_programs_name_every_place_that_was_searched():
    with pytest.raises(ConfigError) as error:
        find_binaries(candidates=[])
    for place in ("AI_PLATFORM_PG_BIN", "embedded-postgres", "/usr/lib/postgresql", "PATH"):
        assert place in str(error.value)


def test_a_chosen_folder_without_programs_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=str(tmp_path)):
        find_binaries(candidates=[("AI_PLATFORM_PG_BIN", tmp_path)])


def test_programs_of_the_release_that_the_data_needs_are_preferred(tmp_path: Path):
    for major in (15, 18):
        folder = tmp_path / str(major)
        folder.mkdir()
        for name in ("postgres", "initdb"):
            (folder / name).write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {major}.4 (made up)'\n")
            (folder / name).chmod(0o755)
    places = [("wheel", tmp_path / "18"), ("Debian", tmp_path / "15")]
    assert find_binaries(candidates=places).version == "18.4"
    assert find_binaries(major=15, candidates=places).bin == tmp_path / "15"


@needs_root
@pytest.mark.requirement("OP-1")
async def test_root_runs_it_in_a_folder_that_nobody_else_can_reach_and_keeps_the_files(tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    async with owner_of(closed / "data") as owner:
        about = await owner.says()
        assert about["uid"] == 0
        assert about["data_uid"] == 0
        await owner.leaves()


@needs_root
async def test_root_without_user_namespaces_runs_it_as_nobody_also_in_a_closed_folder(tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    # Without CAP_SETFCAP the kernel refuses to map uid 0, which is what a container without namespaces looks like.
    no_namespace = ("setpriv", "--bounding-set=-setfcap", "--inh-caps=-setfcap")
    async with owner_of(closed / "data", through=no_namespace) as owner:
        about = await owner.says()
        assert about["uid"] == 0
        assert about["data_uid"] == NOBODY
        await owner.leaves()
    async with owner_of(closed / "data") as owner:
        assert "pid" in await owner.says(), "data made as nobody must stay usable where namespaces work"


@needs_root
async def test_data_made_in_a_namespace_stays_usable_where_namespaces_are_forbidden(tmp_path: Path):
    async with owner_of(tmp_path / "data") as owner:
        await owner.says()
    async with owner_of(
        tmp_path / "data", through=("setpriv", "--bounding-set=-setfcap", "--inh-caps=-setfcap")
    ) as owner:
        assert "pid" in await owner.says()


@needs_root
@pytest.mark.requirement("OP-1")
async def test_a_normal_user_runs_it(tmp_path: Path):
    place = tmp_path / "of-nobody"
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)
    # The interpreter of these tests may lie in a closed folder (/root): the right to pass through is lent.
    nobody = (
        "setpriv",
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        "--inh-caps=+dac_read_search",
        "--ambient-caps=+dac_read_search",
    )
    async with owner_of(place / "data", through=nobody) as owner:
        about = await owner.says()
        assert about["uid"] == NOBODY
        assert about["data_uid"] == NOBODY
        await owner.leaves()


@needs_root
@needs_linux
async def test_a_full_disk_refuses_the_write_and_loses_nothing_acknowledged(tmp_path: Path):
    mount = tmp_path / "small"
    mount.mkdir()
    own_mounts = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=110m tmpfs "$0" && exec "$@"', str(mount))
    async with owner_of(mount / "data", "--fill", through=own_mounts) as owner:
        assert "pid" in await owner.says()
        result = await owner.says()
        assert "No space left" in result["refused"]
        assert result["found"] >= result["acknowledged"] > 0
        await owner.leaves()


async def test_waiting_for_a_server_is_bounded(tmp_path: Path):
    folder = DataFolder(tmp_path)
    held = os.open(tmp_path / "server.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        with pytest.raises(ConfigError, match="earlier run still works"):
            async with asyncio.timeout(30):
                await folder.without_leftovers(patience=StoresSettings().stop_timeout / 100)
    finally:
        os.close(held)
