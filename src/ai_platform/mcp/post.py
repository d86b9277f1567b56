"""Requests to a stateless server at an address: each is one POST and its answer, in the task of whoever asks.

The SDK's dispatcher and transport carry what outlives a request: sessions, standing streams, answers to servers. Here
nothing does, so that no queue and no task of its own is needed, and closing the answer is what cancels (specification
2026-07-28, basic/transports). Above: link. Below: wire.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any, cast

import httpx2
import pydantic_core
from mcp.shared.dispatcher import CallOptions, ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, INTERNAL_ERROR, INVALID_REQUEST, PARSE_ERROR

from ai_platform.mcp.wire import ServerClient

MOVED = frozenset({307, 308})
_PROGRESS = "notifications/progress"

Heard = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Method and parameters of a notification; progress too."""


class Moved(Exception):
    """The server was not asked: it is at another address, which may be one that the SDK's transport follows to."""


class Posts:
    """longest: bytes of one event of an answer."""

    def __init__(self, client: ServerClient, url: str, *, longest: int) -> None:
        self._wire = client.wire
        self._url = httpx2.URL(url)
        self._headers = dict(client.headers) | {
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
        }
        self._extensions = {"timeout": client.timeout.as_dict()}
        self._longest = longest
        self._numbers = count(1)
        self._under_way: set[asyncio.Timeout] = set()
        self._ended = False

    def end(self) -> None:
        """The connection is over: requests under way fail now, later ones at once."""
        self._ended = True
        for limit in self._under_way:
            if not limit.expired():
                limit.reschedule(0)

    async def ask(self, method: str, params: Mapping[str, Any], options: CallOptions, heard: Heard) -> dict[str, Any]:
        """The result. Raises MCPError: the server's own error, or what stands for no answer, as the SDK's. Moved."""
        if self._ended:
            raise _closed()
        number = next(self._numbers)
        progress = options.get("on_progress")
        if progress is not None:
            params = {**params, "_meta": {**(params.get("_meta") or {}), "progressToken": number}}
        body = pydantic_core.to_json({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        request = httpx2.Request(
            "POST",
            self._url,
            headers=self._headers | dict(options.get("headers") or {}),
            content=body,
            extensions=self._extensions,
        )
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._under_way.add(limit)
                response = await self._wire.handle_async_request(request)
                try:
                    return await self._answer(response, number, progress, heard)
                finally:
                    await response.aclose()
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise _closed() from error
        finally:
            self._under_way.discard(limit)

    async def _answer(
        self, response: httpx2.Response, number: int, progress: ProgressFnT | None, heard: Heard
    ) -> dict[str, Any]:
        if response.status_code in MOVED:
            raise Moved
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code >= 400:
            raise _refused(await _whole(response) if kind == "application/json" else b"")
        if response.status_code >= 300 or response.status_code == 202:
            raise MCPError(PARSE_ERROR, f"Failed to parse JSON response: there is none with {response.status_code}")
        if kind == "application/json":
            return _result(_message(await _whole(response)), number)
        if kind == "text/event-stream":
            return await self._from_events(response, number, progress, heard)
        raise MCPError(INVALID_REQUEST, "Unexpected content type")

    async def _from_events(
        self, response: httpx2.Response, number: int, progress: ProgressFnT | None, heard: Heard
    ) -> dict[str, Any]:
        """What comes before the result is told in its order.

        A server of this era asks its client nothing on the way: one that does would wait for an answer that has no way
        to it, so its call fails now, not at its time limit.
        """
        try:
            async for event in httpx2.EventSource(response, max_event_size=self._longest):
                if event.event != "message" or not event.data:
                    continue
                message = _message(event.data)
                if "method" not in message:
                    return _result(message, None)
                if "id" in message:
                    raise MCPError(CONNECTION_CLOSED, "SSE stream holds a request of the server")
                await _tell(message, number, progress, heard)
        except httpx2.SSEError as error:
            raise MCPError(CONNECTION_CLOSED, f"SSE stream failed: {error}") from error
        raise MCPError(CONNECTION_CLOSED, "SSE stream ended without a response")


async def _whole(response: httpx2.Response) -> bytes:
    return b"".join([chunk async for chunk in cast("httpx2.AsyncByteStream", response.stream)])


def _closed() -> MCPError:
    return MCPError(CONNECTION_CLOSED, "Connection closed")


def _message(text: str | bytes) -> dict[str, Any]:
    """The parser is the SDK's: numbers keep their digits. Raises MCPError for what is no message."""
    try:
        message = pydantic_core.from_json(text)
    except ValueError as error:
        raise MCPError(PARSE_ERROR, "Failed to parse JSON response") from error
    if not isinstance(message, dict) or cast("dict[str, Any]", message).get("jsonrpc") != "2.0":
        raise MCPError(PARSE_ERROR, "Failed to parse JSON response")
    return cast("dict[str, Any]", message)


def _result(message: dict[str, Any], number: int | None) -> dict[str, Any]:
    """number: of the request that must be answered; None: the answer came on the request's own stream."""
    if "error" in message:
        raise _error(message) or MCPError(PARSE_ERROR, "Failed to parse JSON response")
    result = message.get("result")
    if not isinstance(result, dict) or (number is not None and str(message.get("id")) != str(number)):
        raise MCPError(PARSE_ERROR, "Failed to parse JSON response")
    return cast("dict[str, Any]", result)


def _refused(body: bytes) -> MCPError:
    """The server's own error in an answer that is no success, or one that stands for it."""
    stand_in = MCPError(INTERNAL_ERROR, "Server returned an error response")
    try:
        return _error(_message(body)) or stand_in
    except MCPError:
        return stand_in


def _error(message: dict[str, Any]) -> MCPError | None:
    error = message.get("error")
    if not isinstance(error, dict):
        return None
    said = cast("dict[str, Any]", error)
    code, text = said.get("code"), said.get("message")
    if not isinstance(code, int) or isinstance(code, bool) or not isinstance(text, str):
        return None
    return MCPError(code, text, said.get("data"))


async def _tell(message: dict[str, Any], number: int, progress: ProgressFnT | None, heard: Heard) -> None:
    method, said = message["method"], message.get("params")
    params = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    if not isinstance(method, str):
        return
    await heard(method, params)  # which counts them all
    if method != _PROGRESS:
        return
    done, text = _finite(params.get("progress")), params.get("message")
    if progress is None or str(params.get("progressToken")) != str(number) or done is None:
        return
    await progress(done, _finite(params.get("total")), text if isinstance(text, str) else None)


def _finite(value: Any) -> float | None:
    """None for what is no number, or none that a float can be."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
