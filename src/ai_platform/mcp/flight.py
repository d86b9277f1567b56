"""One call on its way at a server: what the client hears of it meanwhile, and what the server asks the client.

A client with a session is asked at once. One without gets the question as the result of its request, and brings the
answer with its next (2026-07-28, "Multi round-trip requests"); until then the call waits here. Above: server.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_REQUEST

from ai_platform.domain.errors import PlatformError
from ai_platform.domain.peer import Peer
from ai_platform.mcp.settings import Ask

MOST_WAITING = 256
"""Notifications of one call that wait for their client; further ones are dropped."""

MOST_QUESTIONS = 16
FLUSH_SECONDS = 5.0
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")


ASKS = MappingProxyType(
    {
        "elicitation/create": Ask.ELICITATION,
        "roots/list": Ask.ROOTS,
        "sampling/createMessage": Ask.SAMPLING,
    }
)


class Question(msgspec.Struct, frozen=True):
    """What a server asks its client in the middle of a call, and where the answer goes."""

    method: str
    params: Mapping[str, Any]
    answer: asyncio.Future[dict[str, Any]]


class Flight:
    """peer: who called; None for the platform's own requests, which hear nothing. may_ask: of the server's settings.

    dropped: notifications lost because the client did not take them. questions: those that wait for a client without a
    session.
    """

    def __init__(self, peer: Peer | None, may_ask: Sequence[Ask]) -> None:
        self.peer = peer
        self._may_ask = may_ask
        self.dropped = 0
        self.asked_count = 0
        self.questions: asyncio.Queue[Question] = asyncio.Queue(MOST_QUESTIONS)
        self.pause: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
        self._waiting: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue(MOST_WAITING)
        self._telling: asyncio.Task[None] | None = None

    @property
    def wants_logs(self) -> bool:
        return self.peer is not None and (self.peer.session is not None or self.peer.log_level is not None)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        if (peer := self.peer) is not None:
            self._tell(lambda: peer.progress(progress, total, message))

    def heard(self, method: str, params: Mapping[str, Any]) -> None:
        """Pass a notification of the server on. Never waits."""
        peer = self.peer
        if peer is None or (method == "notifications/message" and not _wanted(params, peer)):
            return
        self._tell(lambda: peer.notify(method, params))

    async def asked(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the client. Raises MCPError, which is the server's answer."""
        peer = self.peer
        if peer is None:
            raise MCPError(INVALID_REQUEST, "There is no client to answer this.")
        if not self.may_be_asked(method):
            raise MCPError(INVALID_REQUEST, "This gateway does not let this server ask for that.")
        self.asked_count += 1
        with self.pause():
            if peer.session is not None:
                try:
                    return await peer.ask(method, params)
                except PlatformError as error:
                    raise MCPError(INVALID_REQUEST, str(error)) from error
            question = Question(method, params, asyncio.get_running_loop().create_future())
            try:
                self.questions.put_nowait(question)
            except asyncio.QueueFull:
                raise MCPError(INVALID_REQUEST, "Too many questions are open already.") from None
            return await question.answer

    def may_be_asked(self, method: Any) -> bool:
        """Whether the settings of the server allow this question."""
        return ASKS.get(method) in self._may_ask

    def next_leg(self, peer: Peer | None) -> None:
        """The client came back with its answers, by another request: from now on that one hears of the call."""
        self.peer = peer

    async def flush(self) -> None:
        """Everything told so far is with the client before its result is; one that takes nothing is not awaited."""
        if self._telling is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._waiting.join()
        self._telling.cancel()
        self._telling = None

    def land(self) -> None:
        """The call is over: nothing is told or asked any more."""
        self.peer = None
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        while not self.questions.empty():
            self.questions.get_nowait().answer.cancel()

    def _tell(self, say: Callable[[], Awaitable[None]]) -> None:
        try:
            self._waiting.put_nowait(say)
        except asyncio.QueueFull:
            self.dropped += 1
            return
        if self._telling is None:
            self._telling = asyncio.create_task(self._speak(), name="mcp notifications")

    async def _speak(self) -> None:
        while True:
            say = await self._waiting.get()
            try:
                await say()
            except PlatformError:
                self.dropped += 1  # inspection did not let it pass
            finally:
                self._waiting.task_done()


def _wanted(message: Mapping[str, Any], peer: Peer) -> bool:
    level, least = message.get("level"), peer.log_level
    if least is None:
        return peer.session is not None
    return level in LEVELS and least in LEVELS and LEVELS.index(level) >= LEVELS.index(least)
