"""The policy in force: found, watched and replaced whole. Never half a policy, never none.

A file that becomes invalid, unreadable or vanishes leaves the last valid version in force (fail static: the error is
kept in `last_error`, counted and reported). At the start there is no last version, so an invalid file stops the start.
Above: gateway, entrypoints. Below: policy.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from pwd import getpwuid

import msgspec

from ai_platform.documents import load, read_text
from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import ConfigError
from ai_platform.domain.principal import Principal
from ai_platform.policy.compile import roles_path
from ai_platform.policy.plan import Catalogue
from ai_platform.policy.policy import Policy
from ai_platform.policy.schema import PolicyFile
from ai_platform.policy.settings import PolicySettings
from ai_platform.policy.view import Spent, Surroundings

BUILT_IN = """\
version: built-in
security:
  pii_detection: {enabled: true, block_on_match: true, alert_security_team: true}
"""
"""In force where no file says otherwise: sensitive data is found and blocked; no usage limits."""


MOST_COUNTED = 1000
"""Rules whose failures are counted one by one, over the life of the process."""


class _Look(msgspec.Struct, frozen=True):
    """What was found on disk. files: the policy file and the roles file it names; contents: None = unreadable."""

    path: Path | None
    files: tuple[Path, ...] = ()
    contents: tuple[str | None, ...] = ()
    outcome: Policy | ConfigError | None = None


class PolicyChange(msgspec.Struct, frozen=True, kw_only=True):
    """A new version in force or, with error, one that was refused while the old stays.

    by: the file's owner (user name, else `uid:N`), the best there is to say who changed it. sha256: of the contents.
    """

    source: str
    before_version: str
    before_sha256: str
    after_version: str
    after_sha256: str
    by: str
    at: float
    error: str = ""


class PolicyStore:
    """current: the version in force. last_error: of the file as it is now, None when it is in force.

    reloads, failures: how often a new version was taken, and refused. undecided: calls refused because a condition
    could not be decided, by rule. spent: who knows what somebody has spent; without it conditions read 0.
    """

    def __init__(
        self,
        settings: PolicySettings,
        data: Path,
        *,
        clock: Clock,
        catalogue: Catalogue | None = None,
        folder: Path | None = None,
        on_change: Callable[[PolicyChange], None] | None = None,
    ) -> None:
        """data: the data folder. folder: the working directory, where `.claude/policies` is looked for.

        Raises:
            ConfigError: the file is not valid, or the one that the settings name does not exist.

        """
        places = [(folder or Path.cwd()) / ".claude/policies/enterprise.yaml", data / "policies/enterprise.yaml"]
        self._places = [settings.file] if settings.file else places
        self._settings = settings
        self._clock = clock
        self._catalogue = catalogue
        self._on_change = on_change
        self._path = settings.file or _first(places)
        self.last_error: ConfigError | None = None
        self.reloads = 0
        self.failures = 0
        self.undecided: Counter[str] = Counter()
        self.spent: Callable[[Principal], Spent] | None = None
        self._surroundings = Surroundings(clock.now, self._spent, self._count_undecided)
        self.current = Policy.load(BUILT_IN, name="built-in", catalogue=catalogue)
        self._seen = _Look(None)
        if self._path is not None:
            self._seen = self._read(self._path)
            self.current = Policy.load(self._path, catalogue=catalogue, surroundings=self._surroundings)
        self.loaded_at = clock.now()

    @property
    def source(self) -> str:
        """The file in force, or `built-in`."""
        return str(self._path) if self._path else "built-in"

    @property
    def version(self) -> str:
        """The version in force; part of it is a hash, so it differs whenever anything does."""
        return self.current.version

    def permissions(self, roles: Iterable[str]) -> frozenset[str]:
        """What the roles allow now (a new roles file changes the answer; `version` then differs)."""
        return self.current.roles.permissions(roles)

    def role_names(self) -> tuple[str, ...]:
        return self.current.roles.names()

    def _spent(self, principal: Principal) -> Spent:
        return self.spent(principal) if self.spent else Spent()

    def _count_undecided(self, rule: str) -> None:
        if rule in self.undecided or len(self.undecided) < MOST_COUNTED:
            self.undecided[rule] += 1

    def check(self, text: str) -> Policy:
        """Compile a text as if it were the policy file, with the roles in force. Raises ConfigError."""
        return Policy.load(text, name="policy", roles=self.current.roles, catalogue=self._catalogue)

    async def run(self) -> None:
        """Look for a change every `poll_seconds` until cancelled. The files are read off the event loop."""
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            if look := await asyncio.to_thread(self._look):
                self._take(look)

    def check_now(self) -> bool:
        """Look for a change once; True when a new version is in force."""
        look = self._look()
        return self._take(look) if look else False

    def _look(self) -> _Look | None:
        """Whole contents, not time stamps: a few kilobytes a second cost nothing and miss no change.

        None when nothing changed. Safe in a thread: it changes nothing.
        """
        path = self._path or _first(self._places)
        seen = self._seen
        if path is None:
            return None if seen.path is None else _Look(None)
        if path == seen.path and _contents(seen.files) == seen.contents:
            return None
        look = self._read(path)  # before compiling: what changes meanwhile is seen the next time
        try:
            outcome: Policy | ConfigError = Policy.load(
                path, catalogue=self._catalogue, surroundings=self._surroundings
            )
        except ConfigError as error:
            outcome = error
        return msgspec.structs.replace(look, outcome=outcome)

    def _read(self, path: Path) -> _Look:
        files = (path, *_companions(path, self._seen))
        return _Look(path, files, _contents(files))

    def _take(self, look: _Look) -> bool:
        self._seen = msgspec.structs.replace(look, outcome=None)
        if look.path is None or look.outcome is None:  # the only file there was, never in force, is gone
            self.last_error = None
            return False
        before = self.current
        if isinstance(look.outcome, ConfigError):
            self.failures += 1
            self.last_error = look.outcome
            self._report(look, before, str(look.outcome))
            return False
        self.last_error = None
        self._path = look.path
        if look.outcome.sha256 == before.sha256:
            return False
        self.current = look.outcome
        self.reloads += 1
        self.loaded_at = self._clock.now()
        self._report(look, before, "")
        return True

    def _report(self, look: _Look, before: Policy, error: str) -> None:
        if self._on_change is None or look.path is None:
            return
        refused = hashlib.sha256("".join(text or "" for text in look.contents).encode()).hexdigest()
        self._on_change(
            PolicyChange(
                source=str(look.path),
                before_version=before.version,
                before_sha256=before.sha256,
                after_version="" if error else self.current.version,
                after_sha256=refused if error else self.current.sha256,
                by=_owner(look.path),
                at=self._clock.now(),
                error=error,
            )
        )


def _first(places: list[Path]) -> Path | None:
    return next((path for path in places if _exists(path)), None)


def _exists(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be entered: there may be a policy in it, so it is not passed over
        return True


def _companions(path: Path, before: _Look) -> tuple[Path, ...]:
    """The roles file that the policy names now; while the policy cannot be read, the one it named before."""
    try:
        named = roles_path(load(path, PolicyFile), path.parent)
    except ConfigError:
        return before.files[1:]
    return () if named is None else (named,)


def _contents(files: Iterable[Path]) -> tuple[str | None, ...]:
    return tuple(_content(path) for path in files)


def _content(path: Path) -> str | None:
    try:
        return read_text(path)
    except ConfigError:
        return None


def _owner(path: Path) -> str:
    try:
        uid = path.stat().st_uid
    except OSError:
        return "unknown"
    try:
        return getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"
