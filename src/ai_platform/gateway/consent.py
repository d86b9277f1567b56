"""What the flow needs of approvals: a call that needs somebody's consent waits for it, here or until it comes again."""

from typing import Protocol

from ai_platform.domain.approval import Approval, OnWait
from ai_platform.domain.call import Call
from ai_platform.domain.decision import Decision
from ai_platform.domain.principal import Principal


class Consent(Protocol):
    async def granted(
        self, caller: Principal, call: Call, decision: Decision, on_wait: OnWait | None = None
    ) -> Approval | None:
        """The last step before a call is made: None when the decision asks for nobody's consent.

        on_wait: the caller can be told that it waits, so that the call waits; without it a call that nobody has agreed
        to is refused at once, and passes when it comes again after that. The consent is used up when this returns.

        Raises:
            ApprovalNeeded: nobody has agreed in time; the request stays open and `id` names it.
            Denied: somebody said no, or the policy changed meanwhile.
            StoreUnavailable, AuditUnavailable: nothing passes that cannot be looked up and recorded.
        """
        ...
