"""The room's front door: every upstream by name, and `open`, which sends a call along its route."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from ai_platform.domain.call import Answer, Call
from ai_platform.domain.clock import Clock
from ai_platform.domain.route import Route
from ai_platform.upstream.opening import Opening, Surroundings
from ai_platform.upstream.peer import Peer, UpstreamHealth
from ai_platform.upstream.settings import UpstreamsSettings


class Upstream:
    """One per process. Secrets are read here and now, so a missing one stops the start, not the first call.

    environ: where the settings' variables and the proxy variables are looked up.
    sleep, jitter: replaceable so that back-off can be tested without waiting.

    Raises:
        ConfigError: a secret, certificate or proxy that cannot be used; the message says which and how to fix it.

    """

    def __init__(
        self,
        settings: UpstreamsSettings,
        clock: Clock,
        *,
        environ: Mapping[str, str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._peers = {
            upstream.name: Peer(upstream, settings.breaker, clock, environ) for upstream in settings.upstreams
        }
        self._surroundings = Surroundings(self._peers, settings.retry, clock, sleep, jitter)

    def open(self, route: Route, call: Call) -> AbstractAsyncContextManager[Answer]:
        """Send the call to the route's targets in order until one answers; the answer lives inside the context.

        `answer.facts`: target (Target), region (the target's, else the settings'), attempts (list[Attempt]),
        sent_at and first_byte_at (clock.monotonic), reused (bool: a kept connection served it), maybe_billed (bool:
        some attempt may have been executed in vain).
        Leaving the context before the body's end hangs up on the upstream at once. The body's iterator raises
        UpstreamBroken or UpstreamTimeout after the last byte that arrived.

        Raises (on entering; all carry `attempts`):
            UpstreamUnreachable: no target could be asked; retry_after when every breaker is open.
            UpstreamTimeout, UpstreamBroken: the last target's answer did not come, or was not HTTP.
            InvalidCall: the call cannot be written as one unambiguous HTTP request.

        """
        return Opening(self._surroundings, route, call)

    async def close(self) -> None:
        """Hang up on every upstream. Calls under way end with UpstreamUnreachable or UpstreamBroken."""
        await asyncio.gather(*(peer.pool.close() for peer in self._peers.values()))

    def health(self) -> list[UpstreamHealth]:
        """A snapshot per upstream, in the order of the settings."""
        return [peer.health() for peer in self._peers.values()]
