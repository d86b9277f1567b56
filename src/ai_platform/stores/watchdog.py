"""Ends a server when the process that owns it is gone, however it went: a shell of about 1 MB behind a pipe.

Works on every Unix; on Linux the launcher's death signal does the same, for the case that somebody forked the pipe.
Above: embedded.
"""

import asyncio
import contextlib
import os

# A line means that the server has stopped; the end of the file means that the owner died.
SCRIPT = """
read -r line && exit 0
kill -INT "$1" 2>/dev/null
n=0
while kill -0 "$1" 2>/dev/null && [ "$n" -lt "$2" ]; do sleep 1; n=$((n + 1)); done
kill -QUIT "$1" 2>/dev/null
"""


class Watchdog:
    """Made by `watch`. Dismiss it once the server has stopped; let go of it to have the server stopped."""

    def __init__(self, process: asyncio.subprocess.Process, pipe: int) -> None:
        self._process = process
        self._pipe = pipe

    async def dismiss(self) -> None:
        if self._pipe >= 0:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._pipe, b"stopped\n")
        self.let_go()
        await self._process.wait()

    def let_go(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


async def watch(pid: int, patience: float) -> Watchdog:
    """Guard the server `pid`: when this process ends, fast shutdown, and after `patience` seconds the immediate one."""
    read_end, write_end = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", SCRIPT, "watchdog", str(pid), str(int(patience))),
            stdin=read_end,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            env={"PATH": os.defpath},
        )
    except BaseException:
        os.close(write_end)
        raise
    finally:
        os.close(read_end)
    return Watchdog(process, write_end)
