"""What tests of the prompt library share: asking for a prompt, and a GitHub on loopback."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

from mcp import Client
from mcp_types import PromptReference


async def filled(client: Client, prompt: str, **arguments: str) -> str:
    result = await client.get_prompt(prompt, arguments)
    (message,) = result.messages
    assert message.role == "user"
    return message.content.text


async def offered(client: Client, prompt: str, argument: str, typed: str) -> list[str]:
    reference = PromptReference(name=prompt)
    return (await client.complete(reference, {"name": argument, "value": typed})).completion.values


class FakeGitHub:
    """Answers by path; notes who asked for what."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, str]] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path = head.split()[1]
                self.asked.append((path, head.lower().partition("authorization: ")[2].partition("\r")[0]))
                status, body = self.answers.get(path, (404, {"message": "Not Found"}))
                data = json.dumps(body).encode()
                more = f"location: {body}\r\n" if status == 302 else ""
                writer.write(f"HTTP/1.1 {status} X\r\n{more}content-length: {len(data)}\r\n\r\n".encode() + data)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def github() -> AsyncGenerator[tuple[FakeGitHub, list[str]]]:
    fake = FakeGitHub()
    server = await asyncio.start_server(fake.answer, "127.0.0.1", 0)
    async with server:
        api = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v3"
        yield fake, ["--github", "acme/shop", "--github-api", api, "--github-token-env", "GH"]
