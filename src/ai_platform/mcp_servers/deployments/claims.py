"""One deployment per service and environment at a time, also across processes, and what is known of the last one.

A lock file held by `flock` says that somebody deploys; a state file beside it says who, what and with what outcome.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

import msgspec

from ai_platform.domain.errors import StoreUnavailable
from ai_platform.mcp_servers.deployments.plan import Target


class State(msgspec.Struct, frozen=True, kw_only=True):
    """outcome: running, succeeded, failed, timed_out, aborted. group: the process group while it runs."""

    deployment: str
    action: str
    version: str
    user: str
    started: str
    outcome: str = "running"
    seconds: float | None = None
    code: int | None = None
    group: int = 0
    by: str = ""


class Claims:
    """Files in one folder. Names come from the deployments file and are checked there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreUnavailable(f"The state folder {folder} cannot be made: {error.strerror}.") from error

    def take(self, target: Target) -> int | None:
        """A descriptor to give back, None while somebody holds it."""
        path = self._path(target, "lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be opened: {error.strerror or error}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        self._path(target, "abort").unlink(missing_ok=True)
        return descriptor

    def give_back(self, descriptor: int) -> None:
        os.close(descriptor)

    def is_taken(self, target: Target) -> bool:
        try:
            descriptor = os.open(self._path(target, "lock"), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def write(self, target: Target, state: State) -> None:
        """Appears complete or not at all."""
        path = self._path(target, "json")
        draft = path.with_suffix(f".{os.getpid()}")
        try:
            draft.write_bytes(msgspec.json.encode(state))
            draft.replace(path)
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be written: {error.strerror or error}.") from error

    def read(self, target: Target) -> State | None:
        """What is known; a deployment whose process is gone without a word is `interrupted`."""
        try:
            state = msgspec.json.decode(self._path(target, "json").read_bytes(), type=State)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        if state.outcome == "running" and not self.is_taken(target):
            return msgspec.structs.replace(state, outcome="interrupted", group=0)
        return state

    def ask_to_abort(self, target: Target, user: str) -> None:
        """Tells the process that runs it, which may be another one, on whose word it was ended."""
        self._path(target, "abort").write_text(user, encoding="utf-8")

    def who_aborted(self, target: Target) -> str:
        with suppress(FileNotFoundError):
            return self._path(target, "abort").read_text(encoding="utf-8")
        return ""

    def _path(self, target: Target, ending: str) -> Path:
        return self._folder / f"{target.file_name}.{ending}"
