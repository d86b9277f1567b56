"""Carries deployments out: permission, audit, claim, command, outcome. One flow for deploy and rollback.

A deployment belongs to the server, not to the call that asked for it: a client that hangs up does not leave a service
half deployed. It ends by itself, by its deadline, by `abort`, or with the server.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import AuditUnavailable, Denied, InvalidCall, PlatformError, StoreUnavailable
from ai_platform.domain.event import EventType
from ai_platform.domain.identifiers import new_id
from ai_platform.mcp_servers.caller import Caller
from ai_platform.mcp_servers.deployments.claims import Claims, State
from ai_platform.mcp_servers.deployments.journal import Journal
from ai_platform.mcp_servers.deployments.notify import Notifier
from ai_platform.mcp_servers.deployments.plan import Plan, Target, filled, is_version, visible_environment
from ai_platform.mcp_servers.deployments.process import Ended, end_group, start

Heard = Callable[[str], Awaitable[None]]
ABORT_SECONDS = 10.0
CLAIM_TRIES = 5


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a deployment ended. outcome: succeeded, failed, timed_out, aborted."""

    deployment: str
    action: str
    service: str
    environment: str
    version: str
    outcome: str
    seconds: float
    code: int | None
    by: str = ""
    tail: tuple[str, ...] = ()


class Request(msgspec.Struct, frozen=True):
    """What somebody asked for. action: deploy or rollback. version: empty for a rollback."""

    action: str
    target: Target
    version: str
    user: str
    id: str

    def facts(self, **more: Any) -> dict[str, Any]:
        return {
            "deployment": self.id,
            "action": self.action,
            "service": self.target.service,
            "environment": self.target.environment,
            "version": self.version,
            "user": self.user,
            **more,
        }


