"""The room's front door: a call asks for consent and waits, approvers decide, the consent is used up by the call.

Fails closed: what cannot be looked up, recorded or checked anew is not granted. Below: register (rows), who, waiting.
"""

from collections.abc import Awaitable, Callable
from typing import NoReturn, Protocol

from ai_platform.approvals.register import Register
from ai_platform.approvals.request import OPEN, Ask, Asker, Request, State
from ai_platform.approvals.settings import ApprovalSettings
from ai_platform.approvals.shown import Shown
from ai_platform.approvals.waiting import Waiting
from ai_platform.approvals.who import Makers, is_approver, person_of, why_not
from ai_platform.approvals.wording import denied, needed, over_the_limit, void
from ai_platform.domain.approval import Approval, Covers
from ai_platform.domain.clock import Clock
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import Denied, InvalidCall, NotFound
from ai_platform.domain.identifiers import new_id
from ai_platform.domain.permission import Permission
from ai_platform.domain.principal import Principal
from ai_platform.stores.postgres import Database, SystemDatabase

Standing = Callable[[str, str, str | None], Awaitable[Principal | None]]
"""(tenant, principal id, key id) -> who that is now; None when the key, the sign-in or the person is no more."""


class Witness(Protocol):
    """Who records and announces. Each is durable on return.

    Raises:
        AuditUnavailable: it could not be recorded.
    """

    async def asked(self, request_id: str, ask: Ask, expires_at: float) -> None: ...

    def announced(self, request: Request) -> None: ...

    async def decided(self, request: Request, by: Principal) -> None: ...

    async def ended(self, request: Request, state: State) -> None: ...


