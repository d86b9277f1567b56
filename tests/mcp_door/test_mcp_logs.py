"""Log messages on a line that callers share: they name no call, so they go on only while one call is under way."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, cast

import pytest

from ai_platform.domain.peer import Peer
from ai_platform.mcp.flight import Flight
from ai_platform.mcp.line import Line
from ai_platform.mcp.link import Hello
from ai_platform.testing.eventually import eventually

pytestmark = pytest.mark.anyio

SECRET = {"level": "error", "data": "of the other caller's call"}


class Listener:
    """A client; session: None for one that asked for no log messages."""

    def __init__(self, session: str | None) -> None:
        self.session = session
        self.capabilities: Mapping[str, Any] = {}
        self.log_level = "debug" if session else None
        self.told: list[Any] = []

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        del method
        self.told.append(params["data"])


def nobody(*_: Any) -> None:
    """Hears of changes."""


def line(*, own: bool) -> Line:
    return Line("one", cast("Any", nullcontext), Hello(), own=own, owner=None, heard=nobody)


def boarded(on: Line, session: str | None) -> tuple[Listener, Flight]:
    listener = Listener(session)
    flight = Flight(cast("Peer", listener), may_ask=())
    on.board(flight)
    return listener, flight


async def test_who_listens_is_not_told_of_the_call_of_who_does_not():
    shared = line(own=False)
    alice, _ = boarded(shared, "session of alice")
    _, bobs = boarded(shared, None)
    shared.heard("notifications/message", SECRET)
    shared.leave(bobs)
    shared.heard("notifications/message", {"level": "error", "data": "of alice's own"})
    await eventually(lambda: alice.told)
    assert alice.told == ["of alice's own"]


async def test_who_does_not_listen_is_told_nothing_and_nobody_is_told_without_a_call():
    shared, own = line(own=False), line(own=True)
    silent, _ = boarded(shared, None)
    for each in (shared, own):
        each.heard("notifications/message", SECRET)
    assert silent.told == []


async def test_on_a_line_of_ones_own_the_newest_call_is_told():
    own = line(own=True)
    boarded(own, "session of alice")
    newest, _ = boarded(own, "session of alice")
    own.heard("notifications/message", {"level": "error", "data": "mine"})
    await eventually(lambda: newest.told)
    assert newest.told == ["mine"]