class Operator:
    """refused: attempts that were not carried out; unrecorded: outcomes whose audit line could not be written."""

    def __init__(
        self, plan: Plan, folder: Path, *, journal: Journal, claims: Claims, notifier: Notifier, clock: Clock
    ) -> None:
        self.plan = plan
        self._folder = folder
        self._journal = journal
        self._claims = claims
        self._notifier = notifier
        self._clock = clock
        self._running: dict[Target, asyncio.Task[Outcome]] = {}
        self.refused = 0
        self.unrecorded = 0

    async def carry_out(self, action: str, target: Target, version: str, caller: Caller, heard: Heard) -> Outcome:
        """Deploy or roll back, and wait for the end. heard: awaited for each line of output.

        Raises:
            Denied, InvalidCall: not allowed, not possible, or one is running already.
            AuditUnavailable: the attempt cannot be recorded, nothing was executed.

        """
        request = Request(action, target, version, caller.id, new_id("dep", self._clock.now()))
        if (refusal := self._refusal(request, caller)) is not None:
            raise await self._refuse(request, refusal)
        if (claim := await self._claim(target)) is None:
            busy = InvalidCall(Refusal.INVALID_REQUEST, f"A deployment of {target} is running already.")
            raise await self._refuse(request, busy)
        try:
            await self._journal.write(EventType.TOOL_CALL, request.facts(outcome="started"))
        except BaseException:
            self._claims.give_back(claim)
            raise
        task = asyncio.create_task(self._run(request, claim, heard))
        self._running[target] = task
        task.add_done_callback(lambda _done: self._running.pop(target, None))
        return await asyncio.shield(task)

    async def abort(self, target: Target, caller: Caller) -> bool:
        """End the running deployment, of whichever process. False when none is running.

        Raises:
            Denied: the caller may not deploy there.

        """
        request = Request("abort", target, "", caller.id, "")
        if (refusal := self._refusal(request, caller)) is not None:
            raise await self._refuse(request, refusal)
        with suppress(AuditUnavailable):  # open: an emergency brake must work when the disk is full
            await self._journal.write(EventType.TOOL_CALL, request.facts(outcome="started"))
        if not self._claims.is_taken(target):
            return False
        self._claims.ask_to_abort(target, caller.id)
        state = self._claims.read(target)
        if state is not None and state.outcome == "running" and state.group:
            await end_group(state.group)
        with suppress(TimeoutError):
            async with asyncio.timeout(ABORT_SECONDS):
                while self._claims.is_taken(target):  # noqa: ASYNC110 - another process gives it back
                    await asyncio.sleep(0.02)
        return True

    def states(self, caller: Caller, targets: list[Target]) -> list[tuple[Target, State | None]]:
        """What is known of those the caller may deploy."""
        return [(target, self._claims.read(target)) for target in targets if caller.may(target.permission)]

    async def close(self) -> None:
        """End what is running and wait for its records."""
        running = dict(self._running)
        ends: list[Awaitable[None]] = []
        for target in running:
            self._claims.ask_to_abort(target, "the server's end")
            state = self._claims.read(target)
            if state is not None and state.group:
                ends.append(end_group(state.group))
        await asyncio.gather(*ends)
        if running:
            await asyncio.wait(running.values(), timeout=ABORT_SECONDS)
        await self._notifier.close()

    async def record_refusal(self, action: str, arguments: Any, user: str, reason: str) -> None:
        """An attempt that did not even name a service and environment of the file."""
        self.refused += 1
        facts = {
            "action": action,
            "user": user,
            "outcome": "refused",
            "reason": reason,
            "arguments": str(arguments)[:300],
        }
        await self._journal.write(EventType.CALL_REFUSED, facts)

    def _refusal(self, request: Request, caller: Caller) -> PlatformError | None:
        target = request.target
        if not caller.may(target.permission):
            return Denied(
                Refusal.PERMISSION_MISSING,
                f"{caller.id} may not deploy {target}: the permission {target.permission} is needed.",
            )
        service = self.plan.environments[target.environment][target.service]
        if request.action == "deploy" and not is_version(request.version):
            return InvalidCall(Refusal.INVALID_REQUEST, "The version must look like v1.2.3.")
        if request.action == "rollback" and not service.rollback:
            return InvalidCall(Refusal.INVALID_REQUEST, f"No rollback is set up for {target}.")
        return None

    async def _refuse(self, request: Request, refusal: PlatformError) -> PlatformError:
        self.refused += 1
        facts = request.facts(outcome="refused", reason=str(refusal), version=request.version[:64])
        await self._journal.write(EventType.CALL_REFUSED, facts)
        return refusal

    async def _claim(self, target: Target) -> int | None:
        for _ in range(CLAIM_TRIES):
            if (claim := self._claims.take(target)) is not None:
                return claim
            await asyncio.sleep(0.01)  # somebody may only be looking whether it is taken
        return None

    async def _run(self, request: Request, claim: int, heard: Heard) -> Outcome:
        try:
            ended = await self._execute(request, heard)
            by = self._claims.who_aborted(request.target)
            outcome = Outcome(
                deployment=request.id,
                action=request.action,
                service=request.target.service,
                environment=request.target.environment,
                version=request.version,
                outcome=_word(ended, by),
                seconds=round(ended.seconds, 3),
                code=ended.code,
                by=by,
                tail=ended.tail,
            )
            await self._record(request, outcome)
        finally:
            self._claims.give_back(claim)
        self._notifier.say(sentence(outcome, request.user))
        return outcome

    async def _execute(self, request: Request, heard: Heard) -> Ended:
        target = request.target
        service = self.plan.environments[target.environment][target.service]
        command = filled(service.deploy if request.action == "deploy" else service.rollback, target, request.version)
        environment = visible_environment(self.plan, target, request.version)
        try:
            running = await start(command, self._folder / service.folder, environment, self._clock)
        except OSError as error:
            return Ended(
                None, 0.0, timed_out=False, tail=(f"{command[0]} cannot be started: {error.strerror or error}",)
            )
        try:
            self._claims.write(target, self._state(request, group=running.group))
        except StoreUnavailable:  # closed: what cannot be aborted by others must not run
            await end_group(running.group)
            raise
        if self._claims.who_aborted(target):  # asked for between the claim and the start
            await end_group(running.group)
        return await running.wait(service.timeout_seconds, heard)

    async def _record(self, request: Request, outcome: Outcome) -> None:
        done = msgspec.structs.asdict(outcome)
        facts = request.facts(**{key: done[key] for key in ("outcome", "seconds", "code", "by")})
        try:
            await self._journal.write(EventType.TOOL_RESULT, facts)
        except AuditUnavailable:
            self.unrecorded += 1  # it did happen: the caller must learn the outcome; the attempt itself is on record
        state = self._state(request)
        self._claims.write(
            request.target,
            msgspec.structs.replace(
                state, outcome=outcome.outcome, seconds=outcome.seconds, code=outcome.code, by=outcome.by
            ),
        )

    def _state(self, request: Request, *, group: int = 0) -> State:
        started = datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return State(
            deployment=request.id,
            action=request.action,
            version=request.version,
            user=request.user,
            started=started,
            group=group,
        )


def sentence(outcome: Outcome, user: str) -> str:
    """One line for people."""
    what = f"{outcome.service} {outcome.version}".strip()
    verb = "Deployment of" if outcome.action == "deploy" else "Rollback of"
    by = f" by {outcome.by}" if outcome.by else ""
    code = f" (exit code {outcome.code})" if outcome.outcome == "failed" and outcome.code is not None else ""
    ending = outcome.outcome.replace("_", " ")
    where = f"in {outcome.environment}, asked for by {user},"
    return f"{verb} {what} {where} {ending}{by}{code} after {outcome.seconds:.1f} s."


def _word(ended: Ended, aborted_by: str) -> str:
    if aborted_by and ended.code != 0:
        return "aborted"
    if ended.timed_out:
        return "timed_out"
    return "succeeded" if ended.code == 0 else "failed"
