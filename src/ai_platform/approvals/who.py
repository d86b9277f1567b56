"""Who may decide a request: one of the named approvers, a person, and nobody about their own.

What is compared to know the same person: the principal (all keys of one address or name are one), the e-mail address
(without case and without a `+tag`), and who made the key: whoever made a key can use it.
"""

import hmac
from collections.abc import Awaitable, Callable

from ai_platform.approvals.request import Request
from ai_platform.domain.principal import Principal, PrincipalKind

Makers = Callable[[str, str], Awaitable[frozenset[str]]]
"""(tenant, key id) -> principals who made this key, or a key of whoever made it, and so on."""


def is_approver(principal: Principal, approvers: tuple[str, ...]) -> bool:
    """`security-team` names a team, a group, a role, an e-mail address or an id; `team:`, `group:`, `role:` and `user:`
    name one kind only. Case differs in all but addresses.
    """
    people = {principal.id, *([principal.email.lower()] if principal.email else [])}
    named = {
        "team": {principal.team} if principal.team else set[str](),
        "group": set(principal.groups),
        "role": set(principal.roles),
    }
    for approver in approvers:
        kind, found, name = approver.partition(":")
        if kind == "user" and found and (name in people or name.lower() in people):
            return True
        if kind in named and found and name in named[kind]:
            return True
        if approver in people or approver.lower() in people or any(approver in names for names in named.values()):
            return True
    return False


def person_of(secret: bytes, principal: Principal) -> bytes | None:
    """Keyed hash of the person's address, so that the address itself need not be kept. None without one."""
    if not principal.email or "@" not in principal.email:
        return None
    local, _, domain = principal.email.strip().casefold().rpartition("@")
    return hmac.digest(secret, f"{local.partition('+')[0]}@{domain}".encode(), "sha256")


async def why_not(principal: Principal, request: Request, *, secret: bytes, makers: Makers, sign_in: bool) -> str:
    """Why this principal may not decide the request, as a sentence; empty when they may.

    Raises:
        StoreUnavailable: it cannot be looked up (fails closed).

    """
    if principal.kind is not PrincipalKind.PERSON:
        return "A service account cannot give consent; a person has to."
    if sign_in and not principal.signed_in:
        return "Consent is given by people who signed in, not with a platform key (approvals.require_sign_in)."
    if not is_approver(principal, request.approvers):
        return f"You are none of those who may decide this: {', '.join(request.approvers)}."
    own = "Nobody decides about their own call"
    if principal.id == request.principal_id:
        return f"{own}: this one is yours."
    person = person_of(secret, principal)
    if person is not None and request.person is not None and hmac.compare_digest(person, request.person):
        return f"{own}: this one was made with your e-mail address."
    if principal.key_id and request.principal_id in await makers(request.tenant, principal.key_id):
        return f"{own}: whoever asks made the key that you use. Sign in, or use a key that somebody else made."
    if request.key_id and principal.id in await makers(request.tenant, request.key_id):
        return f"{own}: you made the key that this call was made with. Somebody else has to decide."
    return ""
