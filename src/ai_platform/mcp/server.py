"""One server behind the door: a call on the right line, with timeout, repetition, circuit breaker and bounds.

Where client and server speak different eras, the questions of the server are carried over here. Above: federation.
Below: line, catalogue, waiting.
"""

import asyncio
import contextlib
import random
from collections.abc import Generator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, cast

import msgspec
from mcp_types import INVALID_PARAMS, INVALID_REQUEST, LOG_LEVEL_META_KEY

from ai_platform.domain.breaker import Breaker, BreakerState
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import (
    Denied,
    InvalidCall,
    Refused,
    UpstreamBroken,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from ai_platform.domain.peer import Peer
from ai_platform.domain.permission import EVERYTHING
from ai_platform.domain.principal import Principal
from ai_platform.mcp.flight import Flight, Question
from ai_platform.mcp.line import Line, Lines, Way
from ai_platform.mcp.link import RpcError, SessionGone
from ai_platform.mcp.settings import McpServerSettings
from ai_platform.mcp.waiting import PREFIX, Owner, Wait, Waits
from ai_platform.mcp.wire import Exchange

MOST_ROUNDS = 10
"""How often a server may ask before it answers."""

REPEAT_SECONDS = 0.2
_ENVELOPE = "io.modelcontextprotocol/"
_OWN = "ai-platform/"
CALLER = f"{_OWN}caller"
"""Key in `_meta` under which a server learns who calls: set here alone; what a client sends under `ai-platform/` is
dropped.
"""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A request for the server. params: without `_meta`. meta: the client's own. repeatable: trying it twice does no
    harm. headers: arguments that are mirrored in header fields.
    """

    method: str
    params: Mapping[str, Any]
    meta: Mapping[str, Any]
    way: Way
    peer: Peer | None
    repeatable: bool = False
    headers: Mapping[tuple[str, ...], str] = {}


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """attempts: how often it was tried. questions: how often the client was asked in between."""

    result: dict[str, Any]
    attempts: int = 1
    questions: int = 0


class Server:
    """calls, waiting: under way now. dropped: notifications that clients did not take."""

    def __init__(self, settings: McpServerSettings, lines: Lines, breaker: Breaker, waits: Waits) -> None:
        self.settings = settings
        self.lines = lines
        self.breaker = breaker
        self.calls = 0
        self.waiting = 0
        self.dropped = 0
        self._waits = waits
        self._gate = asyncio.Semaphore(settings.max_concurrency)

    async def call(self, job: Job) -> Done:
        """The server's result, which may be that it needs input of the client first (`resultType`).

        Raises:
            RpcError: the server answered with an error.
            UpstreamError: no answer; after repetitions where they do no harm.
            Refused: it has too much to do, or there is no credential for it.
        """
        attempt = 1
        while True:
            try:
                result, questions = await self._try(job)
                return Done(result=result, attempts=attempt, questions=questions)
            except UpstreamError as error:
                error.target = error.target or self.settings.name
                if not self._may_repeat(job, error, attempt):
                    raise
            await asyncio.sleep(REPEAT_SECONDS * 2 ** (attempt - 1) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            attempt += 1

    def _may_repeat(self, job: Job, error: UpstreamError, attempt: int) -> bool:
        """Not done for certain: once more. Perhaps done: only what does no harm. Never against an open breaker."""
        if self.breaker.state is BreakerState.OPEN or attempt > self.settings.retries:
            return False
        if isinstance(error, SessionGone):
            return attempt == 1
        return job.repeatable

    async def _try(self, job: Job) -> tuple[dict[str, Any], int]:
        ticket = self.breaker.admit()
        if not ticket:
            raise UpstreamUnreachable(
                f"the MCP server '{self.settings.name}' failed several times in a row and is left alone for now; other"
                " servers are not affected",
                target=self.settings.name,
                retry_after=self.breaker.retry_in(),
            )
        try:
            async with self._place():
                answer = await self._answer(job)
        except RpcError:
            self.breaker.succeed(ticket)  # it is there, and answered
            raise
        except SessionGone:
            self.breaker.release(ticket)
            raise
        except UpstreamError:
            self.breaker.fail(ticket)
            raise
        except BaseException:
            self.breaker.release(ticket)
            raise
        self.breaker.succeed(ticket)
        return answer

    @contextlib.asynccontextmanager
    async def _place(self):  # noqa: ANN202 - an async context manager of None
        """Room for one call, or a refusal when too many wait for it."""
        if self._gate.locked() and self.waiting >= self.settings.max_waiting:
            raise Refused(
                Refusal.OVERLOADED,
                f"The MCP server '{self.settings.name}' already serves {self.settings.max_concurrency} calls and"
                f" {self.waiting} wait. Try again in a moment.",
                rule="max_waiting",
                retry_after=1,
            )
        self.waiting += 1
        try:
            async with asyncio.timeout(self.settings.timeout):
                await self._gate.acquire()
        except TimeoutError as error:
            raise UpstreamTimeout(
                f"the MCP server '{self.settings.name}' was busy for {self.settings.timeout:g} seconds"
            ) from error
        finally:
            self.waiting -= 1
        self.calls += 1
        try:
            yield
        finally:
            self.calls -= 1
            self._gate.release()

    # --- one try ----------------------------------------------------------------------------------------------------

    async def _answer(self, job: Job) -> tuple[dict[str, Any], int]:
        state = job.params.get("requestState")
        if isinstance(state, str) and state.startswith(PREFIX):
            return await self._go_on(job, state)
        flight = Flight(job.peer, self.settings.may_ask)
        held = AsyncExitStack()
        suspended = False
        try:
            line = await held.enter_async_context(self.lines.line(job.way))
            line.board(flight)
            held.callback(line.leave, flight)
            if line.own and job.peer is not None and job.peer.session is None and not line.link.stateless:
                task = asyncio.create_task(self._request(line, flight, job, job.params))
                wait = Wait(owner=self._owner(job), flight=flight, task=task, held=held, questions={})
                suspended = True
                return await self._until_asked(wait)
            return await self._straight(line, flight, job), flight.asked_count
        finally:
            if not suspended:
                self.dropped += flight.dropped
                flight.land()
                await held.aclose()

    async def _straight(self, line: Line, flight: Flight, job: Job) -> dict[str, Any]:
        """Request and result; a client with a session is asked in between what a stateless server wants to know."""
        params = dict(job.params)
        try:
            async with asyncio.timeout(self.settings.timeout) as limit:
                flight.pause = lambda: _paused(limit)
                for _ in range(MOST_ROUNDS):
                    result = await self._request(line, flight, job, params)
                    asks = result.get("resultType") == "input_required"
                    if asks:
                        self._check_questions(flight, result)
                    if not asks or job.peer is None or job.peer.session is None:
                        await flight.flush()
                        return result
                    params |= await self._asked_for(flight, result)
        except TimeoutError as error:
            raise self._too_slow() from error
        raise UpstreamBroken(f"the MCP server '{self.settings.name}' asks without end", sent=True)

    async def _request(self, line: Line, flight: Flight, job: Job, params: Mapping[str, Any]) -> dict[str, Any]:
        link = line.link
        meta = {key: value for key, value in job.meta.items() if not _is_ours(key)}
        if self.settings.tell_caller and job.way.caller is not None:
            meta[CALLER] = told_of(job.way.caller, self.settings.tell_caller)
        if link.stateless and line.own and job.way.log_level is not None:
            meta[LOG_LEVEL_META_KEY] = job.way.log_level
        sent = dict(params) | ({"_meta": meta} if meta else {})
        try:
            return await link.request(
                job.method,
                sent,
                exchange=Exchange(job.way.caller),
                capabilities=job.way.capabilities,
                header_map=job.headers,
                on_progress=flight.progress if "progressToken" in job.meta else None,
            )
        except SessionGone:
            self.lines.drop(line)
            raise

    def _check_questions(self, flight: Flight, result: Mapping[str, Any]) -> None:
        """Raises Denied: the server asks its client for something that its settings do not allow."""
        requests = result.get("inputRequests")
        for request in cast("dict[str, Any]", requests).values() if isinstance(requests, dict) else ():
            method = request.get("method") if isinstance(request, dict) else None
            if not flight.may_be_asked(method):
                raise Denied(
                    Refusal.TOOL_NOT_ALLOWED,
                    f"The MCP server '{self.settings.name}' wants {str(method)[:40]!r} of you in the middle of this"
                    " call, which its setting `may_ask` does not allow.",
                    rule="may_ask",
                )

    async def _asked_for(self, flight: Flight, result: Mapping[str, Any]) -> dict[str, Any]:
        """The client's answers to what a result asks for, as parameters of the next request."""
        requests = result.get("inputRequests")
        answers: dict[str, Any] = {}
        for key, request in cast("dict[str, Any]", requests).items() if isinstance(requests, dict) else ():
            method, params = request.get("method"), request.get("params")
            if flight.peer is None or not isinstance(method, str):
                raise UpstreamBroken(f"the MCP server '{self.settings.name}' asks for nothing known", sent=True)
            flight.asked_count += 1
            with flight.pause():
                answers[key] = await self._told(flight.peer, method, params)
        state = result.get("requestState")
        return {"inputResponses": answers} | ({"requestState": state} if state is not None else {})

    @staticmethod
    async def _told(peer: Peer, method: str, params: Any) -> dict[str, Any]:
        try:
            return await peer.ask(method, params if isinstance(params, dict) else {})
        except InvalidCall as error:
            raise RpcError(INVALID_REQUEST, str(error)) from error

    # --- a call in several requests of the client -------------------------------------------------------------------

    def _owner(self, job: Job) -> Owner:
        assert job.way.caller is not None
        what = {key: value for key, value in job.params.items() if key not in {"inputResponses", "requestState"}}
        return Owner(
            tenant=job.way.caller.tenant,
            caller=job.way.caller.id,
            server=self.settings.name,
            what=msgspec.json.encode([job.method, what], order="deterministic"),
        )

    async def _go_on(self, job: Job, name: str) -> tuple[dict[str, Any], int]:
        """Give the server the answers that the client brought, and wait for what comes of it."""
        wait = self._waits.take(name, self._owner(job))
        if wait is None:
            raise RpcError(
                INVALID_PARAMS,
                "This call does not wait here any more, or belongs to other arguments. Begin it anew, without"
                " requestState.",
            )
        wait.flight.next_leg(job.peer)
        answers = job.params.get("inputResponses")
        for key, answer in cast("dict[str, Any]", answers).items() if isinstance(answers, dict) else ():
            question = wait.questions.pop(key, None)
            if question is not None and not question.answer.done():
                question.answer.set_result(answer if isinstance(answer, dict) else {})
        return await self._until_asked(wait)

    async def _until_asked(self, wait: Wait) -> tuple[dict[str, Any], int]:
        """The result, or the questions that have to be answered before it."""
        kept = False
        try:
            if not wait.questions:
                asking = asyncio.create_task(wait.flight.questions.get())
                try:
                    done, _ = await asyncio.wait(
                        {wait.task, asking}, timeout=self.settings.timeout, return_when=asyncio.FIRST_COMPLETED
                    )
                finally:
                    asked = asking.result() if asking.done() and not asking.cancelled() else None
                    asking.cancel()
                if wait.task in done:
                    await wait.flight.flush()
                    return wait.task.result(), wait.flight.asked_count
                if asked is None:
                    raise self._too_slow()
                _number(wait.questions, asked)
            while not wait.flight.questions.empty():
                _number(wait.questions, wait.flight.questions.get_nowait())
            await wait.flight.flush()
            wait.flight.next_leg(None)
            name = self._waits.keep(wait)
            kept = True
            return _input_required(wait.questions, name), wait.flight.asked_count
        finally:
            if not kept:
                self.dropped += wait.flight.dropped
                await wait.end()

    def _too_slow(self) -> UpstreamTimeout:
        return UpstreamTimeout(
            f"the MCP server '{self.settings.name}' did not answer within {self.settings.timeout:g} seconds",
            target=self.settings.name,
            sent=True,
        )


def _is_ours(key: str) -> bool:
    """Parts of `_meta` that a client does not pass on: the protocol's envelope, and what only the platform says."""
    return key == "progressToken" or key.startswith((_ENVELOPE, _OWN))


def told_of(caller: Principal, prefixes: Sequence[str]) -> dict[str, Any]:
    """What a server is told: a name for its records, and no more permissions than it has a use for."""
    permissions = sorted(one for one in caller.permissions if one == EVERYTHING or one.startswith(tuple(prefixes)))
    return {"id": caller.email or caller.id, "permissions": permissions}


def _number(questions: dict[str, Question], question: Question) -> None:
    number = 1
    while (key := f"q{number}") in questions:
        number += 1
    questions[key] = question


def _input_required(questions: Mapping[str, Question], name: str) -> dict[str, Any]:
    return {
        "resultType": "input_required",
        "inputRequests": {
            key: {"method": question.method, "params": dict(question.params)} for key, question in questions.items()
        },
        "requestState": name,
    }


@contextlib.contextmanager
def _paused(limit: asyncio.Timeout) -> Generator[None]:
    """The server's time does not run while a person thinks."""
    loop = asyncio.get_running_loop()
    left = None if (when := limit.when()) is None else when - loop.time()
    limit.reschedule(None)
    try:
        yield
    finally:
        if not limit.expired():
            limit.reschedule(None if left is None else loop.time() + left)
