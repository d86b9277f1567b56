"""The walls: one bubblewrap command line. Own process, network, IPC and host-name spaces, a read-only system, private
/tmp, nothing else of the machine, no right to get anything back (github.com/containers/bubblewrap, bwrap(1)).

Root runs the program as another user inside, so that neither root's files nor root's freedom from limits are its own;
anybody else stays who they are, in a user namespace of their own.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from ai_platform.sandbox.program import SYSTEM, Limits, Program

_TRUST = (
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/openssl.cnf",
    "/etc/crypto-policies",
    "/etc/localtime",
    "/etc/mime.types",
)
"""Of /etc nothing but what programs need to start and to check certificates; no accounts, no keys."""
_NETWORK = ("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services")
MEGABYTE = 1 << 20
STATE = "/state"
PASSWD, FILTER = 10, 11
"""Descriptors: the inside's /etc/passwd, and the seccomp program."""
_FIRST_USER, _USERS = 61184, 4096
"""Numbers that systemd keeps for short-lived users, so that nobody owns a file under them."""


class Tools(msgspec.Struct, frozen=True):
    """Paths. inner: `setpriv` for root, `prlimit` for others (both util-linux)."""

    bubblewrap: str
    inner: str


def find_tools() -> Tools | str:
    """The tools of this machine, or what is missing and how to get it."""
    bubblewrap = shutil.which("bwrap")
    if bubblewrap is None:
        return "bubblewrap is not installed (apt install bubblewrap, dnf install bubblewrap)"
    inner = shutil.which("setpriv" if os.geteuid() == 0 else "prlimit")
    if inner is None:
        return "setpriv and prlimit are not installed (apt install util-linux)"
    return Tools(bubblewrap, inner)


def user_for(name: str) -> int:
    """The same number for the same name, on every machine."""
    return _FIRST_USER + int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % _USERS


def account(program: Program, *, root: bool) -> str:
    """The /etc/passwd of the inside: programs ask for the name of their user and fail without one."""
    number = user_for(program.name)
    user, group = (number, number) if root else (os.geteuid(), os.getegid())
    return f"server:x:{user}:{group}:server:{home_of(program)}:/bin/sh\n"


def home_of(program: Program) -> str:
    return STATE if program.state else "/tmp"  # noqa: S108 - inside


def walls(
    program: Program, limits: Limits, tools: Tools, *, root: bool, state: Path | None, filtered: bool
) -> list[str]:
    """The command that runs the program inside. PASSWD and, when `filtered`, FILTER are open when it starts.

    state: the folder outside that is STATE inside.
    """
    command = [tools.bubblewrap, "--die-with-parent", "--new-session", "--hostname", "sandbox"]
    command += ["--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
    if not program.network:
        command += ["--unshare-net"]
    if root:
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user"]
    command += _system(network=program.network)
    command += ["--perms", "0444", "--ro-bind-data", str(PASSWD), "/etc/passwd"]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for place in ("/tmp", "/dev/shm"):  # noqa: S108 - inside
        command += ["--perms", "1777", "--size", str(limits.temporary_mb * MEGABYTE), "--tmpfs", place]
    command += _chosen(program)
    if state is not None:
        command += ["--bind", str(state), STATE]
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", program.folder or home_of(program)]
    if filtered:
        command += ["--seccomp", str(FILTER)]
    return [*command, "--", *_inner(program, limits, tools, root=root), *program.command]


def _system(*, network: bool) -> list[str]:
    words: list[str] = []
    for text in SYSTEM:
        path = Path(text)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), text]
        elif path.is_dir():
            words += ["--ro-bind", text, text]
    for text in (*_TRUST, *(_NETWORK if network else ())):
        words += [*_above(Path(text), SYSTEM), "--ro-bind-try", text, text]
    return words


def _chosen(program: Program) -> list[str]:
    """The chosen folders; what lies above them can be passed through, and holds nothing else."""
    chosen = dict.fromkeys(program.folders.read, "--ro-bind") | dict.fromkeys(program.folders.write, "--bind")
    words: list[str] = []
    for path in sorted(chosen):  # an outer one before what lies inside it
        words += [*_above(Path(path), (*SYSTEM, *chosen)), chosen[path], path, path]
    return words


def _above(path: Path, shown: Iterable[str]) -> list[str]:
    """Makes what lies above a path passable for everybody; it holds nothing else. shown: what is there already."""
    words: list[str] = []
    for above in reversed(path.parents[:-1]):
        if not any(above.is_relative_to(one) for one in shown):
            words += ["--perms", "0755", "--dir", str(above)]
    return words


def _inner(program: Program, limits: Limits, tools: Tools, *, root: bool) -> Sequence[str]:
    """The number of processes is counted for a user of a user namespace, so it is set inside (setrlimit(2))."""
    if not root:
        return [tools.inner, f"--nproc={limits.processes}", "--"]
    user = str(user_for(program.name))
    return [tools.inner, f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", "--"]
