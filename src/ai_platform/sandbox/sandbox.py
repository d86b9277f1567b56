"""Says how a program is run: inside walls, or not at all.

Fails closed: without walls a program that is not trusted does not start (mode `required`, the default). With
`preferred` it does; that is counted (`unwalled`) and said in its log. Above: the wiring. Below: domain.
"""

import asyncio
import base64
import os
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import ConfigError
from ai_platform.sandbox import launcher
from ai_platform.sandbox.journal import Journal, listening
from ai_platform.sandbox.program import SYSTEM_PATH, Limits, Program, check
from ai_platform.sandbox.seccomp import seccomp_filter
from ai_platform.sandbox.settings import Mode, SandboxSettings
from ai_platform.sandbox.walls import (
    FILTER,
    MEGABYTE,
    PASSWD,
    STATE,
    Tools,
    account,
    find_tools,
    home_of,
    user_for,
    walls,
)

_PROBE_SECONDS = 20.0


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """What to start, in a session of its own: no shell, this environment and no other. stderr: a descriptor."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: str | None
    stderr: int


class Sandbox:
    """data: the platform's data folder, which no program may see; states and logs of programs are below it.

    unavailable: why there are no walls here and how to get them, "" when there are; known after `ready`.
    unwalled: programs started without walls although they are not trusted.
    """

    def __init__(
        self,
        settings: SandboxSettings,
        data: Path,
        *,
        clock: Clock,
        clean: Callable[[str], str] = str,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = settings
        self._data = data
        self._clock = clock
        self._clean = clean
        self._environ = os.environ if environ is None else environ
        self._root = os.geteuid() == 0
        self._filter = seccomp_filter()
        self._tools: Tools | None = None
        self._journals: dict[str, Journal] = {}
        self._probing: asyncio.Task[None] | None = None
        self.unavailable = "nobody has looked for one yet"
        self.unwalled = 0

    @property
    def limits(self) -> Limits:
        """Those of the settings."""
        return msgspec.convert(self._settings, Limits, from_attributes=True)

    async def ready(self) -> None:
        """Have it been found out once whether walls can be made here."""
        if self._probing is None:
            self._probing = asyncio.create_task(self.probe(), name="sandbox probe")
        await asyncio.shield(self._probing)

    async def probe(self) -> None:
        """Find out whether walls can be made here, by making some."""
        self._tools, self.unavailable = None, ""
        if self._settings.mode is Mode.OFF:
            self.unavailable = "it is turned off (mcp.sandbox.mode: off)"
        elif sys.platform != "linux":
            self.unavailable = f"it needs bubblewrap, which {sys.platform} does not have"
        elif isinstance(found := find_tools(), str):
            self.unavailable = found
        else:
            self._tools = found
            self.unavailable = await self._try()
            self._tools = None if self.unavailable else found

    def check(self, program: Program) -> None:
        """Raises ConfigError: it cannot or must not be run here; the message says what to change."""
        walled = self.is_walled(program)
        check(program, forbidden=(self._data,), walled=walled)
        if walled:
            self._check_writable(program)
        elif not program.trusted and self._settings.mode is Mode.REQUIRED:
            raise ConfigError(
                f"The server '{program.name}' is not started: it is not trusted, and there is no sandbox, because"
                f" {self.unavailable}. Mend that, connect the server by its URL from a container of its own, mark it as"
                " trusted (it then runs with this platform's rights), or set mcp.sandbox.mode: preferred."
            )

    def is_walled(self, program: Program) -> bool:
        return self._tools is not None and not program.trusted

    @asynccontextmanager
    async def prepared(self, program: Program) -> AsyncGenerator[Prepared]:
        """Entered before a program starts, left when it has ended; its standard error is kept meanwhile.

        Raises:
            ConfigError: it cannot or must not be run here.

        """
        await self.ready()
        self.check(program)
        walled = self.is_walled(program)
        journal = self.journal(program.name)
        async with listening(journal) as stderr:
            self.unwalled += not walled and not program.trusted
            journal.note("starting" if walled or program.trusted else f"starting without a sandbox: {self.unavailable}")
            try:
                yield Prepared(
                    argv=self._command(program),
                    env=self._environment(program),
                    cwd="/" if walled else program.folder or None,
                    stderr=stderr,
                )
            finally:
                journal.note("ended")

    def journal(self, name: str) -> Journal:
        """What the program of this name wrote to standard error, also in earlier lives."""
        if name not in self._journals:
            path = self._data / "mcp" / "logs" / f"{name}.log"
            most = self._settings.log_kb * 1024
            self._journals[name] = Journal(path, most_bytes=most, clock=self._clock, clean=self._clean)
        return self._journals[name]

    def _command(self, program: Program) -> tuple[str, ...]:
        walled = self.is_walled(program)
        order: dict[str, Any] = {"limits": self._rlimits(program), "files": {}, "guard": not walled}
        command = list(program.command)
        if walled and self._tools is not None:
            order["files"][str(PASSWD)] = _text(account(program, root=self._root).encode())
            if self._filter is not None:
                order["files"][str(FILTER)] = _text(self._filter)
            command = walls(
                program,
                program.limits or self.limits,
                self._tools,
                root=self._root,
                state=self._state(program) if program.state else None,
                filtered=self._filter is not None,
            )
        launch = (sys.executable, "-I", "-S", "-B", launcher.__file__)
        return (*launch, str(os.getpid()), msgspec.json.encode(order).decode(), *command)

    def _environment(self, program: Program) -> dict[str, str]:
        """All that the program sees of any environment; nothing of this process is inherited unasked."""
        if walled := self.is_walled(program):
            home = home_of(program)
            own = {"PATH": SYSTEM_PATH, "HOME": home, "TMPDIR": "/tmp", "USER": "server", "LOGNAME": "server"}  # noqa: S108 - inside
        else:
            own = {name: self._environ[name] for name in ("PATH", "HOME", "USER", "LOGNAME") if name in self._environ}
        if program.state:
            own["STATE_DIRECTORY"] = STATE if walled else str(self._state(program))
        return {**own, "LANG": "C.UTF-8", **program.environment}

    def _state(self, program: Program) -> Path:
        folder = self._data / "mcp" / "state" / program.name
        try:
            folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(exist_ok=True, mode=0o700)
            if self._root and self.is_walled(program):
                folder.chmod(0o711)  # bubblewrap, no longer root, must be able to enter it
                os.chown(folder, user_for(program.name), user_for(program.name))
        except OSError as error:
            raise ConfigError(f"The folder {folder} cannot be made: {error.strerror}.") from error
        return folder

    def _check_writable(self, program: Program) -> None:
        """Root's servers are not root inside, which is found out late and without a word otherwise."""
        user = user_for(program.name)
        for text in program.folders.write if self._root else ():
            status = Path(text).stat()
            if status.st_uid != user and not status.st_mode & 0o002:
                raise ConfigError(
                    f"The server '{program.name}' runs as user {user}, who may not change {text}. Run:"
                    f" chown -R {user} {text}"
                )

    def _rlimits(self, program: Program) -> dict[str, int]:
        limits = program.limits or self.limits
        chosen = {
            "CORE": 0,
            "CPU": limits.cpu_seconds,
            "DATA": limits.memory_mb * MEGABYTE,
            "FSIZE": limits.file_mb * MEGABYTE,
            "NOFILE": limits.open_files,
        }
        if self._root and self.is_walled(program):
            chosen["NPROC"] = limits.processes  # takes hold when the program becomes somebody else
        return chosen

    async def _try(self) -> str:
        """Why walls cannot be made here, in bubblewrap's own words; "" when they can."""
        process = await asyncio.create_subprocess_exec(
            *self._command(Program(name="probe", command=("/bin/true",))),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": SYSTEM_PATH},
        )
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                _out, complaint = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            return "bubblewrap does not answer"
        if process.returncode == 0:
            return ""
        words = " ".join(complaint.decode(errors="replace").split())[:300]
        return f"bubblewrap cannot make one here ({words}); in a container, allow it to make namespaces"


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
