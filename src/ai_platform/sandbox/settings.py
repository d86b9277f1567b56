"""Settings of the sandbox room."""

from enum import StrEnum
from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]
Megabytes = Annotated[int, msgspec.Meta(ge=16)]


class Mode(StrEnum):
    REQUIRED = "required"
    PREFERRED = "preferred"
    OFF = "off"


class SandboxSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Limits hold for each local server; a server's own settings may set others.

    mode: `required` refuses to start a server that is not trusted where there is no sandbox, `preferred` starts it
    without walls and says so, `off` never makes walls.
    memory_mb: private memory of each process.
    cpu_seconds: processor time of each process; one that used it up is ended and started again.
    open_files: files and sockets open at once in each process.
    processes: processes and threads of the server together.
    file_mb: size of any file that it writes.
    temporary_mb: size of its private /tmp, and of its /dev/shm.
    log_kb: how much of what it wrote to standard error is kept; the older half goes first.
    """

    mode: Mode = Mode.REQUIRED
    memory_mb: Megabytes = 1024
    cpu_seconds: Count = 3600
    open_files: Count = 512
    processes: Count = 128
    file_mb: Count = 256
    temporary_mb: Count = 128
    log_kb: Count = 512
