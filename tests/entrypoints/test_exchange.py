"""How many writes an answer takes: its head leaves with the first piece of the body, and never waits for it."""

import asyncio

import pytest

from ai_platform.entrypoints.exchange import Exchange

pytestmark = pytest.mark.anyio


class Line:
    """A connection that keeps what is written to it, piece by piece."""

    is_gone = False

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.done = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def read_on(self) -> None: ...

    async def drain(self) -> None: ...

    def ended(self, exchange: Exchange) -> None:
        assert exchange.is_ended
        self.done = True


def exchange_on(line: Line, method: str = "POST") -> Exchange:
    exchange = Exchange(line, {"method": method, "http_version": "1.1"}, keep=True, expects_continue=False)
    exchange.complete()
    return exchange


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, object]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


async def test_a_whole_answer_is_one_write() -> None:
    line = Line()
    exchange = exchange_on(line)
    await exchange.send(start((b"content-length", b"2")))
    await exchange.send({"type": "http.response.body", "body": b"{}"})
    await asyncio.sleep(0)
    assert line.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"]
    assert line.done


async def test_the_head_of_a_stream_does_not_wait_for_its_first_event() -> None:
    line = Line()
    exchange = exchange_on(line)
    await exchange.send(start())
    await asyncio.sleep(0)
    assert line.writes == [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]
    await exchange.send({"type": "http.response.body", "body": b"one", "more_body": True})
    assert line.writes[1:] == [b"3\r\none\r\n"]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 204)])
async def test_an_answer_without_content_is_its_head(method: str, status: int) -> None:
    line = Line()
    exchange = exchange_on(line, method)
    await exchange.send(start((b"content-length", b"2"), status=status))
    await exchange.send({"type": "http.response.body", "body": b""})
    await asyncio.sleep(0)
    assert len(line.writes) == 1
    assert line.writes[0].endswith(b"\r\n\r\n")
    assert line.done


async def test_a_head_is_written_also_when_its_body_is_refused() -> None:
    line = Line()
    exchange = exchange_on(line)
    await exchange.send(start((b"content-length", b"2")))
    with pytest.raises(ValueError, match="longer than announced"):
        await exchange.send({"type": "http.response.body", "body": b"{} and more"})
    await asyncio.sleep(0)
    assert line.writes == [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"]
    assert not line.done
