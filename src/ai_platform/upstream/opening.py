"""One call on its way through its targets: try, wait, try again, go to the next, keep score, hand the answer on.

Above: client.py. Below: peer.py (adapter, pool, breaker), retry.py (the decisions). Nothing is repeated once an
answer was handed on: failover happens before the first byte only.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType

from ai_platform.domain.call import Answer, Call, Operation
from ai_platform.domain.clock import Clock
from ai_platform.domain.errors import UpstreamError
from ai_platform.domain.route import Route, Target
from ai_platform.upstream.connection import SLICE
from ai_platform.upstream.decode import DECODABLE, UNCODED, Decoded
from ai_platform.upstream.errors import (
    Attempt,
    BreakerOpen,
    ConnectFailed,
    ConnectionDied,
    Failure,
    Misconfigured,
    Next,
    NotUnderstood,
    Rejected,
)
from ai_platform.upstream.peer import Peer
from ai_platform.upstream.reply import Reply
from ai_platform.upstream.retry import ELSEWHERE, HAND_ON, MAYBE_EXECUTED, Verdict, backoff, judge, repeatable
from ai_platform.upstream.settings import RetrySettings

READABLE = DECODABLE | UNCODED

KEPT_BYTES = 64 * 1024
KEPT_SECONDS = 5.0
"""How much of a failing answer is kept, and waited for, in case nothing better comes."""

_OF_CODED_CONTENT = frozenset({b"content-encoding", b"content-length"})


class Surroundings:
    """What every call shares."""

    __slots__ = ("clock", "jitter", "peers", "retry", "sleep")

    def __init__(
        self,
        peers: Mapping[str, Peer],
        retry: RetrySettings,
        clock: Clock,
        sleep: Callable[[float], Awaitable[None]],
        jitter: Callable[[], float],
    ) -> None:
        self.peers = peers
        self.retry = retry
        self.clock = clock
        self.sleep = sleep
        self.jitter = jitter


class Whole:
    """The body of an answer that was read to its end before it was handed on."""

    __slots__ = ("_content",)

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> "Whole":
        return self

    async def __anext__(self) -> bytes:
        content, self._content = self._content, b""
        if not content:
            raise StopAsyncIteration
        return content


class Opening:
    """The context that `Upstream.open` returns; used once."""

    __slots__ = (
        "_attempts",
        "_call",
        "_kept",
        "_maybe_billed",
        "_noted_at",
        "_now",
        "_peer",
        "_reply",
        "_retry",
        "_route",
        "_sent_at",
        "_shared",
        "_ticket",
    )

    def __init__(self, shared: Surroundings, route: Route, call: Call) -> None:
        self._shared = shared
        self._retry = shared.retry
        self._route = route
        self._call = call
        self._attempts: list[Attempt] = []
        self._maybe_billed = False
        self._kept: Answer | None = None
        self._peer: Peer | None = None
        self._reply: Reply | None = None
        self._ticket = 0
        self._now = shared.clock.monotonic
        self._sent_at = 0.0
        self._noted_at = 0.0

    async def __aenter__(self) -> Answer:
        try:
            return await self._run()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    # -- the targets, in order

    async def _run(self) -> Answer:
        failure: Failure = ConnectFailed("the route has no upstream to ask")
        soonest: float | None = None
        targets = self._route.targets
        for position, target in enumerate(targets, 1):
            peer = self._shared.peers.get(target.name)
            if peer is None:
                failure = Misconfigured(f"no upstream is called {target.name!r} in the settings", target=target.name)
                self._note(target, failure, self._now())
                continue
            ticket = peer.breaker.admit()
            if not ticket:
                wait = peer.breaker.retry_in()
                soonest = wait if soonest is None else min(soonest, wait)
                failure = BreakerOpen(
                    f"upstream {target.name!r} failed repeatedly and is left alone for {wait:.0f} s more",
                    target=target.name,
                )
                self._note(target, failure, self._now())
                continue
            self._peer, self._ticket = peer, ticket
            peer.calls += 1
            outcome = await self._ask(peer, target, more=position < len(targets))
            if isinstance(outcome, Answer):
                return outcome
            failure = outcome
            if failure.then is Next.NOTHING:
                raise self._final(failure)
        if self._kept is not None:
            # Nobody gave anything better than this failing answer: it goes to the caller word for word.
            return self._kept
        failure.retry_after = failure.retry_after if soonest is None else max(1.0, soonest)
        raise self._final(failure)

    def _final(self, failure: Failure) -> Failure:
        failure.attempts = tuple(self._attempts)
        failure.sent = failure.sent or self._maybe_billed
        return failure

    async def _ask(self, peer: Peer, target: Target, *, more: bool) -> Answer | Failure:
        """Try one upstream as often as the settings allow. The last failure: its `then` says whether to go on."""
        most = 1 if peer.breaker.is_probe(self._ticket) else self._retry.attempts
        tries = 0
        while True:
            tries += 1
            try:
                reply = await self._send(peer, target)
            except Failure as error:
                failure, verdict = error, self._after(error, tries, most)
            else:
                verdict = self._about(peer, reply, tries, most)
                if verdict is HAND_ON or (verdict is ELSEWHERE and not more):
                    return self._hand_on(peer, target, reply)
                failure = Rejected(f"upstream {target.name!r} answered {reply.status}", target=target.name)
                failure.health = reply.status in peer.failing
                await self._keep(peer, target, reply)
            if verdict.then is not Next.SAME:
                if failure.health or isinstance(failure, Rejected):
                    self._settle(peer, failed=failure.health)
                else:
                    self._release(peer)
                return failure
            await self._shared.sleep(verdict.delay)

    def _after(self, error: Failure, tries: int, most: int) -> Verdict:
        if error.sent and not repeatable(self._call, self._retry):
            # It may have been executed, with effects: repeating it here or elsewhere is not ours to decide.
            error.then = Next.NOTHING
        if error.then is Next.SAME and tries < most:
            return Verdict(Next.SAME, backoff(tries, self._retry, self._shared.jitter()))
        return HAND_ON if error.then is Next.NOTHING else ELSEWHERE

    def _about(self, peer: Peer, reply: Reply, tries: int, most: int) -> Verdict:
        status = reply.status
        if status < 400:
            return HAND_ON
        if status in peer.failing:
            peer.failed(f"upstream {peer.settings.name!r} answered {status}")
        return judge(
            status,
            reply.headers,
            self._call,
            self._retry,
            tries=tries,
            most=most,
            now=self._shared.clock.now(),
            jitter=self._shared.jitter(),
        )

    # -- one try

    async def _send(self, peer: Peer, target: Target) -> Reply:
        """One try, with the two repeats that cost nothing: a stale kept connection, a key that was just replaced."""
        fresh = renewed = False
        while True:
            version = peer.adapter.credential_version
            started = self._now()
            try:
                reply = await self._exchange(peer, target, started, fresh=fresh)
            except Failure as error:
                self._note(target, error, started)
                if self._is_stale(error) and not fresh:
                    peer.stale += 1
                    fresh = True
                    continue
                if error.health:
                    peer.failed(error)
                raise
            self._note(target, reply, started)
            if reply.status == 401 and not renewed and await peer.adapter.renew(version):
                renewed = True
                reply.close()
                continue
            return reply

    async def _exchange(self, peer: Peer, target: Target, started: float, *, fresh: bool) -> Reply:
        self._reply = None
        self._sent_at = started
        request = peer.adapter.outgoing(self._call, target)
        peer.tries += 1
        connection = None if fresh else peer.pool.take()
        if connection is None:
            connection = await peer.pool.acquire()
            self._sent_at = self._now()
        self._reply = reply = connection.start(request)
        if len(request.body) > SLICE:
            await connection.upload(reply, request.body)
        await reply.head()
        if reply.encoding not in READABLE and not _is_empty(reply):
            reply.close()
            coding = reply.encoding[:40].decode("ascii", "replace")
            raise NotUnderstood(
                f"upstream {target.name!r} compressed its answer with {coding!r} although "
                "`accept-encoding: identity` was sent",
                target=target.name,
                sent=True,
            )
        return reply

    def _is_stale(self, error: Failure) -> bool:
        """The upstream closed a kept connection while the request was on its way to it, most likely unread."""
        return (
            isinstance(error, ConnectionDied)
            and error.silent
            and self._reply is not None
            and self._reply.reused
            and repeatable(self._call, self._retry)
        )

    # -- answers

    def _hand_on(self, peer: Peer, target: Target, reply: Reply) -> Answer:
        if reply.status in peer.failing:
            self._settle(peer, failed=True)
        elif peer.breaker.is_probe(self._ticket):
            # Whether the upstream is back is known now; a long stream must not keep the others waiting.
            self._settle(peer, failed=False)
        return peer.adapter.incoming(self._answer(peer, target, reply))

    def _answer(self, peer: Peer, target: Target, reply: Reply) -> Answer:
        headers, body = reply.headers, reply
        if reply.encoding not in UNCODED and not _is_empty(reply):
            headers = [field for field in headers if field[0] not in _OF_CODED_CONTENT]
            limit = peer.settings.max_response_bytes
            body = Decoded(reply, reply.encoding, limit=limit, name=target.name)
        return Answer(
            reply.status,
            headers,
            body,
            target=target,
            region=target.region or peer.settings.region,
            attempts=self._attempts,
            sent_at=self._sent_at,
            first_byte_at=self._noted_at,
            reused=reply.reused,
            maybe_billed=self._maybe_billed,
        )

    async def _keep(self, peer: Peer, target: Target, reply: Reply) -> None:
        """Read a failing answer that will be repeated, so that it can still be handed on if nothing better comes."""
        answer = self._answer(peer, target, reply)
        content = bytearray()
        try:
            async with asyncio.timeout(KEPT_SECONDS):
                async for chunk in answer.body:
                    content += chunk
                    if len(content) > KEPT_BYTES:
                        break
        except (TimeoutError, UpstreamError):
            reply.close()
            return
        reply.close()
        if len(content) <= KEPT_BYTES:
            answer.body = Whole(bytes(content))
            self._kept = peer.adapter.incoming(answer)

    # -- keeping score

    def _leave(self) -> None:
        reply, peer = self._reply, self._peer
        if self._ticket and peer is not None:
            error = reply.error if reply is not None else None
            if reply is not None and reply.finished:
                self._settle(peer, failed=False)
            elif isinstance(error, Failure) and error.health:
                peer.failed(error)
                self._settle(peer, failed=True)
            else:
                self._release(peer)
        if reply is not None:
            reply.close()

    def _release(self, peer: Peer) -> None:
        peer.breaker.release(self._ticket)
        self._ticket = 0

    def _settle(self, peer: Peer, *, failed: bool) -> None:
        if failed:
            peer.breaker.fail(self._ticket)
        else:
            peer.breaker.succeed(self._ticket)
        self._ticket = 0

    def _note(self, target: Target, outcome: Reply | Failure, started: float) -> None:
        self._noted_at = self._now()
        seconds = self._noted_at - started
        reused = self._reply is not None and self._reply.reused
        costs = self._call.method == "POST" and self._call.operation is not Operation.COUNT_TOKENS
        if isinstance(outcome, Reply):
            attempt = Attempt(
                target=target.name,
                status=outcome.status,
                seconds=seconds,
                reused=reused,
                maybe_billed=costs and outcome.status in MAYBE_EXECUTED,
            )
        else:
            attempt = Attempt(
                target=target.name,
                error=type(outcome).__name__,
                detail=str(outcome),
                seconds=seconds,
                reused=reused,
                maybe_billed=costs and outcome.sent,
            )
        self._attempts.append(attempt)
        self._maybe_billed = self._maybe_billed or attempt.maybe_billed


def _is_empty(reply: Reply) -> bool:
    """Arrived whole without content (HEAD, 204, 304, nothing): there is nothing to uncompress."""
    return reply.finished and not reply.received
