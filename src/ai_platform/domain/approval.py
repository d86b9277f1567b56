"""A person's consent to one call: what a policy asks for, and the consent that was given.

Bound to what exactly was asked (`digest`), so that nothing else can be done with it.
"""

from enum import StrEnum

import msgspec


class Covers(StrEnum):
    """What one consent is for: this exact call, once; or all calls of the caller's session to the same model."""

    CALL = "call"
    SESSION = "session"


class ApprovalDemand(msgspec.Struct, frozen=True, kw_only=True):
    """A policy wants somebody to agree before the call is made.

    rule: the policy's name. approvers: teams, groups, roles, e-mail addresses or ids of those who may agree.
    """

    rule: str
    approvers: tuple[str, ...]
    covers: Covers = Covers.CALL


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """Consent that was given and is used for this call. decided_by: id of the person who gave it."""

    id: str
    rule: str
    decided_by: str
    digest: str