class Approvals:
    """asked, used: counters. waiting: calls that wait here now."""

    def __init__(
        self,
        database: Database,
        settings: ApprovalSettings,
        clock: Clock,
        *,
        key: bytes,
        seal: bytes,
        witness: Witness,
        makers: Makers,
        standing: Standing,
    ) -> None:
        """key, seal: 32 bytes each, shared by all replicas: for hashes of addresses, and for what is shown."""
        self.settings = settings
        self.asked = 0
        self.used = 0
        self._register = Register(database)
        self._clock = clock
        self._key = key
        self._shown = Shown(seal)
        self._witness = witness
        self._makers = makers
        self._standing = standing
        self._waiting = Waiting(settings, clock, self._expired)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def run(self, system: SystemDatabase) -> NoReturn:
        """Look for decisions made elsewhere and end what is over, until cancelled."""
        await self._waiting.run(system)

    async def granted(self, ask: Ask, asker: Asker) -> Approval:
        """Consent to exactly this call, used up by it.

        Raises:
            ApprovalNeeded: nobody has agreed yet (and nobody did within the time a call may wait).
            Denied: somebody said no, or the consent does not hold any more.
            RateLimited: too many requests of this person wait.
            StoreUnavailable, AuditUnavailable.

        """
        request = await self._open(ask, asker)
        until = self._clock.monotonic() + self.settings.wait_seconds
        while True:
            if request.state is State.APPROVED:
                return await self._used(request, ask, asker)
            if request.state is State.DENIED:
                raise denied(request)
            if request.state is not State.PENDING or request.expires_at <= self._clock.now():
                raise needed(request, self.settings, over=True)
            if not asker.waits or self._clock.monotonic() >= until:
                raise needed(request, self.settings)
            await self._waiting.wait(request, until, asker.tell)
            request = await self._get(ask.caller.tenant, request.id)

    async def list(self, principal: Principal, *, every: bool = False) -> list[Request]:
        """What concerns the caller, newest first: own requests, those they may decide, everybody's with the right to
        read them. every: also those that are over.
        """
        states = tuple(State) if every else tuple(OPEN)
        found = await self._register.list(principal.tenant, states)
        now = self._clock.now()
        return [
            request
            for request in found
            if self._concerns(principal, request) and (every or (request.state in OPEN and request.expires_at > now))
        ]

    async def get(self, principal: Principal, request_id: str) -> tuple[Request, str]:
        """A request with what is shown of it. Raises InvalidCall when there is none that concerns the caller."""
        request = await self._get(principal.tenant, request_id)
        if not self._concerns(principal, request):
            raise _unknown(request_id)
        sealed = await self._register.shown(principal.tenant, request.id)
        return request, self._shown.open(sealed, request.id)

    async def why_not(self, principal: Principal, request: Request) -> str:
        """Why the caller may not decide it, empty when they may."""
        return await why_not(
            principal, request, secret=self._key, makers=self._makers, sign_in=self.settings.require_sign_in
        )

    async def decide(
        self, principal: Principal, request_id: str, *, agree: bool, version: str, note: str = ""
    ) -> Request:
        """Exactly one decision counts. version: of the policy in force now.

        Raises:
            InvalidCall: there is no such request, or it is not open any more.
            Denied: the caller may not decide it.

        """
        request, _ = await self.get(principal, request_id)
        if reason := await self.why_not(principal, request):
            raise Denied(Refusal.PERMISSION_MISSING, reason, rule=request.rule)
        now = self._clock.now()
        if request.state is not State.PENDING or request.expires_at <= now:
            raise self._closed(request)
        if agree and request.policy_version != version:
            await self._end(request)
            raise InvalidCall(
                Refusal.INVALID_REQUEST,
                f"The policy has changed since {request.id} was asked for, so nobody can agree to it any more. The call"
                " has to be made again.",
            )
        minutes = self.settings.session_minutes if request.covers is Covers.SESSION else self.settings.valid_minutes
        decided = await self._register.decide(
            request,
            State.APPROVED if agree else State.DENIED,
            by=principal.id,
            key=principal.key_id,
            note=note.strip()[:500],
            at=now,
            until=now + minutes * 60 if agree else request.expires_at,
        )
        if decided is None:
            raise self._closed(await self._get(principal.tenant, request_id))
        await self._witness.decided(decided, principal)
        self._waiting.wake(request.id)
        return decided

    async def _open(self, ask: Ask, asker: Asker) -> Request:
        """The request for exactly this call: the one there is, or a new one."""
        tenant, now = ask.caller.tenant, self._clock.now()
        found = await self._register.latest(tenant, ask.digest, now)
        if found is not None:
            return found
        if await self._register.pending_of(tenant, ask.caller.id, now) >= self.settings.most_pending:
            raise over_the_limit(ask.demand, self.settings.most_pending)
        shown = await asker.shown()
        request_id = new_id("apr", now)
        until = now + self.settings.pending_minutes * 60
        await self._witness.asked(request_id, ask, until)  # before the row: no request is decided that was not recorded
        made, over = await self._register.add(
            ask,
            request_id,
            person=person_of(self._key, ask.caller),
            shown=self._shown.close(shown, request_id),
            at=now,
            until=until,
        )
        for request in over:
            await self._expired(request)
        request = await self._register.latest(tenant, ask.digest, now)
        if request is None:  # decided and used by another call of the same, between the two statements
            return await self._get(tenant, request_id)
        if made:
            self.asked += 1
            self._witness.announced(request)
        return request

    async def _used(self, request: Request, ask: Ask, asker: Asker) -> Approval:
        """Checked anew at the moment of use: caller and policy are the same, the approver may still decide this, and
        nobody used it before.
        """
        assert request.decided_by is not None
        await asker.check()
        approver = await self._standing(request.tenant, request.decided_by, request.decided_key)
        holds = (
            request.policy_version == ask.policy_version
            and request.approvers == ask.demand.approvers
            and approver is not None
            and approver.id == request.decided_by
            and is_approver(approver, ask.demand.approvers)
        )
        if not holds:
            await self._end(request)
            raise void(request)
        if not await self._register.use(request, ask.digest, ask.call.id, self._clock.now()):
            raise needed(request, self.settings, over=True)
        self.used += 1
        return Approval(id=request.id, rule=request.rule, decided_by=request.decided_by, digest=request.digest.hex())

    async def _end(self, request: Request) -> None:
        if await self._register.end(request):
            await self._witness.ended(request, State.VOID)
            self._waiting.wake(request.id)

    async def _expired(self, request: Request) -> None:
        await self._witness.ended(request, State.EXPIRED)
        self._waiting.wake(request.id)

    async def _get(self, tenant: str, request_id: str) -> Request:
        request = await self._register.get(tenant, request_id)
        if request is None:
            raise _unknown(request_id)
        return request

    def _concerns(self, principal: Principal, request: Request) -> bool:
        return (
            request.principal_id == principal.id
            or principal.may(Permission.APPROVALS_READ)
            or is_approver(principal, request.approvers)
        )

    def _closed(self, request: Request) -> InvalidCall:
        is_over = request.state in OPEN and request.expires_at <= self._clock.now()
        state = State.EXPIRED if is_over else request.state
        return InvalidCall(Refusal.INVALID_REQUEST, f"{request.id} is {state.value} already; it cannot be decided now.")


def _unknown(request_id: str) -> NotFound:
    return NotFound(
        f"There is no approval {request_id[:60]!r} that concerns you. `ai-platform approvals list` shows those."
    )
