"""Programs that try to get out. Each attack runs inside real walls."""

import asyncio
import os
import socket
from pathlib import Path

import pytest
from walled import PYTHON, SYSTEM_PYTHON, as_ordinary_user, names_in, outcome, python, ready, requires_walls, said

from ai_platform.sandbox import Folders, Sandbox

pytestmark = [pytest.mark.anyio, requires_walls]

TRY = """
def attempt(do):
    try:
        do()
    except OSError as error:
        return type(error).__name__
    return "done"
"""


@pytest.fixture
async def sandbox(tmp_path: Path) -> Sandbox:
    made = await ready(tmp_path / "data", memory_mb=256, processes=40, temporary_mb=16, file_mb=8, open_files=64)
    assert made.unavailable == ""
    return made


async def test_of_this_machine_only_programs_libraries_and_certificates_are_seen(sandbox: Sandbox):
    seen = await said(sandbox, "say({'root': os.listdir('/'), 'etc': os.listdir('/etc')})")
    system = {"usr", "bin", "sbin", "lib", "lib64", "lib32", "libx32", "etc", "proc", "dev", "tmp"}
    assert set(seen["root"]) <= system | {PYTHON.parts[1]}
    assert not {"shadow", "sudoers", "ssh", "machine-id", "hostname", "hosts", "resolv.conf"} & set(seen["etc"])


async def test_accounts_homes_and_the_data_of_the_platform_cannot_be_read(sandbox: Sandbox, tmp_path: Path):
    secret = tmp_path / "data" / "secret.key"
    secret.write_text("the platform's own")
    secret.chmod(0o644)
    places = [
        "/etc/shadow",
        str(secret),
        str(Path.home() / ".ssh"),
        str(tmp_path),
        "/proc/1/environ",
        "/proc/1/root/etc",
    ]
    got = await said(sandbox, f"{TRY}\nsay([attempt(lambda: os.stat(p) and open(p).read()) for p in {places!r}])")
    assert set(got) <= {"FileNotFoundError", "PermissionError", "IsADirectoryError"}
    assert got[0] == got[1] == "FileNotFoundError"


async def test_nothing_but_the_private_tmp_can_be_written(sandbox: Sandbox):
    places = ["/", "/usr", "/etc", "/dev", "/proc", "/usr/bin", "/lib", "/tmp", "/dev/shm"]
    code = f"{TRY}\nsay([attempt(lambda: open(p + '/planted', 'w').write('x')) for p in {places!r}])"
    got = await said(sandbox, code)
    assert dict(zip(places, (word == "done" for word in got), strict=True)) == {
        place: place in {"/tmp", "/dev/shm"} for place in places
    }
    assert "planted" not in names_in("/tmp") | names_in("/dev/shm"), "they must not be ours"


async def test_it_is_nobody_here_and_cannot_become_somebody(sandbox: Sandbox):
    code = f"""{TRY}
say([os.getuid(), attempt(lambda: os.setuid(0)), attempt(lambda: os.chroot('/tmp')), open('/proc/self/status').read()])
"""
    user, becoming, leaving, status = await said(sandbox, code)
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert user != 0
    assert (becoming, leaving) == ("PermissionError", "PermissionError")
    assert int(facts["CapEff"], 16) == int(facts["CapPrm"], 16) == int(facts["CapAmb"], 16) == 0
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")


async def test_namespaces_mounts_keys_and_other_processes_memory_are_out_of_reach(sandbox: Sandbox):
    code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    ctypes.set_errno(0)
    return ctypes.get_errno() if getattr(libc, name)(*arguments) == -1 else 0
say({'user namespace': call('unshare', 0x10000000), 'mount namespace': call('unshare', 0x20000),
     'mount': call('mount', b'none', b'/tmp', b'tmpfs', 0, None), 'umount': call('umount2', b'/usr', 2),
     'ptrace': call('ptrace', 0, 0, 0, 0), 'setns': call('setns', 0, 0)})
"""
    assert set((await said(sandbox, code)).values()) == {1}, "each fails with EPERM"


async def test_other_processes_of_the_machine_do_not_exist_for_it(sandbox: Sandbox):
    code = f"""{TRY}
say([[name for name in os.listdir('/proc') if name.isdigit()], attempt(lambda: os.kill({os.getpid()}, 9))])
"""
    seen, killing = await said(sandbox, code)
    assert len(seen) <= 3
    assert killing == "ProcessLookupError"


@pytest.mark.parametrize("network", [False, True])
async def test_there_is_no_network_unless_it_was_asked_for(sandbox: Sandbox, *, network: bool):
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as abstract:
        name = f"\0ai-platform-test-{os.getpid()}-{network}"
        abstract.bind(name)
        abstract.listen()
        code = f"""{TRY}
import socket
def reach(family, address):
    with socket.socket(family) as one:
        one.settimeout(5)
        one.connect(address)
say([attempt(lambda: reach(socket.AF_INET, ('127.0.0.1', {listener.getsockname()[1]}))),
     attempt(lambda: reach(socket.AF_INET, ('192.0.2.1', 80))),
     attempt(lambda: reach(socket.AF_UNIX, {name!r}))])
