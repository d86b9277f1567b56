"""THE FLOW: every call, from either door, takes these steps in this order.

A context manager, so that success, refusal, upstream failure, early stop and a client that hangs up all unwind
through the same lines: one record is always written, a hold is always settled.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import NoReturn

from ai_platform.budget import Budget
from ai_platform.domain.call import Answer, Call, Client, Door, Operation
from ai_platform.domain.errors import Refused, StoreUnavailable
from ai_platform.domain.principal import Credentials, Principal
from ai_platform.gateway.allowance import with_standing
from ai_platform.gateway.book import Book
from ai_platform.gateway.charge import Cashier
from ai_platform.gateway.consent import Consent, as_agreed
from ai_platform.gateway.destinations import Destination
from ai_platform.gateway.results import inspected, with_watched_peer
from ai_platform.gateway.watch import watch
from ai_platform.identity import Authenticator
from ai_platform.policy import Policy, PolicyStore
from ai_platform.protection import Guard


class Gateway:
    """Holds the rooms; keeps nothing of a call. One per process, shared by both doors."""

    def __init__(
        self,
        *,
        identity: Authenticator,
        policies: PolicyStore,
        protection: Guard,
        destinations: Mapping[Door, Destination],
        consent: Consent,
        cashier: Cashier,
        budget: Budget,
        book: Book,
    ) -> None:
        self._identity = identity
        self._policies = policies
        self._protection = protection
        self._destinations = destinations
        self._consent = consent
        self._cashier = cashier
        self._budget = budget
        self._book = book

    async def knows(self, credentials: Credentials, client: Client) -> bool:
        """Whether these credentials are good now, asked before much is read from a caller. `handle` and `turn_away`
        ask again, and record the answer.
        """
        try:
            await self._identity.authenticate(credentials, client)
        except (Refused, StoreUnavailable):
            return False
        return True

    async def recognise(self, credentials: Credentials, client: Client) -> Principal:
        """Who these credentials belong to, for what takes no flow: lists, subscriptions, sessions.

        Raises:
            Unauthenticated: it is not recorded here, but by `turn_away`. StoreUnavailable.
        """
        return await self._identity.authenticate(credentials, client)

    @property
    def policy(self) -> Policy:
        """The policy in force, for lists of what a caller may use."""
        return self._policies.current

    async def turn_away(self, call: Call, error: Refused) -> NoReturn:
        """Record a call that its door cannot take, and raise `error`; who is not known here is told that instead."""
        async with self._book.open(call) as record:
            record.caller = await self._identity.authenticate(call.credentials, call.client)
            raise error

    @asynccontextmanager
    async def handle(self, call: Call) -> AsyncGenerator[Answer]:
        """Take one call through the flow; the answer's body is already watched.

        Raises:
            Refused: and its kinds, when the platform will not do it.
            UpstreamError: no upstream answered.
            AuditUnavailable, StoreUnavailable: nothing is executed that cannot be recorded.
        """
        async with self._book.open(call) as record:
            record.caller = caller = await self._identity.authenticate(call.credentials, call.client)
            record.ended = self._identity.ended.holds
            policy = self._policies.current
            record.decision = decision = policy.decide(caller, call)
            for model in call.head.models[1:]:
                policy.decide(caller, call.for_model(model))
            call = policy.check_input(call)
            destination = self._destinations[call.door]
            record.route = route = destination.choose(caller, call)
            call = await inspected(self._protection, call, record, route)
            call = with_watched_peer(call, record, self._protection, route)
            record.decision = decision = policy.weigh(caller, call, decision, record.findings)
            record.estimate = estimate = self._cashier.estimate(caller, call, route)
            async with self._budget.hold(caller, call, decision.limits, estimate) as record.hold:
                record.approval = await self._consent.granted(caller, call, decision)
                await record.admitted()  # durable, or the call does not happen
                async with destination.open(caller, route, as_agreed(call, record.approval)) as answer:
                    record.answered(answer)
                    if caller.signed_in and call.operation is Operation.MESSAGES_CREATE:
                        answer.headers = with_standing(answer.headers, self._budget.standing(caller, decision.limits))
                    try:
                        yield watch(answer, call, record, self._protection, policy)
                    finally:
                        record.settle()
