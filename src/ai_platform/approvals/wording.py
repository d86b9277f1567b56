"""What a caller reads whose call needs consent: whose, how it is given, and what to do meanwhile."""

from datetime import UTC, datetime

from ai_platform.approvals.request import Request, named
from ai_platform.approvals.settings import ApprovalSettings
from ai_platform.domain.approval import ApprovalDemand, Covers
from ai_platform.domain.decision import Refusal
from ai_platform.domain.errors import ApprovalNeeded, Denied, RateLimited


def needed(request: Request, settings: ApprovalSettings, *, over: bool = False) -> ApprovalNeeded:
    """over: the request, or the consent, is used up or was not decided in time."""
    head = f"{request.what} needs the consent of {named(request.approvers)} (policy '{request.rule}')."
    if over:
        text = f"{head} The request {request.id} is over. Make the call again to ask again."
    else:
        moment = datetime.fromtimestamp(request.expires_at, UTC)
        text = f"{head} The request {request.id} waits for them until {moment:%H:%M} UTC. {_then(request, settings)}"
    error = ApprovalNeeded(Refusal.APPROVAL_REQUIRED, text, rule=request.rule)
    error.id, error.expires_at = request.id, request.expires_at
    return error


def _then(request: Request, settings: ApprovalSettings) -> str:
    how = f"They decide with `ai-platform approvals approve {request.id}`."
    if request.covers is Covers.SESSION:
        return f"{how} After that, go on in this session."
    return f"{how} After that, make exactly the same call again within {settings.valid_minutes:g} minutes."


def denied(request: Request) -> Denied:
    note = f" They say: {request.note}" if request.note else ""
    text = (
        f"{request.what} was not allowed: {request.id} was denied by {named(request.approvers)} (policy"
        f" '{request.rule}').{note} Do not repeat the call; ask them what to change."
    )
    return Denied(Refusal.APPROVAL_DENIED, text, rule=request.rule)


def void(request: Request) -> Denied:
    text = (
        f"The consent to {request.what} ({request.id}) does not hold any more: the policy has changed, or who gave it"
        " may not give it now. Make the call again to ask again."
    )
    return Denied(Refusal.APPROVAL_DENIED, text, rule=request.rule)


def over_the_limit(demand: ApprovalDemand, most: int) -> RateLimited:
    text = (
        f"This call needs the consent of {named(demand.approvers)} (policy '{demand.rule}'), and {most} of your"
        " requests wait already. Wait until some of them are decided (`ai-platform approvals list`)."
    )
    return RateLimited(Refusal.RATE_LIMIT, text, rule="approvals.most_pending", retry_after=300)
