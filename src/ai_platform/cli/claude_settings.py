"""Claude Code's user settings: merged without losing anything, replaced atomically, readable by their owner only.

Shape of the file: code.claude.com, "Settings". Above: connect.
"""

import contextlib
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ai_platform.domain.errors import ConfigError

HELPER_KEY_FILE = Path("~/.config/ai-platform/claude-code.key")

CREDENTIALS = ("ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY")


class Written(NamedTuple):
    """backup: a copy of the file as it was; None when there was none, or nothing had to change."""

    path: Path
    backup: Path | None


def settings_path() -> Path:
    """CLAUDE_CONFIG_DIR, else ~/.claude; a link is followed, so that it stays one."""
    folder = os.environ.get("CLAUDE_CONFIG_DIR") or "~/.claude"
    return (Path(folder).expanduser() / "settings.json").resolve()


def merged(current: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """`current` with address and credential replaced and everything else kept.

    Exactly one credential remains: a left-over one would be sent too, or instead.
    """
    environment = current.get("env")
    kept = dict(environment) if isinstance(environment, dict) else {}
    for name in CREDENTIALS:
        kept.pop(name, None)
    result = {**current, "env": {**kept, **wanted["env"]}}
    result.pop("apiKeyHelper", None)
    if "apiKeyHelper" in wanted:
        result["apiKeyHelper"] = wanted["apiKeyHelper"]
    return result


def write_settings(path: Path, wanted: dict[str, Any]) -> Written:
    """Merge `wanted` into the file; a file that says so already stays as it is.

    Raises:
        ConfigError: the file is not a JSON object, or cannot be written; it is unchanged then.

    """
    before, current = _read(path)
    result = merged(current, wanted)
    if before and result == current:
        write_private(path, before)
        return Written(path, None)
    backup = None
    if before:
        backup = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}.backup")
        write_private(backup, before)
    write_private(path, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    return Written(path, backup)


def write_private(path: Path, content: bytes) -> None:
    """Create or replace the file in one step, mode 0600. Raises ConfigError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ConfigError(f"It cannot be written: {error.strerror}.", where=str(path)) from error


def _read(path: Path) -> tuple[bytes, dict[str, Any]]:
    """The file's bytes and the object in it; nothing when there is no file."""
    try:
        content = path.read_bytes()
        current = msgspec.json.decode(content) if content.strip() else {}
    except FileNotFoundError:
        return b"", {}
    except OSError as error:
        raise ConfigError(f"It cannot be read: {error.strerror}.", where=str(path)) from error
    except (msgspec.DecodeError, RecursionError) as error:
        message = f"It is not valid JSON ({error}). Correct it first; nothing was changed."
        raise ConfigError(message, where=str(path)) from error
    if not isinstance(current, dict):
        raise ConfigError("It must hold a JSON object. Nothing was changed.", where=str(path))
    return content, current
