"""Plays a rendered answer to the client at its pace, with pings in the silences and with the fault it was given."""

import asyncio

import msgspec

from ai_platform.simulator import wire
from ai_platform.simulator.asgi import Outlet
from ai_platform.simulator.errors import DEFAULT_MESSAGES, ClientGone, error_type
from ai_platform.simulator.faults import Fault, FaultKind
from ai_platform.simulator.ledger import Outcome
from ai_platform.simulator.pacer import Pacer

_BREATH = 32
"""Writes between two chances for the rest of the loop when a stream runs without a pace."""


_NOTICE_SECONDS = 0.5
"""A client that leaves is noticed within this time; faster streams notice it at their next event."""


class Tempo(msgspec.Struct, frozen=True):
    """interval: seconds between writes, 0 = none. group: events per write. chunk: largest piece in bytes, 0 = whole."""

    interval: float = 0.0
    group: int = 1
    chunk: int = 0
    ping: float = 15.0


class Player:
    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer

    async def play(self, outlet: Outlet, frames: list[bytes], tempo: Tempo, fault: Fault | None) -> tuple[int, Outcome]:
        """Write the frames and end the answer; (events written, how it ended). Returns early when the client leaves."""
        if fault is None:
            sent = await self._run(outlet, frames, tempo)
            if sent < len(frames) or outlet.gone:
                return sent, Outcome.CUT_BY_CLIENT
            await outlet.finish()
            return sent, Outcome.COMPLETE
        head = frames[: fault.after_events]
        sent = await self._run(outlet, head, tempo)
        if sent < len(head) or outlet.gone:
            return sent, Outcome.CUT_BY_CLIENT
        return await self._strike(outlet, frames, tempo, fault)

    async def _strike(self, outlet: Outlet, frames: list[bytes], tempo: Tempo, fault: Fault) -> tuple[int, Outcome]:
        sent = min(fault.after_events, len(frames))
        match fault.kind:
            case FaultKind.STALL:
                await outlet.wait_gone()
                return sent, Outcome.CUT_BY_CLIENT
            case FaultKind.MALFORMED:
                await outlet.write(wire.BROKEN)
                sent += await self._run(outlet, frames[sent:], tempo)
                if sent < len(frames):
                    return sent, Outcome.CUT_BY_CLIENT
                await outlet.finish()
                return sent, Outcome.COMPLETE
            case FaultKind.SSE_ERROR:
                message = fault.message or DEFAULT_MESSAGES.get(fault.status, "Simulated failure")
                await outlet.finish(wire.error(fault.error_type or error_type(fault.status), message))
            case _:
                await outlet.hang_up(reset=fault.kind is FaultKind.RESET)
        return sent, Outcome.CUT_BY_FAULT

    async def _run(self, outlet: Outlet, frames: list[bytes], tempo: Tempo) -> int:
        """How many frames were written before the client left."""
        if tempo.group > 1:
            return await self._run_grouped(outlet, frames, tempo)
        if tempo.interval > 0:
            return await self._run_paced(outlet, frames, tempo)
        for number, frame in enumerate(frames):
            if number % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
            if outlet.gone:
                return number
            await _write(outlet, frame, tempo.chunk)
        return len(frames)

    async def _run_grouped(self, outlet: Outlet, frames: list[bytes], tempo: Tempo) -> int:
        size = tempo.group
        groups = [b"".join(frames[start : start + size]) for start in range(0, len(frames), size)]
        done = await self._run(outlet, groups, msgspec.structs.replace(tempo, group=1))
        return min(done * size, len(frames))

    async def _run_paced(self, outlet: Outlet, frames: list[bytes], tempo: Tempo) -> int:
        send, until, chunk, interval = outlet.send, self._pacer.until, tempo.chunk, tempo.interval
        slow = interval > min(tempo.ping, _NOTICE_SECONDS)
        due = asyncio.get_running_loop().time()
        for number, frame in enumerate(frames):
            if number:
                due += interval
                if slow:
                    await self._ping_until(outlet, due, tempo.ping)
                else:
                    await until(due)
            if outlet.gone:
                return number
            if chunk:
                await _write(outlet, frame, chunk)
            else:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
        return len(frames)

    async def _ping_until(self, outlet: Outlet, due: float, silence: float) -> None:
        loop = asyncio.get_running_loop()
        try:
            while due - loop.time() > silence:
                await outlet.pause(silence)
                await outlet.write(wire.PING)
            await outlet.pause(max(0.0, due - loop.time()))
        except ClientGone:
            return


async def _write(outlet: Outlet, data: bytes, chunk: int) -> None:
    if not chunk:
        await outlet.write(data)
        return
    for start in range(0, len(data), chunk):
        await outlet.write(data[start : start + chunk])
