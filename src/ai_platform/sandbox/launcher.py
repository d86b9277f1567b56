"""Becomes, or guards, one program that must not outlive its owner.

A program of its own (`python -I -S launcher.py OWNER ORDER COMMAND...`), standard library only. ORDER is JSON: `limits`
(rlimits), `files` (descriptor -> content, base64), `guard`. It offers itself first when memory runs out. Without
`guard` it becomes COMMAND and dies with its owner (for bubblewrap, whose end takes everything inside). With it, it
stays as the guard of COMMAND's process group, and ends that group with itself. Above: sandbox.
"""

import base64
import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from types import FrameType
from typing import Any

PR_SET_PDEATHSIG = 1
GRACE_SECONDS = 1.5
"""Less than the time after which those who asked the guard to end will kill it."""
LOOK_SECONDS = 1.0


def main() -> None:
    owner, order, *command = sys.argv[1:]
    wanted: dict[str, Any] = json.loads(order)
    if sys.platform == "linux":
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib costs 3 ms
            file.write("1000")
    for number, content in wanted["files"].items():
        _provide(int(number), base64.b64decode(content))
    for name, value in wanted["limits"].items():
        _limit(getattr(resource, f"RLIMIT_{name}"), value)
    if wanted["guard"]:
        _guard(int(owner), command)
    _die_with(int(owner), signal.SIGKILL)
    _become(command)


def _limit(kind: int, value: int) -> None:
    _soft, hard = resource.getrlimit(kind)
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(OSError, ValueError):  # macOS has limits that it does not let anyone set
        resource.setrlimit(kind, (bound, bound))


def _provide(number: int, content: bytes) -> None:
    descriptor = os.memfd_create("sandbox", 0)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.dup2(descriptor, number)
    os.close(descriptor)


def _die_with(owner: int, number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != owner:
        sys.exit("the starting process is gone")


def _become(command: list[str]) -> None:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # this interpreter ignores it, and that would be inherited
    try:
        os.execvpe(command[0], command, os.environ)  # noqa: S606 - the command the platform chose; no shell
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
        os._exit(127)


def _guard(owner: int, command: list[str]) -> None:
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    asked: list[float] = []

    def end(_number: int, _frame: FrameType | None) -> None:
        asked.append(time.monotonic())

    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    signal.signal(signal.SIGTERM, end)
    guard, child = os.getpid(), os.fork()
    if child == 0:
        os.setpgid(0, 0)
        _die_with(guard, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _become(command)
    with contextlib.suppress(OSError):  # the child did it already
        os.setpgid(child, child)
    os.close(0)  # the pipes are the child's alone, so that either side sees the other's end
    os.close(1)
    _die_with(owner, signal.SIGTERM)
    status = _wait(child, owner, wake_read, asked)
    _signal(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(status) if status is not None else -signal.SIGKILL
    os._exit(code if code >= 0 else 128 - code)


def _wait(child: int, owner: int, wake: int, asked: list[float]) -> int | None:
    """The child's wait status; None when it must be killed: its owner is gone, or it was asked to end and stayed."""
    told = False
    while True:
        if select.select([wake], [], [], LOOK_SECONDS if not told else GRACE_SECONDS / 10)[0]:
            os.read(wake, 512)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if os.getppid() != owner or (told and time.monotonic() - asked[0] > GRACE_SECONDS):
            return None
        if asked and not told:
            told = True
            _signal(child, signal.SIGTERM)


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    main()
