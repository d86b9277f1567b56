"""The platform's own secret: 32 random bytes in the data folder, and independent keys derived from it (RFC 5869).

Replicas over one database share the file `secret.key`; without it, value hashes, replacements and key hashes differ.
"""

import os
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ai_platform.domain.errors import ConfigError

FILE = "secret.key"
SIZE = 32


class Secret:
    """derive(purpose) gives 32 bytes that tell nothing about those of another purpose."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "Secret(***)"

    def derive(self, purpose: str) -> bytes:
        return HKDF(algorithm=hashes.SHA256(), length=SIZE, salt=None, info=purpose.encode()).derive(self._key)


def load_secret(data: Path) -> Secret:
    """Read the secret of this data folder; the first start makes it (mode 0600).

    Raises:
        ConfigError: the file is damaged, or others may read it.
    """
    path = data / FILE
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(os.urandom(SIZE).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"Others may read {path}. Run `chmod 600 {path}`, and consider its content known to them.")
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: it must hold {SIZE} bytes in hexadecimal. Restore it.") from error
    if len(key) != SIZE:
        raise ConfigError(f"{path} holds {len(key)} bytes instead of {SIZE}. Restore it from a backup.")
    return Secret(key)