"""
        inside, outside, local = await said(sandbox, code, network=network)
    if network:
        assert inside == "done"
    else:
        assert "done" not in {inside, outside, local}


async def test_a_fork_bomb_ends_at_the_number_of_processes(sandbox: Sandbox):
    code = """
import time
made = 0
try:
    while made < 500:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        made += 1
except OSError as error:
    say([made, type(error).__name__])
"""
    made, error = await said(sandbox, code)
    assert made < 40
    assert error == "BlockingIOError"


async def test_memory_files_and_descriptors_are_bounded(sandbox: Sandbox):
    code = f"""{TRY}
def hog():
    try:
        return len(bytearray(400 << 20))
    except MemoryError:
        return "MemoryError"
def large():
    with open("/tmp/large", "wb", 0) as file:
        for _ in range(64):
            file.write(b"x" * (1 << 20))
def many():
    kept = [open("/dev/null") for _ in range(200)]
def flood():
    for number in range(64):
        with open(f"/tmp/{{number}}", "wb", 0) as file:
            assert file.write(b"x" * (1 << 20)) == 1 << 20
results = [hog(), attempt(large), attempt(many)]
os.unlink("/tmp/large")
try:
    flood()
    results.append("done")
except (OSError, AssertionError):
    results.append("full")
say(results)
"""
    assert await said(sandbox, code) == ["MemoryError", "OSError", "OSError", "full"]


async def test_who_burns_processor_time_is_ended(tmp_path: Path):
    sandbox = await ready(tmp_path / "data", cpu_seconds=1)
    status, words = await outcome(sandbox, python("while True: pass"))
    assert status in {-24, -9, 128 + 24, 128 + 9}
    assert words == []


async def test_the_environment_is_what_was_named_and_nothing_else(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AI_PLATFORM_ADMIN_KEY", "aip_made_up")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-made-up")
    seen = await said(sandbox, "say(dict(os.environ))", environment={"GREETING": "hello"})
    assert set(seen) - {"PWD", "OLDPWD", "LC_CTYPE", "SHLVL", "_"} == {
        *("PATH", "HOME", "TMPDIR", "USER", "LOGNAME", "LANG", "GREETING")
    }


async def test_folders_are_seen_as_chosen(sandbox: Sandbox, tmp_path: Path):
    shown, shared = tmp_path / "shown", tmp_path / "shared"
    for folder in (shown, shared):
        folder.mkdir()
        folder.chmod(0o777)
        (folder / "old").write_text("old")
    code = f"""{TRY}
say([open({str(shown / "old")!r}).read(), attempt(lambda: open({str(shown / "new")!r}, "w")),
     attempt(lambda: open({str(shared / "new")!r}, "w").write("new")), os.listdir({str(tmp_path)!r})])
"""
    read, changing, writing, beside = await said(
        sandbox, code, folders=Folders(read=(str(shown),), write=(str(shared),))
    )
    assert (read, changing, writing) == ("old", "OSError", "done")
    assert set(beside) <= {"shown", "shared"}
    assert (shared / "new").read_text() == "new"


async def test_a_state_folder_stays_and_is_one_servers_alone(sandbox: Sandbox):
    write = "open(os.environ['STATE_DIRECTORY'] + '/kept', 'w').write('kept'); say(os.path.expanduser('~'))"
    assert await said(sandbox, write, state=True) == "/state"
    read = "say(os.listdir(os.environ['STATE_DIRECTORY']))"
    assert await said(sandbox, read, state=True) == ["kept"]
    (_, other) = await outcome(sandbox, python(read, name="another", state=True))
    assert other == [[]]


async def test_two_servers_do_not_see_each_other(sandbox: Sandbox):
    async def look(name: str) -> list[str]:
        code = "open('/tmp/' + str(os.getpid()), 'w'); say(sorted(os.listdir('/tmp') + os.listdir('/dev/shm')))"
        (_, (found,)) = await outcome(sandbox, python(code, name=name))
        return found

    assert [len(found) for found in await asyncio.gather(look("one"), look("two"))] == [1, 1]


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests ran as an ordinary user")
@pytest.mark.skipif(not Path(SYSTEM_PYTHON).exists(), reason=f"there is no {SYSTEM_PYTHON}, which nobody may use too")
async def test_an_ordinary_users_walls_hold_as_well(tmp_path: Path):
    """The other half of how walls are made: a user namespace instead of another user."""
    code = """
made = 0
try:
    while made < 500:
        if os.fork() == 0:
            os.read(0, 1)
            os._exit(0)
        made += 1
except OSError:
    pass
say([os.getuid(), made, os.path.exists("/etc/shadow"), sorted(os.listdir("/sys") if os.path.exists("/sys") else [])])
"""
    sandbox = await ready(tmp_path / "data", processes=40)
    user, made, shadow, devices = await as_ordinary_user(sandbox, code)
    assert (user, shadow, devices) == (65534, False, [])
    assert made < 40
