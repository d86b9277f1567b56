"""One check of the suite, what it may use, and how it says what went wrong."""

from collections.abc import Awaitable, Callable
from itertools import count, cycle

import msgspec

from ai_platform.conformance.client import Answer, Request, connected
from ai_platform.conformance.traffic import bearer, fields
from ai_platform.conformance.upstream import Recorded, RecordingUpstream, Script
from ai_platform.conformance.wire import Fields, Head

_AROUND = 24


class Mismatch(Exception):
    """The gateway did not do what the case asks for; the message says what was seen instead."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway under test.

    url: its base address, with a path prefix if it has one. key: a credential it accepts.
    model: a model it serves. refused_model: a model it must refuse. refused_texts: texts it must refuse, used in turn
    (a gateway may refuse a text at first sight and redact it later: give several).
    seconds: longest wait for anything that should happen at once.
    """

    url: str
    key: str
    model: str = "claude-sonnet-5-5"
    refused_texts: tuple[str, ...] = ()
    refused_model: str = ""
    seconds: float = 10.0


class Lab:
    """What a case works with: the target, the recording upstream behind it, and markers that keep cases apart."""

    def __init__(self, target: Target, upstream: RecordingUpstream | None) -> None:
        self.target = target
        self._upstream = upstream
        self._numbers = count(1)
        self._refused = cycle(target.refused_texts)

    @property
    def upstream(self) -> RecordingUpstream:
        assert self._upstream is not None, "a case that needs the upstream ran without one"
        return self._upstream

    @property
    def model(self) -> str:
        return self.target.model

    def marker(self, name: str) -> str:
        """A text for the body by which the upstream knows the request; no two are alike."""
        return f"conformance-{name}-{next(self._numbers)}"

    def refused_text(self) -> str:
        """The next text that must be refused."""
        return next(self._refused)

    def fields(self, credential: Fields | None = None, *, extra: Fields | None = None) -> Fields:
        """Claude Code's header with the target's key (or another credential)."""
        return fields(bearer(self.target.key) if credential is None else credential, extra=extra)

    async def call(self, request: Request) -> Answer:
        """Send on a connection of its own and read the whole answer."""
        async with connected(self.target.url) as connection:
            return await (await connection.send(request)).rest()

    async def through(self, marker: str, request: Request, script: Script) -> tuple[Answer, Recorded]:
        """Send, let the upstream answer by `script`; the answer and the (last) request that reached the upstream."""
        self.upstream.expect(marker, script)
        answer = await self.call(request)
        return answer, self.arrived(marker, answer)

    def arrived(self, marker: str, answer: Answer | None = None) -> Recorded:
        """The request that reached the upstream.

        Raises:
            Mismatch: none did; the message shows what the gateway answered itself.

        """
        requests = self.upstream.requests(marker)
        if not requests:
            said = f"; it answered {answer.status}: {text(answer.raw[:200])}" if answer else ""
            raise Mismatch(f"the request never reached the upstream{said}")
        return requests[-1]


Check = Callable[[Lab], Awaitable[None]]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """id: stable, `area-what`. why: what Claude Code does otherwise. source: where the demand comes from.

    weight: 3 a session breaks, 2 something is lost or shown wrongly, 1 good manners.
    needs: "upstream" (only with the suite's own upstream), "refused_text" / "refused_model" (only when given).
    """

    id: str
    title: str
    why: str
    source: str
    check: Check
    weight: int = 2
    needs: tuple[str, ...] = ("upstream",)


def text(data: bytes) -> str:
    """Bytes for a message to a person: readable, on one line."""
    return data.decode("utf-8", "replace").replace("\r", "\\r").replace("\n", "\\n")


def same_bytes(what: str, sent: bytes, got: bytes) -> None:
    """Raises Mismatch with the place of the first difference."""
    if sent == got:
        return
    at = next((i for i, (a, b) in enumerate(zip(sent, got, strict=False)) if a != b), min(len(sent), len(got)))
    start = max(0, at - _AROUND)
    raise Mismatch(
        f"{what} differs at byte {at} ({len(sent)} bytes sent, {len(got)} arrived):"
        f" sent …{text(sent[start : at + _AROUND])}…, got …{text(got[start : at + _AROUND])}…"
    )


def expect(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - reads as a sentence: expect(x == y, "...")
    if not holds:
        raise Mismatch(otherwise)


def expect_status(answer: Answer, *wanted: int) -> None:
    if answer.status not in wanted:
        names = " or ".join(str(status) for status in wanted)
        raise Mismatch(f"status {answer.status} instead of {names}: {text(answer.raw[:200])}")


def expect_whole(answer: Answer) -> None:
    expect(answer.complete, "the answer was cut off")


def expect_field(what: str, head: Head, name: bytes, wanted: bytes) -> None:
    """The field arrives once, with exactly this value."""
    values = head.all(name.lower())
    if values != [wanted]:
        shown = "was dropped" if not values else f"arrived as {' and '.join(text(value) for value in values)}"
        raise Mismatch(f"{what} {name.decode()}: {text(wanted)} {shown}")
