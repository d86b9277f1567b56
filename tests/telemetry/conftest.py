"""A webhook receiver on loopback that records what it gets and answers as it is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest


class Delivery(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """answers: raw HTTP answers given in turn (the last one for ever); silent: accepts and never answers."""

    def __init__(self) -> None:
        self.answers = [b"HTTP/1.1 204 No Content\r\n\r\n"]
        self.silent = False
        self.got: list[Delivery] = []
        self.arrived = asyncio.Condition()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/s3cr3t-path"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := (await reader.readline()).decode():
                headers: dict[str, str] = {}
                while line := (await reader.readline()).decode().strip():
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                answer = self.answers[min(len(self.got), len(self.answers) - 1)]
                async with self.arrived:
                    self.got.append(Delivery(request.split()[1], headers, body))
                    self.arrived.notify_all()
                if not self.silent:
                    writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def wait_for(self, count: int) -> list[Delivery]:
        async with asyncio.timeout(5), self.arrived:
            await self.arrived.wait_for(lambda: len(self.got) >= count)
        return self.got


@asynccontextmanager
async def _running() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    yield receiver
    server.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with _running() as it:
        yield it


@pytest.fixture
async def second_receiver() -> AsyncIterator[Receiver]:
    async with _running() as it:
        yield it
