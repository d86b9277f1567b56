"""The room's three secrets, each a file of mode 0600 made at the first start, and the public key beside them.

`signing.key` signs checkpoints (Ed25519), `kek.key` wraps the subjects' data keys (AES-256), `pepper.key` hides who a
subject is (HMAC). None ever enters the database; all replicas of one database share them. Above: trail, reader.
"""

import base64
import binascii
import hmac
import os
import secrets
from pathlib import Path

import msgspec

from ai_platform.audit.note import NoteError, Signer, VerifierKey
from ai_platform.audit.settings import AuditSettings
from ai_platform.domain.errors import ConfigError

SIGNING, KEK, PEPPER, PUBLIC = "signing.key", "kek.key", "pepper.key", "audit.pub"
_LABEL = "ai-platform-key-v1"


class Keys(msgspec.Struct, frozen=True):
    """trusted: every key of `audit.pub`, the present one and those that signed before it."""

    signer: Signer
    trusted: tuple[VerifierKey, ...]
    kek: bytes
    pepper: bytes
    public_file: Path

    def __repr__(self) -> str:
        return f"Keys({self.signer.verifier})"

    def fingerprints(self) -> dict[str, str]:
        """What the database keeps to notice that a replica was started with other keys; says nothing of the key."""
        return {
            "kek": hmac.digest(self.kek, b"ai-platform audit kek check", "sha256")[:8].hex(),
            "pepper": hmac.digest(self.pepper, b"ai-platform audit pepper check", "sha256")[:8].hex(),
        }


def load_keys(settings: AuditSettings, data: Path) -> Keys:
    """Read the key files, making those that are missing. The public key lies in `DATA/audit/audit.pub`.

    Raises:
        ConfigError: a key file is damaged, readable by others, or cannot be made.

    """
    folder = Path(settings.keys).expanduser() if settings.keys else data / "audit" / "keys"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (data / "audit").mkdir(parents=True, exist_ok=True, mode=0o700)
        seed, kek, pepper = (_secret(folder / name) for name in (SIGNING, KEK, PEPPER))
        signer = Signer(settings.name, seed)
        trusted = _publish(data / "audit" / PUBLIC, signer.verifier)
    except NoteError as error:
        raise ConfigError(f"audit.name: {error}") from error
    except OSError as error:
        raise ConfigError(
            f"The audit keys in {folder} cannot be used: {error}. Make the folder writable for this user, or set"
            " audit.keys to another one."
        ) from error
    return Keys(signer, trusted, kek, pepper, data / "audit" / PUBLIC)


def _secret(path: Path) -> bytes:
    """32 bytes; a file that appears while we make ours (another process's first start) wins."""
    if not path.exists():
        _create(path, f"{_LABEL} {base64.b64encode(secrets.token_bytes(32)).decode()}\n", 0o600)
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path} is readable by others. Run: chmod 600 {path}")
    label, _, encoded = path.read_text(encoding="ascii", errors="replace").strip().partition(" ")
    try:
        secret = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if label != _LABEL or len(secret) != 32:
        raise ConfigError(
            f"{path} is no key file of this platform. Restore it from its backup: a new key cannot read what the old"
            " one wrote."
        )
    return secret


def _publish(path: Path, present: VerifierKey) -> tuple[VerifierKey, ...]:
    """`audit.pub`: one key a line, so that what an earlier key signed stays verifiable after a rotation."""
    if not path.exists():
        _create(path, f"{present}\n", 0o644)
    try:
        known = tuple(VerifierKey.parse(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except NoteError as error:
        raise ConfigError(f"{path}: {error}") from error
    if present not in known:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{present}\n")
        known = (*known, present)
    return known


def _create(path: Path, text: str, mode: int) -> None:
    """Whole or not at all, durable, and never over an existing file."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
