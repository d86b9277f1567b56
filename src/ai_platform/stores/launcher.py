"""Runs one PostgreSQL program so that it is never root and never outlives the process that started it.

A program of its own (`python -I -S launcher.py OWNER_PID DATA_FOLDER PROGRAM ARGS...`), standard library only: it
changes the identity of its own process, then becomes PROGRAM. PostgreSQL refuses to run with effective uid 0.
Root on Linux enters a user namespace where its uid has another number, so every path root may use stays usable and
files stay root's. Where namespaces are forbidden it becomes `nobody` (or whoever owns the data) and keeps only the
capability to pass through folders. Above: embedded.
"""

import ctypes
import os
import pwd
import signal
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 47, 2
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
CAPABILITY_VERSION_3 = 0x20080522

libc = ctypes.CDLL(None, use_errno=True)


class CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class CapabilitySet(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def main() -> None:
    owner, data, program, *arguments = sys.argv[1:]
    if os.geteuid() == 0:
        _leave_root(Path(data))
    if sys.platform == "linux":
        # After the change of identity, which clears it. SIGINT is PostgreSQL's fast, clean shutdown.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != int(owner):
            sys.exit("the starting process is gone")
    os.execv(program, [program, *arguments])  # noqa: S606 - the program embedded.py chose


def _leave_root(data: Path) -> None:
    """Data that belongs to somebody else stays theirs: the server then runs as them."""
    status = data.stat()
    if status.st_uid != 0:
        _become(status.st_uid, status.st_gid)
    elif sys.platform == "linux" and _namespace_allowed():
        _enter_namespace()
    else:
        nobody = _ordinary_user()
        for path in (data, *data.rglob("*")):
            os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
        _become(nobody.pw_uid, nobody.pw_gid)


def _ordinary_user() -> pwd.struct_passwd:
    """`nobody`, or any account but root's: initdb insists that its uid has a name."""
    accounts = sorted((entry for entry in pwd.getpwall() if entry.pw_uid), key=lambda entry: entry.pw_name != "nobody")
    if not accounts:
        sys.exit(
            "PostgreSQL does not run as root and /etc/passwd has no other user: add one, or start as a normal user"
        )
    return accounts[0]


def _namespace_allowed() -> bool:
    """Tried in a child, because a half-made namespace cannot be left again."""
    child = os.fork()
    if child == 0:
        try:
            _enter_namespace()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _enter_namespace() -> None:
    """user_namespaces(7): the caller may map its own uid and gid, one line each, after denying setgroups."""
    user = _ordinary_user()
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    own = Path("/proc/self")
    (own / "setgroups").write_text("deny")
    (own / "uid_map").write_text(f"{user.pw_uid} 0 1")
    (own / "gid_map").write_text(f"{user.pw_gid} 0 1")


def _become(uid: int, gid: int) -> None:
    """Give up root for good. Folders on the way to data and programs may be closed to others (/root, mktemp -d), so
    on Linux the right to pass through them is kept as an ambient capability; without it (macOS) they must be open.
    """
    if sys.platform == "linux":
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    if sys.platform == "linux":
        header = CapabilityHeader(CAPABILITY_VERSION_3, 0)
        sets = (CapabilitySet * 2)()
        libc.capget(ctypes.byref(header), sets)
        held = [bit for bit in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE) if sets[0].permitted & (1 << bit)][:1]
        mask = sum(1 << bit for bit in held)
        sets[0] = CapabilitySet(mask, mask, mask)
        sets[1] = CapabilitySet(0, 0, 0)
        libc.capset(ctypes.byref(header), sets)
        for bit in held:
            libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, bit, 0, 0)


if __name__ == "__main__":
    main()
