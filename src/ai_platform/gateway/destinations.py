"""Where the calls of each door go. The flow is one; this is the only thing in which its doors differ."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ai_platform.domain.call import Answer, Call
from ai_platform.domain.principal import Principal
from ai_platform.domain.route import Route
from ai_platform.routing import Router
from ai_platform.upstream import Upstream


class Destination(Protocol):
    def choose(self, caller: Principal, call: Call) -> Route:
        """Who may serve the call, in order. Raises Refused when nobody may."""
        ...

    def open(self, caller: Principal, route: Route, call: Call) -> AbstractAsyncContextManager[Answer]:
        """Carry it out. Raises UpstreamError, Refused."""
        ...


class Models:
    """The destination of the Messages door."""

    def __init__(self, routing: Router, upstream: Upstream) -> None:
        self.choose = routing.choose
        self._upstream = upstream

    def open(self, caller: Principal, route: Route, call: Call) -> AbstractAsyncContextManager[Answer]:
        del caller
        return self._upstream.open(route, call)
