"""What is to be run, and what of this machine it may see. Checked before anything starts."""

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from ai_platform.domain.errors import ConfigError

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/libx32")
"""Folders of programs and libraries that every sandbox shows, read-only."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NEVER = ("/", "/proc", "/sys", "/dev", "/run", "/var/run", "/etc", "/boot")
"""Showing these (not what lies below some of them) would show sockets, devices or secrets of the whole machine."""
NEVER_BELOW = ("/proc", "/sys", "/dev", "/run", "/var/run")
SECRETS = frozenset({".ssh", ".aws", ".gnupg", ".kube", ".azure", ".docker", ".netrc", ".git-credentials"})
"""Where people keep keys: neither these nor a folder (a home) that has one of them is shown."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_LOADER = ("LD_", "DYLD_", "AI_PLATFORM_")
"""Variables that would change what runs outside the walls, or that hold this platform's own secrets."""
OWN = frozenset({"AI_PLATFORM_CALLER"})
"""The one of the platform's that is meant for servers."""
MOST_ARGUMENTS, LONGEST_ARGUMENT = 256, 8192


class Folders(msgspec.Struct, frozen=True, kw_only=True):
    """Absolute paths that the program sees beside the system's own. read: not changeable. write: changeable."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """See SandboxSettings."""

    memory_mb: int
    cpu_seconds: int
    open_files: int
    processes: int
    file_mb: int
    temporary_mb: int


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """command: the program and its arguments; no shell reads them. environment: all that it gets beside PATH and HOME.

    network: False = no network at all, not even loopback. trusted: runs without walls, as this platform's user.
    folder: where it starts, in a folder that it sees; "" = its home. state: it has a folder that stays, named by the
    variable STATE_DIRECTORY and its home; otherwise its home is its private /tmp, which is gone when it ends.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = {}
    folders: Folders = Folders()
    folder: str = ""
    state: bool = False
    network: bool = False
    trusted: bool = False
    limits: Limits | None = None


def check(program: Program, *, forbidden: Iterable[Path], walled: bool) -> None:
    """forbidden: folders of the platform that no program may see. walled: it will run inside walls.

    Raises:
        ConfigError: it cannot or must not be run like this; the message says what to change.

    """
    _check_command(program)
    for name, value in program.environment.items():
        if not _VARIABLE.fullmatch(name) or "\0" in value:
            raise _wrong(program, f"the environment variable {name[:60]!r} cannot be passed on")
        if name.startswith(_LOADER) and name not in OWN:
            raise _wrong(program, f"the environment variable {name} is not passed to servers")
    if program.trusted:
        return
    own = [path.resolve() for path in forbidden]
    for text in (*program.folders.read, *program.folders.write):
        _check_folder(program, text, own)
    if walled:
        _check_seen(program)


def _check_command(program: Program) -> None:
    command = program.command
    if not command or not command[0]:
        raise _wrong(program, "no command is given")
    if len(command) > MOST_ARGUMENTS or any(len(argument) > LONGEST_ARGUMENT for argument in command):
        raise _wrong(program, f"at most {MOST_ARGUMENTS} arguments of {LONGEST_ARGUMENT} characters are taken")
    if any("\0" in argument for argument in command):
        raise _wrong(program, "an argument holds a NUL character")


def _check_folder(program: Program, text: str, own: list[Path]) -> None:
    path = Path(text)
    if not path.is_absolute() or ".." in path.parts:
        raise _wrong(program, f"the folder {text!r} is not an absolute path")
    if text.rstrip("/") in {folder.rstrip("/") for folder in NEVER} or _is_below(path, NEVER_BELOW):
        raise _wrong(program, f"{text} holds secrets, devices or sockets of the whole machine; choose a smaller folder")
    if not path.exists():
        raise _wrong(program, f"the folder {text} does not exist")
    if path.resolve() != path:
        # What was a folder when it was chosen may have become a link to something else since.
        raise _wrong(program, f"{text} is or lies behind a symbolic link; choose {path.resolve()} if that is meant")
    kept = sorted(SECRETS & {path.name, *(_names_in(path))})
    if kept:
        raise _wrong(program, f"{text} holds keys ({kept[0]}), which no server may see; choose a folder beside them")
    for folder in own:
        if path.is_relative_to(folder) or folder.is_relative_to(path):
            raise _wrong(program, f"{text} holds the platform's own data, which no server may see")


def _names_in(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.iterdir()] if path.is_dir() else []
    except OSError:
        return []  # nor will the server see what is in it


def _check_seen(program: Program) -> None:
    """What cannot be found inside the walls fails here, with a remedy, and not there, with a riddle."""
    found = located(program)
    if found is None:
        raise _wrong(program, f"there is no program {program.command[0]!r} on {SYSTEM_PATH}; give its absolute path")
    if not _is_seen(program, found):
        raise _wrong(
            program,
            f"{found} lies outside of what the sandbox shows. Add its folder to the folders the server may read"
            f" (--read {found.parent})",
        )
    for argument in program.command[1:]:
        if argument.startswith("/") and Path(argument).exists() and not _is_seen(program, Path(argument)):
            raise _wrong(
                program,
                f"its argument {argument} lies outside of what the sandbox shows. Add it to the folders the server"
                f" may read (--read {argument}) or change (--write {argument})",
            )
    if program.folder and not _is_seen(program, Path(program.folder)):
        raise _wrong(program, f"it starts in {program.folder}, which the sandbox does not show (--read it)")


def located(program: Program) -> Path | None:
    """Where the program itself is, by the PATH that it will have."""
    found = shutil.which(program.command[0], path=program.environment.get("PATH", SYSTEM_PATH))
    return Path(found) if found else None


def _is_seen(program: Program, path: Path) -> bool:
    """Both as it is written and behind its links: a link to an unseen place leads nowhere inside."""
    shown = (*SYSTEM, *program.folders.read, *program.folders.write)
    return all(_is_below(one, shown) for one in (path, path.resolve()))


def _is_below(path: Path, folders: Iterable[str]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _wrong(program: Program, why: str) -> ConfigError:
    return ConfigError(f"The server '{program.name}' cannot be run: {why}.")
