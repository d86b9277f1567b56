"""What is refused before it starts, what happens without walls, logs, and that nothing is left behind."""

import asyncio
import os
import signal
import struct
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from walled import alive, ended, outcome, processes_with, python, ready, requires_walls, started

from ai_platform.domain.errors import ConfigError
from ai_platform.sandbox import Folders, Program
from ai_platform.sandbox.journal import Journal, listening
from ai_platform.sandbox.seccomp import seccomp_filter
from ai_platform.sandbox.settings import Mode
from ai_platform.telemetry.scrub import scrub_text
from ai_platform.testing import FakeClock
from ai_platform.testing.eventually import eventually

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "folder",
    [
        *("/", "/etc", "/proc", "/sys/kernel", "/dev", "/run"),
        *("/var/run/docker.sock", "relative", "/usr/../etc"),
    ],
)
async def test_folders_that_hold_the_machine_are_refused(tmp_path: Path, folder: str):
    sandbox = await ready(tmp_path / "data", mode=Mode.PREFERRED)
    for folders in (Folders(read=(folder,)), Folders(write=(folder,))):
        with pytest.raises(ConfigError):
            sandbox.check(python("", folders=folders))


async def test_the_platforms_own_folder_is_refused_from_above_within_and_through_a_link(tmp_path: Path):
    data = tmp_path / "data"
    sandbox = await ready(data, mode=Mode.PREFERRED)
    (data / "mcp").mkdir()
    link = tmp_path / "link"
    link.symlink_to(data)
    for path in (data, data / "mcp", tmp_path, link, link / "mcp"):
        with pytest.raises(ConfigError, match=r"own data|symbolic link"):
            sandbox.check(python("", folders=Folders(read=(str(path),))))


async def test_homes_and_places_of_keys_are_refused(tmp_path: Path):
    sandbox = await ready(tmp_path / "data", mode=Mode.PREFERRED)
    keys = tmp_path / "home" / ".ssh"
    keys.mkdir(parents=True)
    (tmp_path / "home" / "work").mkdir()
    for path in (keys, keys.parent):
        with pytest.raises(ConfigError, match=r"holds keys \(\.ssh\)"):
            sandbox.check(python("", folders=Folders(read=(str(path),))))
    sandbox.check(python("", folders=Folders(read=(str(keys.parent / "work"),))))


@pytest.mark.parametrize("name", ["LD_PRELOAD", "DYLD_INSERT_LIBRARIES", "AI_PLATFORM_ADMIN_KEY", "A=B", "", "A\0B"])
async def test_variables_that_reach_outside_the_walls_are_refused(tmp_path: Path, name: str):
    sandbox = await ready(tmp_path / "data", mode=Mode.PREFERRED)
    with pytest.raises(ConfigError, match="environment variable"):
        sandbox.check(python("", environment={name: "x"}))


@requires_walls
async def test_what_the_walls_would_hide_is_told_with_the_remedy(tmp_path: Path):
    sandbox = await ready(tmp_path / "data")
    script = tmp_path / "server.py"
    script.write_text("")
    script.chmod(0o755)
    with pytest.raises(ConfigError, match=f"--read {tmp_path}"):
        sandbox.check(Program(name="hidden", command=(str(script),)))
    with pytest.raises(ConfigError, match=f"--read {script}"):
        sandbox.check(Program(name="hidden", command=("sh", str(script))))
    with pytest.raises(ConfigError, match="no program 'no-such-program'"):
        sandbox.check(Program(name="hidden", command=("no-such-program",)))


async def test_without_bubblewrap_an_untrusted_program_is_refused_and_told_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox = await ready(tmp_path / "data")
    with pytest.raises(ConfigError, match=r"not trusted.*apt install bubblewrap.*mcp\.sandbox\.mode: preferred"):
        sandbox.check(python(""))
    sandbox.check(python("", trusted=True))


async def test_preferred_starts_it_all_the_same_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox = await ready(tmp_path / "data", mode=Mode.PREFERRED)
    code, words = await outcome(sandbox, python("say(sorted(os.environ))", environment={"GREETING": "hello"}))
    assert code == 0
    assert set(words[0]) <= {"GREETING", "HOME", "LANG", "LC_CTYPE", "LOGNAME", "PATH", "USER"}
    assert sandbox.unwalled == 1
    assert any("without a sandbox" in line for line in sandbox.journal("tested").tail(5))


async def test_bubblewrap_that_cannot_work_here_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bwrap", "setpriv", "prlimit"):
        (tools / name).write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    sandbox = await ready(tmp_path / "data")
    assert "No permissions to create new namespace" in sandbox.unavailable
    with pytest.raises(ConfigError, match="No permissions"):
        sandbox.check(python(""))


# --- nothing is left behind ------------------------------------------------------------------------------------------

DAEMON = """
import time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True: time.sleep(0.1)
    os._exit(0)
os.wait()
"""


@requires_walls
async def test_a_daemon_that_left_its_parent_ends_with_the_sandbox(tmp_path: Path):
    sandbox = await ready(tmp_path / "data")
    marker = f"marker-{tmp_path.name}"
    async with AsyncExitStack() as stack:
        process = await started(sandbox, stack, python(f"{DAEMON}\nsay('up')\nsys.stdin.read() # {marker}"))
        assert process.stdout is not None
        await process.stdout.readline()
        assert len(processes_with(marker)) >= 3
    await eventually(lambda: processes_with(marker) == [])


