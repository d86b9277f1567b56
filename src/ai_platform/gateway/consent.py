"""The step of the flow that needs a person: whose consent the policy wants, asked for, waited for and used up.

The last step before a call is made, so that nothing of what was agreed to can change afterwards. Above: pipeline.
Below: the rooms approvals, identity, policy, protection, and the witness that records and announces.
"""

from typing import Any

import msgspec

from ai_platform.approvals import Approvals, Ask
from ai_platform.approvals.digest import digest_of
from ai_platform.domain.approval import Approval
from ai_platform.domain.call import Call, Door
from ai_platform.domain.decision import Decision, Refusal
from ai_platform.domain.errors import Denied
from ai_platform.domain.finding import Action, Direction, ProtectionPlan, RuleAction
from ai_platform.domain.principal import Principal
from ai_platform.identity import Authenticator
from ai_platform.policy import PolicyStore
from ai_platform.policy.prompt import prompts_of
from ai_platform.protection import Guard

STEP = 0.001
"""Progress told while a call waits: it has to grow with each notice, and stay below what the tool itself will tell."""

_PLAIN_META = frozenset({"progressToken", "traceparent", "tracestate"})
_PROTOCOL_META = "io.modelcontextprotocol/"

MOST_PROMPT = 4000
"""Letters of a prompt that an approver is shown."""


class Consent:
    def __init__(
        self, approvals: Approvals, *, identity: Authenticator, policies: PolicyStore, protection: Guard
    ) -> None:
        self._approvals = approvals
        self._identity = identity
        self._policies = policies
        self._protection = protection

    async def granted(self, caller: Principal, call: Call, decision: Decision) -> Approval | None:
        """None when the decision asks for nobody's consent.

        A call whose client is there while it runs (`call.peer`) waits; any other is refused at once, and passes when
        it comes again after somebody has agreed.

        Raises:
            ApprovalNeeded: nobody has agreed yet; the request stays open and `id` names it.
            Denied: somebody said no, or the consent does not hold any more.
            RateLimited: too many requests of this person wait.
            InvalidCall: what is asked for has no single meaning.
            StoreUnavailable, AuditUnavailable: nothing passes that cannot be looked up and recorded.
        """
        demand = decision.approval
        if demand is None:
            return None
        ask = Ask(
            caller=caller,
            call=call,
            demand=demand,
            policy_version=decision.policy_version,
            digest=digest_of(caller, call, demand, decision.policy_version),
        )
        return await self._approvals.granted(ask, _Carrier(self, ask, decision.plan))

    async def check(self, ask: Ask) -> None:
        """While a call waits its key can be revoked, its owner can lose rights and the policy can change: it is
        authenticated and decided anew. Raises Refused.
        """
        now = await self._identity.authenticate(ask.call.credentials, ask.call.client)
        policy = self._policies.current
        if now.id != ask.caller.id or policy.version != ask.policy_version:
            message = f"While this call waited for consent (policy '{ask.demand.rule}'), the policy has changed."
            raise Denied(Refusal.APPROVAL_DENIED, f"{message} Make it again.", rule=ask.demand.rule)
        policy.decide(now, ask.call)

    async def shown(self, ask: Ask, plan: ProtectionPlan) -> bytes:
        """What the approver reads: every finding of every detector is masked, whatever the policy does with it."""
        masking = ProtectionPlan(
            block_on_match=False, actions=(RuleAction(action=Action.REDACT),), custom=plan.custom, version=plan.version
        )
        value = msgspec.json.encode(_asked(ask.call))
        inspection = await self._protection.inspect_value(ask.caller, value, masking, Direction.OUTPUT)
        return inspection.body


def as_agreed(call: Call, approval: Approval | None) -> Call:
    """The call as it is made: what a client wrote into `_meta` beside what every request has there was neither shown
    to the approver nor bound by the digest, so a server does not get it.
    """
    if approval is None:
        return call
    plain = {key: said for key, said in call.meta.items() if key in _PLAIN_META or key.startswith(_PROTOCOL_META)}
    return msgspec.structs.replace(call, meta=plain)


class _Carrier:
    """One call, for as long as it asks."""

    def __init__(self, step: Consent, ask: Ask, plan: ProtectionPlan) -> None:
        self._step = step
        self._ask = ask
        self._plan = plan
        self._told = 0

    @property
    def waits(self) -> bool:
        return self._ask.call.peer is not None

    async def tell(self, sentence: str) -> None:
        self._told += 1
        if self._ask.call.peer is not None:
            await self._ask.call.peer.progress(self._told * STEP, None, sentence)

    async def shown(self) -> bytes:
        return await self._step.shown(self._ask, self._plan)

    async def check(self) -> None:
        await self._step.check(self._ask)


def _asked(call: Call) -> dict[str, Any]:
    if call.door is Door.MCP:
        return {"server": call.head.server, "name": call.head.tool, "parameters": msgspec.Raw(call.body or b"{}")}
    prompts = prompts_of(call)
    newest = next((prompt.newest for prompt in prompts if prompt.newest is not None), None) or ""
    shown = newest[:MOST_PROMPT]
    return {
        "models": list(call.head.models) or [call.head.model],
        "requests": len(prompts),
        "bytes": len(call.body),
        "prompt": f"{shown} ..." if len(newest) > MOST_PROMPT else shown,
    }
