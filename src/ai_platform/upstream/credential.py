"""Secrets of an upstream: from the environment or a file, held in memory, in no `repr` and no message."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

from ai_platform.domain.errors import ConfigError

_SECRET = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")


def read_secret(variable: str | None, file: str | None, environ: Mapping[str, str], *, where: str) -> str | None:
    """The secret that a setting names, None when it names none.

    Raises:
        ConfigError: it is missing, empty, or not one line of printable ASCII.

    """
    if variable is not None:
        secret, source = environ.get(variable, "").strip(), f"environment variable {variable}"
    elif file is not None:
        source = f"file {file}"
        try:
            secret = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text"
            raise ConfigError(f"the secret in {source} cannot be read ({reason})", where=where) from None
    else:
        return None
    if not _SECRET.fullmatch(secret):
        state = "is missing or empty" if not secret else "must be one line of printable ASCII"
        raise ConfigError(f"the secret in {source} {state}", where=where)
    return secret


class Credential:
    """The current secret. `version` grows when a file brought a new one."""

    __slots__ = ("_file", "_renewing", "_where", "secret", "version")

    def __init__(self, variable: str | None, file: str | None, environ: Mapping[str, str], *, where: str) -> None:
        self.secret = read_secret(variable, file, environ, where=where)
        self.version = 1
        self._file = file
        self._where = where
        self._renewing: asyncio.Lock | None = None

    def __repr__(self) -> str:
        return f"Credential({'***' if self.secret else None})"

    async def renew(self, used: int) -> bool:
        """Whether there is a newer secret than version `used`, which was just refused; reads the file to find out."""
        if self._file is None:
            return False
        if self._renewing is None:
            self._renewing = asyncio.Lock()
        async with self._renewing:
            if self.version == used:
                try:
                    secret = await asyncio.to_thread(read_secret, None, self._file, {}, where=self._where)
                except ConfigError:
                    # Fail closed with what there is: the refused secret stays, the caller gets the upstream's 401.
                    return False
                if secret != self.secret:
                    self.secret = secret
                    self.version += 1
        return self.version != used