OWNER = """
import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from walled import python, ready, started

async def main():
    sandbox = await ready(Path({data!r}))
    async with AsyncExitStack() as stack:
        process = await started(sandbox, stack, python({code!r}, trusted={trusted}))
        await process.stdout.readline()
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("trusted", [pytest.param(False, marks=requires_walls), True])
async def test_nothing_survives_an_owner_that_was_killed(tmp_path: Path, *, trusted: bool):
    """The owner is a process of its own, killed with SIGKILL; its program ignores the end of its input."""
    marker = f"orphan-{tmp_path.name}-{trusted}"
    code = f"""import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
print("up", flush=True)
while True: signal.pause() # {marker}
"""
    owner = tmp_path / "owner.py"
    owner.write_text(OWNER.format(data=str(tmp_path / "data"), code=code, trusted=trusted))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(owner)),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        running = processes_with(marker)
        assert len(running) >= 2
    finally:
        process.kill()
        await process.communicate()
    await eventually(lambda: not any(alive(pid) for pid in running))


async def test_a_guarded_program_is_asked_first_and_then_killed_with_its_children(tmp_path: Path):
    sandbox = await ready(tmp_path / "data")
    marker = f"stubborn-{tmp_path.name}"
    code = f"""import signal
signal.signal(signal.SIGTERM, lambda *_: say("asked"))
os.fork()
say("up")
while True: signal.pause() # {marker}
"""
    async with AsyncExitStack() as stack:
        process = await started(sandbox, stack, python(code, trusted=True))
        assert process.stdout is not None
        await process.stdout.readline()
        await ended(process)
        assert b"asked" in await process.stdout.read()
        assert process.returncode == 128 + signal.SIGKILL
    await eventually(lambda: processes_with(marker) == [])


async def test_a_guard_passes_on_how_the_program_ended(tmp_path: Path):
    sandbox = await ready(tmp_path / "data")
    assert (await outcome(sandbox, python("sys.exit(7)", trusted=True)))[0] == 7
    killed = python("os.kill(os.getpid(), 9)", trusted=True)
    assert (await outcome(sandbox, killed))[0] == 128 + 9
    missing = Program(name="missing", command=("/no/such/program",), trusted=True)
    assert (await outcome(sandbox, missing))[0] == 127
    assert any("No such file" in line for line in sandbox.journal("missing").tail(5))


# --- logs ------------------------------------------------------------------------------------------------------------


async def test_standard_error_is_kept_with_times_and_without_control_characters(tmp_path: Path):
    sandbox = await ready(tmp_path / "data", mode=Mode.PREFERRED)
    await outcome(sandbox, python(r"sys.stderr.write('fine\n\x1b[2Jwiped\nlast'); say(1)"))
    lines = [line.partition(" ")[2] for line in sandbox.journal("tested").tail(10)]
    assert [line for line in lines if not line.startswith("--")] == ["fine", "�[2Jwiped", "last"]


def test_a_log_stays_within_its_bound_and_keeps_the_newest(tmp_path: Path):
    journal = Journal(tmp_path / "logs" / "one.log", most_bytes=20_000, clock=FakeClock(), clean=str)
    for number in range(5000):
        journal.feed(b"line %d\n" % number)
    assert sum(path.stat().st_size for path in (tmp_path / "logs").iterdir()) <= 20_000
    assert journal.tail(1)[0].endswith("line 4999")
    assert len(journal.tail(100)) == 100
    journal.feed(b"x" * 10_000_000)
    assert sum(path.stat().st_size for path in (tmp_path / "logs").iterdir()) <= 20_000


def test_secrets_are_taken_out_of_logs(tmp_path: Path):
    journal = Journal(tmp_path / "one.log", most_bytes=20_000, clock=FakeClock(), clean=scrub_text)
    journal.feed(b"calling with Bearer abcdefghijklmnop\n")
    assert "abcdefgh" not in "".join(journal.tail(5))


async def test_who_holds_the_log_open_is_not_waited_for(tmp_path: Path):
    journal = Journal(tmp_path / "one.log", most_bytes=20_000, clock=FakeClock(), clean=str)
    async with listening(journal) as descriptor:
        kept = os.dup(descriptor)
        os.write(kept, b"said\n")
    os.close(kept)
    assert journal.lines == 1


# --- the filter of system calls ---------------------------------------------------------------------------------------

ALLOW, KILL, PERMISSION, MISSING = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026


def verdict(program: bytes, number: int, audit: int, argument: int = 0) -> int:
    """Interprets the classic BPF program for one system call."""
    data = struct.pack("=IIQQ", number, audit, 0, argument)
    steps = list(struct.iter_unpack("=HBBI", program))
    at = value = 0
    while True:
        code, when_true, when_false, k = steps[at]
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, k)
        elif code == 0x06:
            return k
        else:
            holds = {0x15: value == k, 0x35: value >= k, 0x45: bool(value & k)}[code]
            at += when_true if holds else when_false


@pytest.mark.parametrize(
    ("machine", "audit", "read", "mount", "clone"),
    [("x86_64", 0xC000003E, 0, 165, 56), ("aarch64", 0xC00000B7, 63, 40, 220)],
)
def test_the_filter_allows_ordinary_calls_and_denies_those_that_break_out(
    machine: str, audit: int, read: int, mount: int, clone: int
):
    program = seccomp_filter(machine)
    assert program is not None
    assert verdict(program, read, audit) == ALLOW
    assert verdict(program, mount, audit) == PERMISSION
    assert verdict(program, 425, audit) == PERMISSION, "io_uring"
    assert verdict(program, 435, audit) == MISSING, "clone3 hides its flags behind a pointer"
    assert verdict(program, clone, audit, 0x1200011) == ALLOW, "a plain fork"
    assert verdict(program, clone, audit, 0x10000011) == PERMISSION, "with a user namespace"
    assert verdict(program, read, 0x40000003) == KILL, "another architecture's numbers mean something else"


def test_another_machine_has_no_filter():
    assert seccomp_filter("riscv64") is None
