"""The call itself: HTTP to Claude-compatible servers, with pool, deadlines, retries, breaker and failover.

Not the place for prices, policies or logs: it returns an `Answer` with facts. The gateway is above; below are
asyncio, httptools and the adapters (one file per kind of server).
"""

from ai_platform.upstream.client import Upstream
from ai_platform.upstream.peer import UpstreamHealth
from ai_platform.upstream.settings import UpstreamsSettings

__all__ = ["Upstream", "UpstreamHealth", "UpstreamsSettings"]
