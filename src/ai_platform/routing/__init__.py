"""Where a call goes: which upstreams may serve its model, in which order.

Siblings decide whether (policy), what is inside (protection), whether it is paid for (budget). Below: domain.
"""

from ai_platform.routing.router import Router

__all__ = ["Router"]
