"""A server as a program: its process, and its standard input and output as the streams the SDK speaks over.

Messages are lines; one that is too long, or a program that ends, ends the connection. Nothing is left running.
Above: link. Below: asyncio, the SDK's message types.
"""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process, SubprocessStreamProtocol
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import structlog
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter
from pydantic import ValidationError

from ai_platform.domain.errors import UpstreamUnreachable
from ai_platform.mcp.needs import Program

LEAVE_SECONDS = 2.0
"""How long a program may take to end by itself once its input is closed, and again after SIGTERM."""

_log = structlog.get_logger(__name__)

Streams = tuple[Any, Any]
"""The SDK's pair: messages from the server, messages to it."""


@asynccontextmanager
async def running_program(name: str, program: Program, *, longest_line: int) -> AsyncGenerator[Streams]:
    """The program runs while the block does.

    Raises:
        UpstreamUnreachable: it cannot be started.
    """
    loop = asyncio.get_running_loop()
    try:
        transport, protocol = await loop.subprocess_exec(
            lambda: SubprocessStreamProtocol(limit=longest_line, loop=loop),
            *program.argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=program.stderr if program.stderr is not None else asyncio.subprocess.DEVNULL,
            env=program.env,
            cwd=program.cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise UpstreamUnreachable(
            f"The MCP server '{name}' could not be started ({error}). Its `command` must name a program that is"
            " installed here.",
            target=name,
        ) from error
    process = Process(transport, protocol, loop)
    heard, hear = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    say, said = anyio.create_memory_object_stream[SessionMessage](0)
    reading = asyncio.create_task(_read(name, process, heard), name=f"mcp {name} output")
    writing = asyncio.create_task(_write(process, said), name=f"mcp {name} input")
    try:
        yield hear, say
    finally:
        for stream in (hear, say):
            stream.close()
        await _shielded(_end(process, reading, writing))
        transport.close()  # pipes that were not read to their end stay open otherwise


async def _shielded(work: Any) -> None:
    """To its end, also when the caller is being cancelled: a process must not be left behind."""
    task = asyncio.ensure_future(work)
    with anyio.CancelScope(shield=True):
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(task)


async def _read(name: str, process: Process, heard: Any) -> None:
    assert process.stdout is not None
    async with heard:
        while True:
            try:
                line = await process.stdout.readuntil(b"\n")
            except asyncio.LimitOverrunError:
                _log.warning("MCP server sent too long a message", server=name)
                return
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            if not line.strip():
                continue
            try:
                message = jsonrpc_message_adapter.validate_json(line, by_name=False)
            except (ValidationError, ValueError):
                continue  # programs print other things there; whoever waits for an answer has a timeout
            try:
                await heard.send(SessionMessage(message))
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                return


async def _write(process: Process, said: Any) -> None:
    assert process.stdin is not None
    async with said:
        async for message in said:
            line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            try:
                process.stdin.write(line.encode() + b"\n")
                await process.stdin.drain()
            except (ConnectionError, RuntimeError):
                return


async def _end(process: Process, *tasks: asyncio.Task[None]) -> None:
    """Close its input, then ask, then kill, it and all that it started."""
    assert process.stdin is not None
    process.stdin.close()
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await process.wait()
                break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # what it started and left behind
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
